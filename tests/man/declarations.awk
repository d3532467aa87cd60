# SPDX-License-Identifier: MIT
# Preprocessed C in, the declarations of ipq_* functions out, one a line, spaced as synopsis.awk does.
BEGIN { RS = ";" }
{
  gsub(/#[^\n]*\n/, "")
  gsub(/[ \t\n]+/, " ")
  sub(/.*[{}] */, "")
  sub(/^ /, "")
  gsub(/ *\* */, "*")
  gsub(/ *, */, ",")
  gsub(/ *\( */, "(")
  gsub(/ *\) */, ")")
}
/^[^()]*[ *]ipq_[a-z_]+\([^()]*\)$/
