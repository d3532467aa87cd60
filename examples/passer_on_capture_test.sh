#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The classic program, unchanged, on capture files and without rights: it sees every IPv4 packet, and passes it.
# usage: passer_on_capture_test.sh CAPTURES PASSER...
set -euo pipefail
captures=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed() {
  printf 'failed: %s\n' "$*" >&2
  exit 1
}

for capture in "$captures"/*.pcap*; do
  packets=$(tshark -r "$capture" -Y ip 2>"$folder/tshark" | wc -l)
  for passer in "$@"; do
    out=$folder/out status=0
    LIBIPQ_SOURCE=capture:$capture,$out,hook=1 "$passer" >"$folder/said" 2>"$folder/error" || status=$?
    [ "$status" = 1 ] || failed "$capture: exit status $status"
    [ "$(<"$folder/error")" = 'passer: Received EOF on netlink socket' ] || failed "$capture: $(<"$folder/error")"
    seen=$(grep -c '^INPUT .*: ACCEPT$' "$folder/said") || failed "$capture: nothing was seen"
    [ "$seen" = "$packets" ] || failed "$capture: $seen packets of $packets"
    if [ "$passer" = "$1" ]; then
      passed=$(tshark -r "$out" 2>"$folder/tshark" | wc -l)
      [ "$passed" = "$packets" ] || failed "$capture: $passed packets were written, and $packets accepted"
      mv "$out" "$folder/first"
    fi
  done
  cmp -s "$out" "$folder/first" || failed "$capture: $2 writes something else than $1"
done

# In the terms of the program, what is wrong.
error=$(LIBIPQ_SOURCE=capture:$folder/missing "$1" 2>&1) && failed "a file that is not there"
[ "$error" = 'passer: LIBIPQ_SOURCE: open capture: No such file or directory: No such file or directory' ] ||
  failed "a file that is not there: $error"
error=$(LIBIPQ_SOURCE=file "$1" 2>&1) && failed "a source that is none"
[[ $error == 'passer: LIBIPQ_SOURCE=file: expected capture:'* ]] || failed "a source that is none: $error"
echo "the classic program runs on captures"
