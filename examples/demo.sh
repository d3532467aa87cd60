#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Shows libipq at work: pings pass while the passer listens and are lost when nobody does. All of it happens in
# private network namespaces, which the kernel takes away with the last process in them.
# usage: demo.sh PASSER [CAPTURE]    exit status: 0 it worked, 1 it did not, 77 it cannot be tried here
# With a capture it goes on with that where it cannot be tried.
set -u
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

bold='' dim='' red='' green='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
fi

heading() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
shown() { printf '  %s$%s %s\n' "$dim" "$plain" "$1"; }
indent() { sed 's/^/    /'; }

failed() {
  printf '\n%sThe demo failed:%s %s\n' "$red" "$plain" "$1"
  exit 1
}

missing() {
  printf '\n%sThe demo cannot run here:%s %s\n' "$red" "$plain" "$1"
  [ -z "$capture" ] || judge_capture
  exit 77
}

# The same program needs no namespace, no kernel and no rights where packets come from a file.
judge_capture() {
  local said
  heading "Instead, the same program on a capture, which needs no rights"
  shown "LIBIPQ_SOURCE=capture:$(basename "$capture"),hook=3 passer"
  said=$(LIBIPQ_SOURCE=capture:$capture,hook=3 "$passer" 2>&1)
  indent <<<"$said"
  [ "${said##*$'\n'}" = 'passer: Received EOF on netlink socket' ] || failed "the passer did not come to the capture's end."
  echo "  It has accepted all packets of the file, and hears of the file's end as of an error."
  exit 0
}

# ---- outside the namespaces: get in, and clear up behind

how_to_open_user_namespaces() {
  local setting value
  echo "Run it as root: sudo ./dev demo"
  for setting in kernel.apparmor_restrict_unprivileged_userns=0 kernel.unprivileged_userns_clone=1 \
    user.max_user_namespaces=15000; do
    value=$(cat "/proc/sys/$(tr . / <<<"${setting%=*}")" 2>&1) || continue
    case $setting in
      user.*) [ "$value" = 0 ] || continue ;;
      *) [ "$value" != "${setting#*=}" ] || continue ;;
    esac
    echo "Or let ordinary users have namespaces: sudo sysctl $setting"
  done
}

interrupted() {
  if [ -n "$inner" ]; then
    { kill -KILL "$inner" && wait "$inner"; } 2>/dev/null
  fi
  printf '\nThe demo was interrupted.\n'
  exit 130
}

enter_namespaces() {
  local passer=$1 tool problem
  for tool in unshare setpriv ip ping; do
    command -v "$tool" >/dev/null || missing "there is no $tool command; ./dev deps installs what is needed."
  done
  [ -x "$passer" ] || missing "$passer is not a program that $(id -un) may run."

  local flags=(--net)
  [ "$(id -u)" = 0 ] || flags+=(--user --map-root-user)
  if ! problem=$(unshare "${flags[@]}" ip link set lo up 2>&1); then
    if [ "$(id -u)" = 0 ]; then
      missing "no private network namespace: $problem
A container needs --privileged, or --cap-add SYS_ADMIN --cap-add NET_ADMIN, for that."
    fi
    missing "no private network namespace for an ordinary user: $problem
$(how_to_open_user_namespaces)"
  fi

  folder=$(mktemp -d) || exit 1
  inner=
  trap 'rm -rf "$folder"' EXIT
  trap 'interrupted' INT TERM HUP
  unshare "${flags[@]}" setpriv --pdeathsig KILL bash "$0" --inside "$passer" "$folder" &
  inner=$!
  local status=0
  wait "$inner" || status=$?
  [ "$status" != 77 ] || [ -z "$capture" ] || judge_capture
  return "$status"
}

# ---- inside: every process that is started here ends with this one, however that ends

# Debian's iptables is iptables-nft, which does not know QUEUE: it asks the kernel for a target of that name.
add_rule() {
  local tried=''
  for iptables in iptables iptables-legacy; do
    if ! command -v "$iptables" >/dev/null; then
      tried+="  $iptables: not installed"$'\n'
    elif "$iptables" -A OUTPUT -p icmp -j QUEUE 2>error; then
      return
    else
      tried+="  $iptables: $(tr -s '\n' ' ' <error)"$'\n'
    fi
  done
  missing "no iptables takes the rule:
${tried}The kernel needs CONFIG_IP_NF_FILTER (as a module: modprobe iptable_filter)."
}

