#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The classic program on the kernel's packets, and on the capture of the same: line by line it says the same. In a network
# namespace that ends with this script.
# usage: passer_on_both_test.sh PASSER
set -euo pipefail
if [ "${IPQ_INSIDE:-}" != yes ]; then
  skip() {
    echo "skipped: $*"
    [ "${CI:-}" != true ] || exit 1
    exit 77
  }
  unshare --net true 2>/dev/null || skip "making a network namespace takes root"
  for tool in dumpcap capinfos; do
    command -v "$tool" >/dev/null || skip "there is no $tool"
  done
  IPQ_INSIDE=yes exec unshare --net "$0" "$@"
fi

failed() {
  printf 'failed: %s\n' "$*" >&2
  exit 1
}
folder=$(mktemp -d)
processes=()
finish() {
  [ ${#processes[@]} = 0 ] || kill "${processes[@]}" 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT
until_true() {
  for _ in $(seq 200); do
    ! "$@" || return 0
    sleep 0.05
  done
  failed "this has not come: $*"
}
is_served() { grep -qs '^ *0 ' /proc/self/net/netfilter/nfnetlink_queue; }
is_captured() { [ "$(capinfos -TrcM "$folder/captured" 2>/dev/null | cut -f 2)" = "$1" ]; }

export XTABLES_LOCKFILE=$folder/lock
ip link set lo up
iptables-legacy -w -A INPUT -j QUEUE
"$1" >"$folder/kernel" &
processes+=($!)
until_true is_served
dumpcap -q -i lo -f ip -w "$folder/captured" 2>"$folder/dumpcap" &
processes+=($!)
until_true test -s "$folder/captured"
# Requests and answers of several lengths, and datagrams that nobody wants, which errors answer.
for size in 8 100 1000; do ping -q -c 2 -i 0.1 -W 5 -s "$size" 127.0.0.1 >/dev/null || failed "a ping is lost"; done
for _ in 1 2 3; do (echo hello >/dev/udp/127.0.0.1/9) 2>/dev/null || true; done
until_true is_captured 18
kill -INT "${processes[@]}"
wait "${processes[@]}" || failed "the program or dumpcap failed: $(cat "$folder/dumpcap")"
processes=()

LIBIPQ_SOURCE=capture:$folder/captured,hook=1 "$1" >"$folder/capture" 2>"$folder/error" && failed "a capture has no end"
[ "$(<"$folder/error")" = 'passer: Received EOF on netlink socket' ] || failed "$(<"$folder/error")"
[ "$(grep -c '^INPUT .*: ACCEPT$' "$folder/kernel")" = 18 ] || failed "on the kernel: $(<"$folder/kernel")"
diff "$folder/kernel" "$folder/capture" || failed "on the capture it says something else"
echo "18 packets, the same on the kernel and on their capture"
