#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Makes the captures of this folder anew: pings, UDP and TCP between two network namespaces of its own.
# usage: record.sh FOLDER REWRITE_CAPTURE    as root; needs tcpdump, dumpcap, mergecap and ping; REWRITE_CAPTURE is
# build/dev/tests/rewrite_capture
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
if [ "${IPQ_INSIDE:-}" != yes ]; then IPQ_INSIDE=yes exec unshare --net --mount --pid --fork --mount-proc "$0" "$@"; fi
folder=$1 rewrite=$2
ip link set lo up
unshare --net sleep 60 &
far=$!
sleep 0.3
ip link add near type veth peer name far netns "$far"
for side in near far; do
  in=()
  [ "$side" = near ] || in=(nsenter --net --target "$far")
  number=$([ "$side" = near ] && echo 1 || echo 2)
  "${in[@]}" ip link set "$side" address "02:00:00:00:00:0$number"
  "${in[@]}" ip link set "$side" up
  "${in[@]}" ip address add "10.9.0.$number/24" dev "$side"
  "${in[@]}" ip address add "fd09::$number/64" dev "$side" nodad
done
sleep 1
tcpdump -q -i near -w "$folder/ethernet.pcap" 2>/dev/null &
tcpdump -q -i any -y LINUX_SLL --nano -w "$folder/cooked.pcap" 2>/dev/null &
tcpdump -q -i any -y LINUX_SLL2 -s 80 -w "$folder/cooked2.pcap" 2>/dev/null &
dumpcap -q -i near -i lo -w "$folder/interfaces.pcapng" 2>/dev/null &
sleep 2
ping -q -c 4 -i 0.05 10.9.0.2 >/dev/null
ping -q -c 3 -i 0.05 -s 2000 fd09::2 >/dev/null
ping -q -c 2 -i 0.05 127.0.0.1 >/dev/null
for port in 53 1000 1001; do echo "to port $port" >"/dev/udp/10.9.0.2/$port"; done
for port in 80 443; do (echo >"/dev/tcp/10.9.0.2/$port") 2>/dev/null || true; done
sleep 2
kill $(jobs -p | grep -vx "$far")
# Tags need no VLAN device at either end, but room.
ip link set near mtu 1508
nsenter --net --target "$far" ip link set far mtu 1508
tcpdump -q -U -i near -w "$folder/vlan.pcap" 2>/dev/null &
sleep 2
"$rewrite" "$folder/ethernet.pcap" --send near
sleep 2
kill $(jobs -p)
wait || true
"$rewrite" "$folder/ethernet.pcap" "$folder"
mergecap -F pcapng -w "$folder/link_types.pcapng" "$folder/ethernet.pcap" "$folder/cooked.pcap" "$folder/null.pcap"
# What dumpcap and mergecap say of the machine is nobody's business; x for each letter keeps all lengths.
for text in "$(uname -sr)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" 'with SSE4.2'; do
  sed -i "s/$text/${text//?/x}/g" "$folder"/{interfaces,link_types}.pcapng
done
