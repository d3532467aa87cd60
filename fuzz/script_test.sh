#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What scripts/fuzz.sh says of fuzzers that find nothing and of one that finds something.
# usage: script_test.sh SOURCE
set -euo pipefail
export LC_ALL=C
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# fuzzer NAME STATUS
fuzzer() {
  mkdir -p "$folder/source/fuzz/corpus/$1" "$folder/build/fuzz"
  printf '#!/bin/sh\necho "stat::number_of_executed_units: 20"\necho "stat::average_exec_per_sec: 10"\nexit %s\n' "$2" \
    >"$folder/build/fuzz/fuzz_$1"
  chmod 755 "$folder/build/fuzz/fuzz_$1"
}
# expect STATUS PATTERN
expect() {
  local status=0 output
  output=$("$script" "$folder/source" "$folder/build" --for 1s 2>&1) || status=$?
  if [ "$status" != "$1" ] || ! grep -q "$2" <<<"$output"; then
    printf 'failed: status %s, not %s, or nothing says %s: %s\n' "$status" "$1" "$2" "$output"
    exit 1
  fi
}

script=$1/scripts/fuzz.sh
for name in one two three; do fuzzer "$name" 0; done
expect 0 '^60 inputs in 3 targets$'
fuzzer two 77
expect 1 '^two  *failed$'

# Chance begins anew each time, but with CI=true.
fuzzer two 0
printf '#!/bin/sh\necho "$*" >"%s/arguments"\necho "stat::number_of_executed_units: 0"\n' "$folder" >"$folder/build/fuzz/fuzz_two"
expect 1 '^fuzz: two has had no input$'
sed -i 's/: 0/: 1/' "$folder/build/fuzz/fuzz_two"
CI='' expect 0 '^41 inputs'
! grep -q -e -seed= "$folder/arguments" || { echo 'failed: a seed without CI'; exit 1; }
CI=true expect 0 '^41 inputs'
grep -q -e ' -seed=1 ' "$folder/arguments" || { echo 'failed: no seed with CI'; exit 1; }

# Ended from outside, it leaves no fuzzer behind.
printf '#!/bin/sh\necho $$ >"%s"\nexec sleep 1000\n' "$folder/pid" >"$folder/build/fuzz/fuzz_one"
"$script" "$folder/source" "$folder/build" --for 1s >"$folder/said" 2>&1 &
running=$!
until [ -s "$folder/pid" ]; do sleep 0.05; done
kill -TERM "$running"
wait "$running" && status=0 || status=$?
fuzzer=$(<"$folder/pid")
for ((i = 0; i < 200; ++i)); do
  kill -0 "$fuzzer" 2>/dev/null || break
  sleep 0.05
done
if [ "$status" = 0 ] || kill "$fuzzer" 2>/dev/null; then
  echo "failed: status $status after SIGTERM, or a fuzzer went on"
  exit 1
fi
echo "they are told apart"
