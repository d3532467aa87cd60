#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the demo and checks its counts, its exit status when things go wrong, and that it leaves nothing behind.
# usage: demo_test.sh PASSER LIBRARY [USER]    USER: run the demo as this user, by way of a user namespace
set -euo pipefail
export LC_ALL=C
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Copies, because another user may not be allowed to reach the build, and to know our processes by their program.
chmod 755 "$folder"
mkdir -m 1777 "$folder/tmp"
cp "$here/demo.sh" "$1" "$here/../tests/data/captures/interfaces.pcapng" "$folder"
cp "$2" "$folder/libipq.so.0"
plain=(env TMPDIR="$folder/tmp" LD_LIBRARY_PATH="$folder" "$folder/demo.sh")
live=("${plain[@]}")
as_nobody=()
if [ "$(id -u)" = 0 ]; then
  as_nobody=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
  [ $# != 3 ] || live=(setpriv --reuid="$3" --regid=nogroup --clear-groups "${plain[@]}")
fi

failed() {
  cat "$folder/output"
  printf 'failed: %s\n' "$1"
  exit 1
}

run() {
  status=0
  "${demo[@]}" "$@" >"$folder/output" 2>&1 || status=$?
}

says() { grep -qF -- "$1" "$folder/output" || failed "the demo does not say: $1"; }
lines() { grep -cE "$1" "$folder/output" || [ $? = 1 ]; }

# What the demo started ends with it, or a moment later.
nothing_left() {
  local i left
  for ((i = 0; i < 100; i++)); do
    left=$(find /proc/[0-9]*/exe -maxdepth 0 -lname "$folder/*" 2>/dev/null; ls "$folder/tmp") || left="${left-}"
    [ -n "$left" ] || return 0
    sleep 0.1
  done
  failed "the demo leaves something behind: $left"
}

# Where it cannot run, it says why and judges a capture, in both of the places where that may turn out.
with_capture=("$folder/interfaces.pcapng")
on_capture() {
  [ "$status" = 0 ] || failed "the demo on a capture ends with status $status"
  says 'The demo cannot run here'
  says "$1"
  [ "$(lines '^ *OUTPUT .*: ACCEPT$')" = 22 ] || failed "the packets of the capture are not shown"
  says 'It has accepted all packets of the file'
  nothing_left
}
# A user without ids in his namespace may make no other; where he may not even make that, he has none anyway.
demo=("${as_nobody[@]}" "${plain[@]}")
! "${as_nobody[@]}" unshare --user true 2>/dev/null || demo=("${as_nobody[@]}" unshare --user "${plain[@]}")
run "$folder/passer" "${with_capture[@]}"
on_capture 'no private network namespace for an ordinary user'
run "$folder/passer"
[ "$status" = 77 ] || failed "without a capture the demo ends with status $status"
if [ "$(id -u)" = 0 ]; then
  demo=(unshare --mount sh -c 'mount -t tmpfs none /usr/sbin && exec "$@"' sh "${plain[@]}")
  run "$folder/passer" "${with_capture[@]}"
  on_capture 'no iptables takes the rule'
fi
demo=("${live[@]}")

run "$folder/passer"
if [ "$status" = 77 ]; then
  sed -n '/cannot run here/,$p' "$folder/output" | paste -sd ' '
  exit 77
fi
[ "$status" = 0 ] || failed "the demo ends with status $status"
[ "$(lines '^ *OUTPUT +in - +out lo +127\.0\.0\.1 > 127\.0\.0\.1 protocol 1, 84 bytes: ACCEPT$')" = 6 ] ||
  failed "three pings on lo are not six packets"
[ "$(lines '^ *OUTPUT +in - +out eth0 +10\.0\.0\.1 > 10\.0\.0\.2 protocol 1, 84 bytes: ACCEPT$')" = 3 ] ||
  failed "three pings through eth0 are not three packets"
[ "$(lines ACCEPT)" = 9 ] || failed "there are other packets"
says '6 of 6 pings answered'
says '0 of 3 pings answered'
says '9 queued by the rule, 9 shown and accepted by passer'
nothing_left

run /bin/false "${with_capture[@]}"
[ "$status" = 1 ] || failed "a passer that fails does not make the demo fail: status $status"
says 'The demo failed: passer ended with status 1'
nothing_left

printf '%s\n' '#!/bin/bash' 'trap "exit 0" TERM' 'echo waiting' 'while :; do sleep 0.1; done' >"$folder/idle"
chmod 755 "$folder/idle"
run "$folder/idle"
[ "$status" = 1 ] || failed "lost pings do not make the demo fail: status $status"
says '0 of 6 pings answered'
says 'The demo failed: pings were lost although passer listened'
nothing_left

run "$folder/no_such_program"
[ "$status" = 77 ] || failed "a missing program is not reported: status $status"
says 'The demo cannot run here'
nothing_left

for signal in TERM KILL; do
  "${demo[@]}" "$folder/passer" >"$folder/output" 2>&1 &
  pid=$!
  for ((i = 0; i < 100; i++)); do
    grep -q 'ping -c' "$folder/output" && break
    sleep 0.1
  done
  kill -"$signal" "$pid"
  ! wait "$pid" || failed "a demo killed by $signal reports success"
  [ "$signal" = TERM ] || rm -rf "$folder"/tmp/*
  nothing_left
done
echo "the demo works"
