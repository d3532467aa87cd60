#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# ipq demo works as root and as an ordinary user, in under ten seconds, and leaves nothing behind; where there is
# no namespace or no queue it says why, and judges a capture. usage: demo_test.sh IPQ
set -u
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
ipq=$1
folder=$(mktemp -d "${TMPDIR:-/tmp}/ipq_demo.XXXXXX")
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cp "$ipq" "$folder/ipq" && chmod 755 "$folder/ipq"
cd "$folder" || exit 1

# has NAME WANTED...: whether the output has each of these.
has() {
  local name=$1 wanted
  shift
  for wanted in "$@"; do
    grep -q "$wanted" output || { cat output; echo "$name: the output does not have: $wanted"; return 1; }
  done
}

# judged_a_capture NAME WHY STATUS: the demo said why it can't hold packets, and did without.
judged_a_capture() {
  has "$1" "^The demo can't hold packets here: .*$2" '^So it judges a capture, which needs no rights' \
    '7 frames, 7 packets, 1 changed, 2 delayed' ' 2 .* 168  drop$' ' 5 .* 409  accept$' \
    'the server says ipq.example is 198.51.100.7, passed.pcap has 203.0.113.9' || return 1
  [ "$3" = 0 ] || { cat output; echo "$1: exit status $3"; return 1; }
  echo "$1: done on a capture"
}

# try NAME PREFIX...: runs the demo and looks at every act of it; on a capture only where there really is no namespace.
try() {
  local name=$1 status=0
  shift
  timeout 30 "$@" ./ipq demo >output 2>&1 || status=$?
  if grep -q "^The demo can't hold packets here: private network namespace: " output &&
    ! "$@" unshare --net true 2>/dev/null && ! "$@" unshare --user --map-root-user --net true 2>/dev/null; then
    judged_a_capture "$name" 'private network namespace: ' "$status"
    return
  fi
  [ "$status" = 0 ] || { sed 's/^/  /' output; echo "$name: exit status $status"; return 1; }
  has "$name" 'ping 127.0.0.1: reply after [0-9]' 'ping 127.0.0.2: no reply' 'ping 127.0.0.3: reply after 1[0-9][0-9]\.' \
    'the client reads 203.0.113.9' '7 received, 5 accepted, 2 dropped' \
    '2 .* 168  drop : icmp and dst host 127.0.0.2' || return 1
  echo "$name: done"
}

# on_capture NAME WHY PREFIX...
on_capture() {
  local name=$1 why=$2 status=0
  shift 2
  timeout 30 "$@" ./ipq demo >output 2>&1 || status=$?
  judged_a_capture "$name" "$why" "$status"
}

result=0
if [ "$(id -u)" = 0 ]; then
  try root env || result=1
  try user setpriv --reuid=65534 --regid=65534 --clear-groups || result=1
  # Without ids in his user namespace he may make no other; where he may not even make that, he has none anyway.
  nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs)
  ! "${nobody[@]}" unshare --user true 2>/dev/null || nobody+=(unshare --user)
  on_capture 'without namespaces' 'private network namespace: .*run it as root' "${nobody[@]}" || result=1
  on_capture 'without CAP_NET_ADMIN' 'private network namespace: .*run it as root' \
    setpriv --bounding-set=-net_admin --inh-caps=-net_admin || result=1
  # Nothing makes a rule without iptables, unless nftables knows queues.
  if ! "$ipq" doctor 2>/dev/null | grep -q 'by nft$'; then
    on_capture 'without iptables' "a queue can't be served here" \
      unshare --mount sh -c 'mount -t tmpfs none /usr/sbin && exec "$@"' sh || result=1
  fi
else
  try user env || result=1
fi

# The process that removes rules ends a moment after the command.
for _ in $(seq 100); do
  left=$(find /proc/[0-9]*/exe -maxdepth 0 -lname "$folder/*" 2>/dev/null) || true
  [ -n "$left" ] || break
  sleep 0.05
done
[ -z "$left" ] || { echo "still running: $left"; result=1; }
exit "$result"
