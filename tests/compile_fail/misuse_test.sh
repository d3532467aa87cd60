#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What the compiler has to refuse: every CASE of misuse.cpp, each with one error, which is the one that the case names.
# usage: misuse_test.sh CXX SOURCE
set -euo pipefail
export LC_ALL=C  # else quotation marks are other ones
source=$2/tests/compile_fail/misuse.cpp
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
flags=(-std=c++23 -Wall -Wextra -Werror "-I$2/include")
# The headers once, instead of once a case.
grep '^#include' "$source" >"$folder/headers.hpp"
"$1" "${flags[@]}" -x c++-header "$folder/headers.hpp" -o "$folder/headers.hpp.gch"
compile=("$1" "${flags[@]}" -include "$folder/headers.hpp" -fsyntax-only)

# refused CASE FILE: prints why it is not refused as it says itself, or nothing.
refused() {
  local wanted errors
  wanted=$(sed -nE "/^#(el)?if CASE == $1( |$)/ { n; s|^// refused: ||p }" "$2")
  [ -n "$wanted" ] || { echo "case $1 does not say how it is refused" && return; }
  if "${compile[@]}" "$2" "-DCASE=$1" 2>"$folder/messages"; then
    echo "case $1 compiles"
    return
  fi
  errors=$(grep -E 'misuse[a-z_]*\.cpp:[0-9]+:[0-9]+: (fatal )?error: ' "$folder/messages") || true
  [ "$(grep -c . <<<"$errors")" = 1 ] || { echo "case $1 has other errors:" && cat "$folder/messages" && return; }
  grep -qE "error: .*($wanted)" <<<"$errors" || echo "case $1 is refused by another error: $errors"
}

"${compile[@]}" "$source" -DCASE=0 || { echo "the right use does not compile" >&2 && exit 1; }
cases=$(grep -cE '^#(el)?if CASE == ' "$source")
[ "$cases" -ge 30 ] || { echo "found only $cases cases" >&2 && exit 1; }
for ((number = 1; number <= cases; number++)); do
  wrong=$(refused "$number" "$source")
  [ -z "$wrong" ] || { echo "$wrong" >&2 && exit 1; }
done

# A mistake of the test's own, and a case that is none, are told from what is meant.
sed 's/^ipq::queue wrong;/ipq::no_such_thing wrong;/; s/^ipq::batch wrong;//' "$source" >"$folder/misuse_damaged.cpp"
for number in 5 10; do
  [ -n "$(refused "$number" "$folder/misuse_damaged.cpp")" ] ||
    { echo "damage of case $number is not noticed" >&2 && exit 1; }
done
echo "$cases mistakes are refused, each for what it is"
