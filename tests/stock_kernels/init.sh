#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# The first process of the virtual machine: loads what a firewall machine has loaded, runs the suites and powers off.
# /share is a folder of the machine outside: the order comes from there, results go there.
# shellcheck shell=dash
export PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C
/bin/busybox --install -s 2>/dev/null

# Whoever waits outside takes any end without the file `finished` for a failure.
give_up() {
  echo "init: $*" >/dev/console
  [ ! -e /share/order ] || echo "$*" >/share/failure
  poweroff -f
}

load() {
  for module; do
    modprobe "$module" || give_up "the kernel has no module $module"
  done
}

mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t devtmpfs dev /dev || give_up "no /proc, /sys or /dev"
mkdir -p /dev/shm /dev/pts && mount -t tmpfs shm /dev/shm && mount -t devpts pts /dev/pts
load virtio_pci 9pnet_virtio 9p
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share /share && [ -r /share/order ] || give_up "no order"

ip link set lo up
# These want a kernel that has loaded nothing yet.
first=$(sed -n '/^stock\.fresh_kernel\t/=' /share/order)
[ -z "$first" ] || /run_suite "$first"

load nfnetlink_queue nf_conntrack nf_conntrack_netlink nf_tables nft_queue nft_ct nft_compat veth dummy bridge \
  br_netfilter 8021q x_tables xt_NFQUEUE xt_mark xt_conntrack ip_tables iptable_filter iptable_mangle iptable_raw \
  iptable_nat ip6_tables ip6table_filter ip6table_mangle ip6table_raw ip6table_nat
echo "Linux $(uname -r) is up after $(cut -d. -f1 /proc/uptime) s" >/share/booted

# Two at a time: most tests wait for something.
seq "$(wc -l </share/order)" | grep -vx "$first" | xargs -r -n 1 -P 2 /run_suite

dmesg >/share/dmesg
echo finished >/share/finished
sync
poweroff -f
