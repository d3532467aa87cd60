#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Writes the part of the initramfs that all kernels share: the tests, what they start, and the libraries of both.
# Usage: programs.sh OUTPUT.cpio TEST-BINARY...
set -euo pipefail
here=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")" && pwd)
source_tree=$(cd "$here/../.." && pwd)
output=$(realpath "$1")
shift
tests=("$@")

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir -p "$place"/{proc,sys,dev,run,tmp,share,root} "$place"/usr/{bin,sbin,lib,lib64}
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$place/$folder"; done
chmod 755 "$place"  # the root of the machine, where ordinary users go through
chmod 1777 "$place/tmp"

programs=()
for name in ip {iptables,ip6tables}{,-nft,-legacy}{,-save,-restore} nft ping kmod bash dash pgrep nohup setpriv tshark busybox; do
  programs+=("$(command -v "$name")") || { echo "$name is not installed" >&2; exit 1; }
done
mapfile -t extensions < <(find /usr/lib -path '*/xtables/lib*.so')
mapfile -t libraries < <(ldd "${programs[@]}" "${extensions[@]}" "${tests[@]}" 2>/dev/null |
  sed -n 's/^\t.*=> \(\/[^ ]*\) .*/\1/p; s/^\t\(\/[^ ]*\) .*/\1/p' | sort -u)

# Everything stands where it stands outside, as the tests have the paths of their data built in.
paths=("${programs[@]}" "${extensions[@]}" "${libraries[@]}" "${tests[@]}" "$source_tree/tests/data"
  "$source_tree/tests/kernel/user_namespace.sh" /etc/protocols /etc/services /etc/iproute2)
tar -C / -chf - "${paths[@]#/}" | tar -C "$place" --keep-directory-symlink -xf -
for test in "${tests[@]}"; do strip "$place/$test"; done
ln -s "$(command -v kmod)" "$place/sbin/modprobe"
echo 'root:x:0:0:root:/root:/bin/sh' >"$place/etc/passwd"
install -m 755 "$here/init.sh" "$place/init"
install -m 755 "$here/run_suite.sh" "$place/run_suite"

(cd "$place" && find . -print0 | cpio --null --create --format=newc --owner=0:0 --quiet) >"$output"