queued_by_rule() { "$iptables" -nvxL OUTPUT | awk '$3 == "QUEUE" { print $1 }'; }

# A second machine at the end of a cable: a shell in a namespace of its own, which ends with its input.
plug_in_peer() {
  local answer=''
  coproc peer { exec unshare --net sh 2>&1; }
  echo 'echo here' >&"${peer[1]}"
  read -r -t 10 answer <&"${peer[0]}"
  [ "$answer" = here ] || missing "no second network namespace: $answer"
  # shellcheck disable=SC2154
  ip link add eth0 type veth peer name eth0 netns "$peer_PID" 2>error || missing "no veth interfaces: $(cat error)"
  ip address add 10.0.0.1/24 dev eth0 || failed "eth0 takes no address."
  ip link set eth0 up || failed "eth0 cannot be set up."
  echo 'ip address add 10.0.0.2/24 dev eth0 && ip link set eth0 up && echo up' >&"${peer[1]}"
  read -r -t 10 answer <&"${peer[0]}"
  [ "$answer" = up ] || failed "the far end of eth0 cannot be set up: $answer"
}

# Leaves the number of pings that were answered in $answered.
ping_three() {
  shown "ping -c 3 $1"
  setpriv --pdeathsig KILL ping -n -c 3 -i 0.2 -W 1 "$1" >ping_output 2>&1
  grep -v -e '^PING' -e '^---' -e '^rtt' -e '^$' ping_output | indent
  answered=$(sed -n 's/.* \([0-9]*\) received.*/\1/p' ping_output)
  [ -n "$answered" ] || failed "ping says nothing about answers."
}

start_passer() {
  shown "passer &"
  setpriv --pdeathsig TERM "$1" >passer 2>&1 &
  passer=$!
  local i
  for ((i = 0; i < 100; i++)); do
    if [ -s passer ] || ! kill -0 "$passer" 2>error; then break; fi
    sleep 0.1
  done
  check_passer
}

check_passer() {
  kill -0 "$passer" 2>error && return
  wait "$passer"
  local status=$?
  indent <passer
  [ -e /proc/net/netfilter/nfnetlink_queue ] ||
    missing "this kernel has no nfnetlink_queue (CONFIG_NETFILTER_NETLINK_QUEUE; as a module: modprobe nfnetlink_queue)."
  failed "passer ended with status $status."
}

stop_passer() {
  local status=0
  check_passer
  kill -TERM "$passer"
  wait "$passer" || status=$?
  echo "  What passer saw:"
  indent <passer
  [ "$status" = 0 ] || failed "passer did not end cleanly: status $status."
}

demo() {
  local lo peer_answers lost shown_packets queued
  XTABLES_LOCKFILE=$2/xtables.lock
  export XTABLES_LOCKFILE
  cd "$2" || failed "no folder $2."
  ip link set lo up || failed "lo cannot be set up."

  echo "${bold}libipq on Linux $(uname -r)${plain}"
  echo "Everything below happens in a private network namespace; this machine's own network is left alone."

  heading "The classic rule"
  add_rule
  shown "iptables -A OUTPUT -p icmp -j QUEUE"
  [ "$iptables" = iptables ] || echo "    added with $iptables, since iptables-nft does not know QUEUE"
  plug_in_peer

  heading "While a program listens"
  start_passer "$1"
  ping_three 127.0.0.1
  lo=$answered
  ping_three 10.0.0.2
  peer_answers=$answered
  stop_passer
  shown_packets=$(grep -c ': ACCEPT$' passer)
  queued=$(queued_by_rule)

  heading "When nobody listens"
  ping_three 10.0.0.2
  lost=$((3 - answered))

  heading "In short"
  echo "  with passer:       $((lo + peer_answers)) of 6 pings answered"
  echo "  without passer:    $((3 - lost)) of 3 pings answered"
  echo "  packets:           $queued queued by the rule, $shown_packets shown and accepted by passer"
  [ $((lo + peer_answers)) = 6 ] || failed "pings were lost although passer listened."
  [ "$lost" = 3 ] || failed "pings were answered although nobody listened."
  [ "$queued" = "$shown_packets" ] || failed "passer did not show every queued packet."
  echo "  ${green}It works.${plain}"
}

passer=${1-} capture=${2-}
case ${1-} in
  --inside) capture='' && demo "$2" "$3" ;;
  '' | -*) echo "usage: demo.sh PASSER [CAPTURE]" >&2 && exit 2 ;;
  *) enter_namespaces "$(realpath "$1")" ;;
esac
