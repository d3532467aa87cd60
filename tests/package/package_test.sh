#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The Debian packages: lintian has nothing to say; a clean Debian 12 with the build dependencies alone, and without a
# network, makes of the source the same bytes; and in another, with compilers and what the packages depend on, they
# install, work and purge without a trace. The clean root is kept in CACHE, as it takes the network to make it.
# usage: package_test.sh SOURCE PACKAGES CACHE    exit status: 0 all of it holds, 1 not, 77 it can't be tried here
set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
source=$(realpath "$1") packages=$(realpath "$2") cache=$3

failed() {
  printf 'failed: %s\n' "$*" >&2
  exit 1
}

cannot() {
  printf '%s\n' "$*"
  exit 77
}

[ "$(id -u)" = 0 ] || cannot "only root can make a Debian root"
for tool in lintian mmdebstrap; do command -v "$tool" >/dev/null || cannot "$tool is not installed"; done
folder=$(mktemp -d)
trap 'rm -rf --one-file-system "$folder"' EXIT
version=$(dpkg-parsechangelog -l "$source/packaging/debian/changelog" -S Version)
debs=("$packages"/ipq_*.deb "$packages"/libipq0_*.deb "$packages"/libipq-dev_*.deb "$packages"/libipq++-dev_*.deb "$packages"/libipq-doc_*.deb)
for deb in "${debs[@]}"; do
  [ -f "$deb" ] || failed "there is no $deb"
  [ "$(dpkg-deb -f "$deb" Version)" = "$version" ] || failed "$deb is not of version $version"
done

# Beside the rest, as it takes its time.
lintian --allow-root --tag-display-limit 0 --display-info "$packages"/libipq_*.changes >"$folder/lintian.log" 2>&1 &
lintian=$!

