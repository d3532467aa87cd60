#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs what docs/testing_filters.md shows, without rights: the programs as they are there, and the output as it is there.
# usage: capture_test.sh SOURCE FILTER_CAPTURE PASSER [IPQ]
set -euo pipefail
source=$1 filter=$2 passer=$3 ipq=${4:-}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed() {
  printf 'failed: %s\n' "$*" >&2
  exit 1
}
guide=$(<"$source/docs/testing_filters.md")
cp "$source/tests/data/captures/interfaces.pcapng" "$folder"
cd "$folder"

# shows COMMAND: the guide shows this command with the output that it has.
shows() {
  local output
  output=$(PATH="$folder:$PATH" bash -c "$1") || failed "$1"
  output=$(printf '%s\n%s\n' "\$ $1" "$output" | sed 's/^./    &/')
  [[ $guide == *"$output"* ]] || failed "the guide does not show
$output"
}
ln -s "$filter" filter_capture
shows './filter_capture interfaces.pcapng passed.pcapng'
ln -s "$passer" passer
shows 'LIBIPQ_SOURCE=capture:interfaces.pcapng,passed.pcapng,hook=1 ./passer | head -n 3'
! ./filter_capture nowhere 2>error || failed "a file that is not there"
grep -qx 'open capture: No such file or directory' error || failed "$(cat error)"
if [ -n "$ipq" ]; then
  ln -s "$ipq" ipq
  shows "ipq replay interfaces.pcapng 'drop : icmp' 'set ttl 9, accept : udp' -w recording.pcapng"
  echo 'drop : icmp' >old.rules
  echo 'drop : udp' >new.rules
  status=0
  ./ipq compare old.rules new.rules --on interfaces.pcapng >output || status=$?
  [ "$status" = 1 ] || failed "compare: exit status $status"
  ./ipq compare recording.pcapng recording.pcapng >output || failed "a recording differs from itself"
fi
for example in filter_capture record; do
  code=$(sed '/^\/\//d; s/^./    &/' "$source/examples/$example.cpp")
  [[ $guide == *"$code"* ]] || failed "the guide does not show examples/$example.cpp as it is"
done
echo "the guide is right"
