# SPDX-License-Identifier: MIT
# A manual page in, the functions of its SYNOPSIS out, one a line: return type, name, parameters.
function argument(line) {
  sub(/^\.F[tao] /, "", line)
  gsub(/"/, "", line)
  gsub(/ *\* */, "*", line)
  return line
}
/^\.Sh / { on = ($2 == "SYNOPSIS") }
!on { next }
/^\.Ft / { type = argument($0) }
/^\.Fo / { name = $2; parameters = "" }
/^\.Fa / { parameters = parameters (parameters == "" ? "" : ",") argument($0) }
/^\.Fc$/ { print type (type ~ /\*$/ ? "" : " ") name "(" parameters ")" }
