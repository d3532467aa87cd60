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

# try NAME COMMAND...: runs the demo and looks at every act of it.
try() {
  local name=$1 status=0 wanted
  shift
  timeout 30 "$@" >output 2>&1 || status=$?
  if [ "$status" != 0 ]; then
    sed 's/^/  /' output
    echo "$name: exit status $status"
    [ "$status" = 3 ] && grep -q 'private network namespace: ' output && return 77
    return 1
  fi
  for wanted in 'ping 127.0.0.1: reply after [0-9]' 'ping 127.0.0.2: no reply' 'ping 127.0.0.3: reply after 1[0-9][0-9]\.' \
    'the client reads 203.0.113.9' '7 received, 5 accepted, 2 dropped' '2 .* 168  drop : icmp and dst host 127.0.0.2'; do
    grep -q "$wanted" output || { cat output; echo "$name: the output does not have: $wanted"; return 1; }
  done
  echo "$name: done"
}

# on_capture NAME WHY COMMAND...: the demo says why it can't hold packets, and does without.
on_capture() {
  local name=$1 why=$2 status=0 wanted
  shift 2
  timeout 30 "$@" >output 2>&1 || status=$?
  for wanted in "^The demo can't hold packets here: .*$why" '^So it judges a capture, which needs no rights' \
    '7 frames, 7 packets, 1 changed, 2 delayed' ' 2 .* 168  drop$' ' 5 .* 409  accept$' \
    'the server says ipq.example is 198.51.100.7, passed.pcap has 203.0.113.9'; do
    grep -q "$wanted" output || { cat output; echo "$name: the output does not have: $wanted"; return 1; }
  done
  [ "$status" = 0 ] || { cat output; echo "$name: exit status $status"; return 1; }
  echo "$name: done on a capture"
}

result=0
if [ "$(id -u)" = 0 ]; then
  try root ./ipq demo || result=$?
  try user setpriv --reuid=65534 --regid=65534 --clear-groups ./ipq demo || result=$?
  # Without ids in his user namespace he may make no other; where he may not even make that, he has none anyway.
  nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs)
  ! "${nobody[@]}" unshare --user true 2>/dev/null || nobody+=(unshare --user)
  on_capture 'without namespaces' 'private network namespace: .*run it as root' "${nobody[@]}" ./ipq demo || result=1
  on_capture 'without CAP_NET_ADMIN' 'private network namespace: .*run it as root' \
    setpriv --bounding-set=-net_admin --inh-caps=-net_admin ./ipq demo || result=1
  # Nothing makes a rule without iptables, unless nftables knows queues.
  if ! "$ipq" doctor 2>/dev/null | grep -q 'by nft$'; then
    on_capture 'without iptables' "a queue can't be served here" \
      unshare --mount sh -c 'mount -t tmpfs none /usr/sbin && exec ./ipq demo' || result=1
  fi
else
  try user ./ipq demo || result=$?
fi

# The process that removes rules ends a moment after the command.
for _ in $(seq 100); do
  left=$(find /proc/[0-9]*/exe -maxdepth 0 -lname "$folder/*" 2>/dev/null) || true
  [ -n "$left" ] || break
  sleep 0.05
done
[ -z "$left" ] || { echo "still running: $left"; result=1; }
exit "$result"
