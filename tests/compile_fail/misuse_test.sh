#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What the compiler has to refuse: every CASE of misuse.cpp.
# usage: misuse_test.sh CXX SOURCE
set -euo pipefail
source=$2/tests/compile_fail/misuse.cpp
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
flags=(-std=c++23 -Wall -Wextra -Werror "-I$2/include")
# The headers once, instead of once a case.
grep '^#include' "$source" >"$folder/headers.hpp"
"$1" "${flags[@]}" -x c++-header "$folder/headers.hpp" -o "$folder/headers.hpp.gch"
compile=("$1" "${flags[@]}" -include "$folder/headers.hpp" -fsyntax-only "$source")
"${compile[@]}" -DCASE=0 || { echo "the right use does not compile" >&2 && exit 1; }
cases=$(grep -c '^#\(if\|elif\) CASE == ' "$source")
[ "$cases" -ge 29 ] || { echo "found only $cases cases" >&2 && exit 1; }
for ((number = 1; number <= cases; number++)); do
  ! "${compile[@]}" "-DCASE=$number" 2>/dev/null || { echo "case $number compiles" >&2 && exit 1; }
done
echo "$cases mistakes are refused"
