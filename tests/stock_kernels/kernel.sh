#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Makes FOLDER/vmlinuz and FOLDER/modules.cpio from a Debian package of a kernel, which is downloaded and not installed.
# Usage: kernel.sh PACKAGE FOLDER
set -euo pipefail
package=$1 folder=$2

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
chmod 755 "$place"
(cd "$place" && apt-get download -o APT::Sandbox::User=root "$package") >&2
dpkg-deb -x "$place/$package"_*.deb "$place/package"
release=$(basename "$place"/package/boot/vmlinuz-*)
release=${release#vmlinuz-}

# All of networking, so that what the kernel loads by itself is there, and what the virtual machine has for hardware.
kept=(net lib crypto arch/x86/crypto fs/9p fs/netfs fs/fscache drivers/virtio drivers/net/veth.ko drivers/net/dummy.ko
  drivers/char/virtio_console.ko)
from=$place/package/lib/modules/$release to=$place/tree/usr/lib/modules/$release
mkdir -p "$to/kernel"
ln -s usr/lib "$place/tree/lib"
cp "$from"/modules.{order,builtin,builtin.modinfo} "$to"
for module in "${kept[@]}"; do
  for path in "$from/kernel/$module"*; do
    [ ! -e "$path" ] || (cd "$from" && cp -r --parents "${path#"$from/"}" "$to")
  done
done
find "$to" -name '*.ko.xz' -exec xz --decompress {} +
depmod -b "$place/tree" "$release"

mkdir -p "$folder"
(cd "$place/tree" && find usr -print0 | cpio --null --create --format=newc --owner=0:0 --quiet) >"$folder/modules.cpio"
cp "$place/package/boot/config-$release" "$folder/config"
cp "$place/package/boot/vmlinuz-$release" "$folder/vmlinuz"
