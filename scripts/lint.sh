#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs clang-tidy over the libraries' sources and headers, as .clang-tidy says. Tests are left to the compilers.
# usage: lint.sh SOURCE BUILD    BUILD has compile_commands.json of clang
set -euo pipefail
export LC_ALL=C
cd "$1"
mapfile -t files < <(find src -name '*.cpp' ! -name '*_test.cpp' ! -name 'scripted_*' | sort)
[ ${#files[@]} -gt 0 ] || { echo "lint: no sources in $1" >&2 && exit 2; }

# A header that no source includes would go unread.
alone=$2/headers.cpp
for header in include/ipq/*.hpp; do echo "#include \"${header#include/}\""; done >"$alone"
log=$2/lint.log status=0
printf '%s\0' "${files[@]}" "$alone" |
  xargs -0 -P "$(nproc)" -n 4 nice clang-tidy-19 --quiet -p "$2" --config-file=.clang-tidy \
    --extra-arg=-I"$PWD/include" --extra-arg=-std=c++23 >"$log" 2>"$log.progress" || status=$?
found=$(grep -cE ': (warning|error): ' "$log" || true)
if [ "$status" != 0 ] || [ "$found" != 0 ]; then
  cat "$log"
  grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use ' "$log.progress" >&2 || true
  echo "lint: $found places in ${#files[@]} files" >&2
  exit 1
fi
echo "lint: ${#files[@]} files, nothing found"
