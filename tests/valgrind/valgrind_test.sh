#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The C example in the demo, under valgrind: real packets, no invalid access, no leak. A control program with a fault
# shows that valgrind would have said so.
# usage: valgrind_test.sh PASSER DEMO CC
set -euo pipefail
export LC_ALL=C
passer=$1 demo=$2 cc=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

failed() {
  cat "$folder"/log* "$folder/output" 2>/dev/null || true
  printf 'failed: %s\n' "$1"
  exit 1
}

command -v valgrind >/dev/null || { echo "valgrind is not installed" && exit 77; }
valgrind="valgrind --error-exitcode=9 --leak-check=full --show-leak-kinds=all --errors-for-leak-kinds=all \
  --track-fds=yes"

printf '#include <stdlib.h>\nint main(void) { return malloc(7) == 0; }\n' >"$folder/leak.c"
"$cc" -O0 -o "$folder/leak" "$folder/leak.c"
status=0
$valgrind --log-file="$folder/log.control" "$folder/leak" || status=$?
[ "$status" = 9 ] || failed "valgrind does not find a leak: status $status"
rm "$folder/log.control"

printf '#!/bin/sh\nexec %s --log-file=%s %s\n' "$valgrind" "$folder/log" "$passer" >"$folder/passer"
chmod 755 "$folder/passer"
status=0
"$demo" "$folder/passer" >"$folder/output" 2>&1 || status=$?
if [ "$status" = 77 ]; then
  sed -n '/cannot run here/,$p' "$folder/output" | paste -sd ' '
  exit 77
fi
[ "$status" = 0 ] || failed "the demo under valgrind ends with status $status"
grep -q '6 of 6 pings answered' "$folder/output" || failed "no pings went through"
grep -q 'ERROR SUMMARY: 0 errors' "$folder/log" || failed "valgrind found something"
grep -q 'All heap blocks were freed' "$folder/log" || failed "memory is left"
awk '/Open .*file descriptor|Open .*socket/ { getline next_line; if (next_line !~ /inherited from parent/) exit 1 }' \
  "$folder/log" || failed "a descriptor is left"
echo "valgrind finds nothing"