# What the packages and what building them depend on, the iptables that the command recommends, and what a user of the
# libraries compiles with, is kept in it, so that installing needs no network.
compilers='g++ cmake ninja-build pkgconf'
wanted=$(for deb in "${debs[@]}"; do dpkg-deb -f "$deb" Depends; done && cat "$source/packaging/debian/control" && echo "$compilers")
clean_root=$cache/root_$(sha256sum <<<"$wanted" | cut -c1-12).tar
if ! [ -s "$clean_root" ]; then
  echo "a clean Debian 12, from the network"
  mkdir -p "$cache"
  # shellcheck disable=SC2016
  download='chroot "$1" apt-get clean
    keep() { mkdir "$1/srv/$2" && mv "$1"/var/cache/apt/archives/*.deb "$1/srv/$2"; }
    chroot "$1" sh -c "apt-get install --download-only --no-install-recommends -y /tmp/*.deb iptables" && keep "$1" needed &&
    chroot "$1" apt-get build-dep --download-only --no-install-recommends -y /tmp/source && keep "$1" building &&
    chroot "$1" apt-get install --download-only --no-install-recommends -y '$compilers' && keep "$1" compiling &&
    for each in "$1"/srv/compiling/*; do rm -f "$1/srv/needed/${each##*/}"; done &&
    rm -r "$1"/tmp/*.deb "$1/tmp/source"'
  hooks=()
  for deb in "${debs[@]}"; do hooks+=(--customize-hook="upload $deb /tmp/$(basename "$deb")"); done
  # shellcheck disable=SC2016
  hooks+=(--customize-hook='mkdir -p "$1/tmp/source/debian"'
    --customize-hook="upload $source/packaging/debian/control /tmp/source/debian/control"
    --customize-hook="upload $source/packaging/debian/changelog /tmp/source/debian/changelog"
    --customize-hook="$download")
  lists=()
  for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do [ ! -s "$list" ] || lists+=("$list"); done
  mmdebstrap --variant=minbase "${hooks[@]}" bookworm "$cache/unfinished.tar" "${lists[@]}" >"$cache/root.log" 2>&1 ||
    { tail -n 20 "$cache/root.log" >&2 && failed "mmdebstrap"; }
  mv "$cache/unfinished.tar" "$clean_root"
fi
root=$folder/root
unpack_root() {
  mkdir "$root"
  tar -xf "$clean_root" -C "$root" --exclude='./dev/*'
  mknod -m 666 "$root/dev/null" c 1 3
  echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/root_of_a_test"
}
inside() { unshare --net --mount --pid --fork --kill-child chroot "$root" /usr/bin/env -i PATH="$PATH" HOME=/root LC_ALL=C "$@"; }

echo "a second build, by the build dependencies of a clean Debian 12 alone"
unpack_root
cp "$packages"/libipq_*.dsc "$packages"/libipq_*.orig.tar.xz "$packages"/libipq_*.debian.tar.xz "$root/tmp"
cat >"$root/tmp/build.sh" <<'END'
set -e
dpkg --install /srv/building/*.deb
mkdir /tmp/elsewhere
cd /tmp/elsewhere
dpkg-source --no-check --extract /tmp/libipq_*.dsc source
cd source
umask 002
TZ=Asia/Tokyo LC_ALL=C.UTF-8 dpkg-buildpackage -us -uc -b
END
inside sh -x /tmp/build.sh >"$folder/second.log" 2>&1 || { tail -n 40 "$folder/second.log" >&2 && failed "the second build"; }
for deb in "$packages"/*_"$version"_*.deb; do
  cmp "$deb" "$root/tmp/elsewhere/$(basename "$deb")" || failed "$(basename "$deb") is not reproducible"
done
"$source/scripts/package.sh" "$source" "$folder/source" --source >/dev/null
cmp "$packages"/libipq_*.orig.tar.xz "$folder/source"/libipq_*.orig.tar.xz || failed "the tarball is not reproducible"
mkdir "$folder/unpacked"
tar -xf "$packages"/libipq_*.orig.tar.xz -C "$folder/unpacked" --strip-components=1
"$folder/unpacked/scripts/package.sh" "$folder/unpacked" "$folder/from_tarball" --source >/dev/null
cmp "$packages"/libipq_*.orig.tar.xz "$folder/from_tarball"/libipq_*.orig.tar.xz || failed "the tarball does not make itself"
rm -r --one-file-system "$root"

echo "lintian"
wait "$lintian" || failed "$(<"$folder/lintian.log")"
said=$(grep -E '^[EWI]: ' "$folder/lintian.log") && failed "$said"

# Everything that is there, but for dpkg's own notes, logs and what ldconfig derives.
snapshot() {
  local but=(-xdev '(' -path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache/ldconfig -o -path ./tmp
    -o -path ./etc/ld.so.cache -o -path ./dev ')' -prune)
  (cd "$root" && { find . "${but[@]}" -o -printf '%y %m %U:%G %l %p\n' &&
    find . "${but[@]}" -o -type f -exec sha256sum {} +; } | sort)
}

echo "installed, used and purged in a clean Debian 12"
unpack_root
inside sh -c 'dpkg --install /srv/compiling/*.deb' >"$folder/compiling.log" 2>&1 ||
  { tail -n 20 "$folder/compiling.log" >&2 && failed "dpkg --install of the compilers"; }
touch "$root/etc/hosts"  # netbase, which iptables needs, makes one and leaves it behind
snapshot >"$folder/before"
cp "${debs[@]}" "$root/tmp"
inside sh -ec 'dpkg --install /srv/needed/*.deb && dpkg --install /tmp/*.deb' >"$folder/install.log" 2>&1 ||
  { cat "$folder/install.log" >&2 && failed "dpkg --install"; }
snapshot >"$folder/installed"
! cmp -s "$folder/before" "$folder/installed" || failed "the packages install nothing"

cat >"$root/tmp/use.sh" <<'END'
set -e
cd /tmp
examples=/usr/share/doc/libipq-dev/examples
gcc -Wall -Wextra -Werror -o passer $examples/passer.c $(pkg-config --cflags --libs libipq)
gcc -o passer_static $examples/passer.c -l:libipq.a $(pkg-config --static --libs libipq | sed s/-lipq//)
g++ -std=c++23 -Wall -Wextra -Werror -o size_filter $examples/size_filter.cpp $(pkg-config --cflags --libs libipq++)
for program in passer passer_static; do
  status=0
  timeout --signal=TERM 1 ./$program >output || status=$?
  [ $status = 124 ]
  grep -q 'waiting for packets' output
  status=0
  LIBIPQ_SOURCE=capture:in.pcapng,out.pcapng ./$program >output 2>&1 || status=$?
  [ $status = 1 ]
  grep -q 'Received EOF on netlink socket' output
  grep -q 'ACCEPT$' output
  [ -s out.pcapng ]
done
# serves PROGRAM: it has opened the queue, and waits.
serves() {
  status=0
  timeout --signal=TERM 1 "$1" || status=$?
  [ $status = 124 ]
}
serves ./size_filter
mkdir -p cmake
printf 'cmake_minimum_required(VERSION 3.25)\nproject(user LANGUAGES CXX)\nfind_package(libipq 0.1 REQUIRED)\n' >cmake/CMakeLists.txt
printf 'add_executable(user user.cpp)\ntarget_link_libraries(user ipq::libipq++)\n' >>cmake/CMakeLists.txt
cp $examples/size_filter.cpp cmake/user.cpp
cmake -G Ninja -S cmake -B cmake/build
cmake --build cmake/build
serves cmake/build/user
dpkg --purge libipq++-dev libipq-doc
sed -i 's/CXX/C/;s/user.cpp/user.c/;s/libipq++/libipq/' cmake/CMakeLists.txt
cp $PWD/passer.c cmake/user.c
rm -r cmake/build
cmake -G Ninja -S cmake -B cmake/build
cmake --build cmake/build
dpkg --purge libipq-dev
status=0
timeout --signal=TERM 1 ./passer >output || status=$?
[ $status = 124 ]
dpkg --purge libipq0
if ./passer; then exit 1; fi
ipq --version
ipq check 'drop : udp port 53' | grep -q '1 rule: no fault'
mount -n -t tmpfs tmpfs /run
mount -n -t proc proc /proc
timeout 10 ipq watch --for 0.1s
timeout 60 ipq demo >demo
grep -q '7 received, 5 accepted, 2 dropped' demo
test -f /usr/share/bash-completion/completions/ipq
test -f /usr/share/man/man1/ipq.1.gz
test -f /usr/share/man/man5/ipq-rules.5.gz
grep -q 'ExecStart=/usr/bin/ipq run' /lib/systemd/system/ipq@.service
mkdir -p /var/lib/ipq
echo recorded >/var/lib/ipq/traffic.pcapng
# systemd, as far as the packages ask it for something; an instance runs and is enabled.
mkdir -p /run/systemd/system
printf '#!/bin/sh\necho "$*" >>/tmp/asked\n' >/usr/local/sbin/systemctl
chmod 755 /usr/local/sbin/systemctl
ln -s /lib/systemd/system/ipq@.service /etc/systemd/system/multi-user.target.wants/ipq@house.service
dpkg --install /tmp/ipq_*.deb
[ "$(cat /tmp/asked)" = "--system daemon-reload
try-restart ipq@*.service" ]
rm /tmp/asked
dpkg --remove ipq
[ "$(cat /tmp/asked)" = "stop ipq@*.service
--system daemon-reload" ]
test -f /var/lib/ipq/traffic.pcapng
test -L /etc/systemd/system/multi-user.target.wants/ipq@house.service
dpkg --purge ipq
if test -L /etc/systemd/system/multi-user.target.wants/ipq@house.service; then exit 1; fi
rm /usr/local/sbin/systemctl
# Nor does dpkg know them any more.
known=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' ipq libipq0 libipq-dev libipq++-dev libipq-doc | grep -v ' not-installed$' || true)
[ -z "$known" ]
[ -z "$(find /var/lib/dpkg/info -name 'ipq.*' -o -name 'libipq*')" ]
dpkg --purge $(for each in /srv/needed/*.deb; do dpkg-deb -f $each Package; done)
END
cp "$source/examples/passer.c" "$root/tmp"
cp "$source/tests/data/captures/interfaces.pcapng" "$root/tmp/in.pcapng"
inside sh -x /tmp/use.sh >"$folder/use.log" 2>&1 || { tail -n 40 "$folder/use.log" >&2 && failed "the packages do not work"; }
snapshot >"$folder/after"
diff "$folder/before" "$folder/after" || failed "something is left behind, or was changed"
echo "the packages work"
