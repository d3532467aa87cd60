#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the examples of the C++ library against real pings, in a network namespace that ends with this script.
# usage: cpp_test.sh SIZE_FILTER WATCH_WITH_EPOLL SET_TTL COUNT_WITH_WORKERS [DELAY_WITH_ASIO]
set -euo pipefail
if [ "${IPQ_INSIDE:-}" != yes ]; then
  unshare --net true 2>/dev/null || {
    echo "skipped: making a network namespace takes root"
    [ "${CI:-}" != true ] || exit 1
    exit 77
  }
  IPQ_INSIDE=yes exec unshare --net "$0" "$@"
fi

failed() {
  printf 'failed: %s\n' "$*" >&2
  exit 1
}
folder=$(mktemp -d)
process=
finish() {
  [ -z "$process" ] || kill "$process" 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT
export XTABLES_LOCKFILE=$folder/lock
ip link set lo up
iptables-legacy -w -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE

listens() {
  for _ in $(seq 100); do
    ! grep -qs '^ *0 ' /proc/self/net/netfilter/nfnetlink_queue || return 0
    sleep 0.05
  done
  failed "$1 does not listen"
}

# Ends a program that does so by itself after SIGTERM.
terminate() {
  kill "$process"
  wait "$process" || failed "$1 ended with an error"
  process=
}

"$1" 2>"$folder/second" &
process=$!
listens size_filter
ping -q -c 2 -i 0.1 -W 5 -s 100 127.0.0.1 >/dev/null || failed "a short ping is lost"
! ping -q -c 1 -W 0.3 -s 1200 127.0.0.1 >/dev/null || failed "a long ping is answered"
! "$1" 2>"$folder/error" || failed "two programs own one queue"
grep -qx "bind queue 0: owned by $(basename "$1" | cut -c -15) (pid $process)" "$folder/error" ||
  failed "the owner is not named: $(cat "$folder/error")"
kill "$process"
wait "$process" || true
process=

mkfifo "$folder/input"
"$2" <"$folder/input" >"$folder/lines" &
process=$!
exec 3>"$folder/input"
listens watch_with_epoll
ping -q -c 3 -i 0.1 -W 5 -s 100 127.0.0.1 >/dev/null || failed "a watched ping is lost"
exec 3>&-
wait "$process" || failed "watch_with_epoll ended with an error"
process=
[ "$(grep -c '^packet [0-9]*, hook 3, 128 bytes$' "$folder/lines")" = 3 ] || failed "$(cat "$folder/lines")"
grep -qx '3 received, 3 accepted, 0 gone' "$folder/lines" || failed "$(cat "$folder/lines")"

iptables-legacy -w -A OUTPUT -p icmp --icmp-type echo-reply -j QUEUE
"$3" &
process=$!
listens set_ttl
reply=$(ping -c 1 -W 5 127.0.0.1) || failed "an edited ping is lost"
[[ $reply == *' ttl=9 '* ]] || failed "the time to live is not 9: $reply"
kill "$process"
wait "$process" || true
process=

if [ $# -lt 5 ]; then
  [ "${CI:-}" != true ] || failed "delay_with_asio was not built: asio.hpp is missing"
else
  "$5" >"$folder/lines" &
  process=$!
  listens delay_with_asio
  # Request and reply are held for 50 ms each, and the requests at the same time.
  reply=$(ping -c 5 -i 0.01 -W 5 127.0.0.1) || failed "a delayed ping is lost"
  shortest=$(sed -n 's|^rtt min/avg/max/mdev = \([0-9]*\).*|\1|p' <<<"$reply")
  [ "$shortest" -ge 100 ] || failed "a ping was not delayed: $reply"
  terminate delay_with_asio
  grep -qx '10 received, 10 accepted, 0 held' "$folder/lines" || failed "$(cat "$folder/lines")"
fi

iptables-legacy -w -F OUTPUT
iptables-legacy -w -A OUTPUT -p icmp -j NFQUEUE --queue-balance 0:1
"$4" >"$folder/lines" &
process=$!
listens count_with_workers
for address in 127.0.0.1 127.0.0.2 127.0.0.3 127.0.0.4; do
  ping -q -c 1 -W 5 -s 100 "$address" >/dev/null || failed "a counted ping is lost"
done
terminate count_with_workers
grep -qx 'protocol 1: 1024 bytes' "$folder/lines" || failed "$(cat "$folder/lines")"

# The guides show these very programs.
here=$(dirname "$0")
for example in size_filter set_ttl; do
  code=$(sed '/^\/\//d' "$here/$example.cpp")
  [[ $(<"$here/../docs/cpp.md") == *"$code"* ]] || failed "docs/cpp.md does not show examples/$example.cpp as it is"
done
echo "the examples work"
