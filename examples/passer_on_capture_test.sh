#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The classic program, unchanged, on capture files and without rights: it sees every IPv4 packet, and passes it; and
# with the other family every IPv6 packet.
# usage: passer_on_capture_test.sh CAPTURES MORE-CAPTURES PASSER STATIC-PASSER PASSER6
# The second folder is used where it is.
set -euo pipefail
captures=$1 more=$2 passer6=$5
set -- "$3" "$4"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed() {
  printf 'failed: %s\n' "$*" >&2
  exit 1
}
for tool in tshark capinfos; do
  command -v "$tool" >/dev/null || {
    echo "skipped: there is no $tool"
    [ "${CI:-}" != true ] || exit 1
    exit 77
  }
done

# count CAPTURE: its packets, without a look inside, which takes tshark longer to start than the passer to pass them.
count() {
  capinfos -TrcM "$1" | cut -f 2
}

files=("$captures"/*.pcap*)
[ ! -d "$more" ] || files+=("$more"/*.pcap*)
# runs CAPTURE PACKETS PASSER...: they see so many packets, and write the same.
runs() {
  local capture=$1 packets=$2 passer out status seen passed
  shift 2
  for passer in "$@"; do
    out=$folder/out status=0
    LIBIPQ_SOURCE=capture:$capture,$out,hook=1 "$passer" >"$folder/said" 2>"$folder/error" || status=$?
    [ "$status" = 1 ] || failed "$capture: exit status $status"
    if [ "$packets" = 0 ]; then
      ! grep '^INPUT' "$folder/said" || failed "$capture: something was seen"
      continue
    fi
    [ "$(<"$folder/error")" = 'passer: Received EOF on netlink socket' ] || failed "$capture: $(<"$folder/error")"
    seen=$(grep -c '^INPUT .*: ACCEPT$' "$folder/said") || failed "$capture: nothing was seen"
    [ "$seen" = "$packets" ] || failed "$capture: $seen packets of $packets"
    if [ "$passer" = "$1" ]; then
      passed=$(count "$out")
      [ "$passed" = "$packets" ] || failed "$capture: $passed packets were written, and $packets accepted"
      mv "$out" "$folder/first"
    fi
  done
  [ "$packets" = 0 ] || [ $# = 1 ] || cmp -s "$out" "$folder/first" ||
    failed "$capture: $2 writes something else than $1"
}
for capture in "${files[@]}"; do
  tshark -r "$capture" -T fields -e ip.ttl -e ipv6.hlim 2>"$folder/tshark" >"$folder/layers" || true
  runs "$capture" "$(grep -c $'^[^\t]' "$folder/layers" || true)" "$@"
  runs "$capture" "$(grep -c $'\t.' "$folder/layers" || true)" "$passer6"
done

# From standard input.
capture=$captures/interfaces.pcapng
packets=$(tshark -r "$capture" -Y ip 2>"$folder/tshark" | wc -l)
for passer in "$@"; do
  LIBIPQ_SOURCE=capture:-,$folder/out "$passer" <"$capture" >"$folder/said" 2>"$folder/error" && failed "it has no end"
  [ "$(<"$folder/error")" = 'passer: Received EOF on netlink socket' ] || failed "standard input: $(<"$folder/error")"
  [ "$(grep -c ': ACCEPT$' "$folder/said")" = "$packets" ] || failed "standard input: not $packets packets"
  [ "$(count "$folder/out")" = "$packets" ] || failed "standard input: not all has passed"
done

# Packed files are refused, with what to do.
gzip -c "$capture" >"$folder/packed"
error=$(LIBIPQ_SOURCE=capture:$folder/packed "$1" 2>&1) && failed "a packed file"
[[ $error == *'it is packed: unpack it into a file or a pipe, with zcat or zstdcat'* ]] || failed "a packed file: $error"

# In the terms of the program, what is wrong.
error=$(LIBIPQ_SOURCE=capture:$folder/missing "$1" 2>&1) && failed "a file that is not there"
[ "$error" = "passer: LIBIPQ_SOURCE: open $folder/missing: No such file or directory" ] ||
  failed "a file that is not there: $error"
error=$(LIBIPQ_SOURCE="file" "$1" 2>&1) && failed "a source that is none"
[[ $error == 'passer: LIBIPQ_SOURCE=file: expected capture:'* ]] || failed "a source that is none: $error"
echo "the classic program runs on captures"
