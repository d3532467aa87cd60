#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Makes the captures of this folder anew: pings, UDP and TCP between two network namespaces of its own.
# usage: record.sh FOLDER    as root; needs tcpdump, dumpcap and ping
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
if [ "${IPQ_INSIDE:-}" != yes ]; then IPQ_INSIDE=yes exec unshare --net --mount --pid --fork --mount-proc "$0" "$@"; fi
folder=$1
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
kill $(jobs -p)
wait || true
# What dumpcap says of the machine is nobody's business; x for each letter keeps all lengths.
for text in "$(uname -sr)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" 'with SSE4.2'; do
  sed -i "s/$text/${text//?/x}/g" "$folder/interfaces.pcapng"
done
