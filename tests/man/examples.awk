# SPDX-License-Identifier: MIT
# Pages in; out a page that shows nothing but the code of their EXAMPLES, each piece inside of a C function of its own.
BEGIN { print ".Dd November 23, 2026\n.Dt EXAMPLES 3\n.Os\n.Sh EXAMPLES\n.Bd -literal" }
/^\.Sh / { on = ($2 == "EXAMPLES") }
/^\.Ed/ && code { print "} return 0; }"; code = 0 }
code { print }
on && /^\.Bd -literal/ {
  page = FILENAME
  sub(/.*\//, "", page)
  printf "int example_%d(EXAMPLE_PARAMETERS) { {\n#line %d \"%s\"\n", ++examples, FNR + 1, page
  code = 1
}
END { print ".Ed" }
