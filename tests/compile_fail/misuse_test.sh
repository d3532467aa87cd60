#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What the compiler has to refuse: every CASE of misuse.cpp.
# usage: misuse_test.sh CXX SOURCE
set -euo pipefail
compile=("$1" -std=c++23 -fsyntax-only -Wall -Wextra -Werror "-I$2/include" "$2/tests/compile_fail/misuse.cpp")
"${compile[@]}" -DCASE=0 || { echo "the right use does not compile" >&2 && exit 1; }
cases=$(grep -c '^#\(if\|elif\) CASE == ' "$2/tests/compile_fail/misuse.cpp")
[ "$cases" -ge 29 ] || { echo "found only $cases cases" >&2 && exit 1; }
for ((number = 1; number <= cases; number++)); do
  ! "${compile[@]}" "-DCASE=$number" 2>/dev/null || { echo "case $number compiles" >&2 && exit 1; }
done
echo "$cases mistakes are refused"
