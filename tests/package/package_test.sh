#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The Debian packages: lintian has nothing to say, a second build in another folder gives the same bytes, the tarball
# builds with the listed packages alone, and in a clean Debian 12 without a network they install, work and purge
# without a trace. The clean root is kept in CACHE, as it takes the network to make it.
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

echo "lintian"
said=$(lintian --allow-root --tag-display-limit 0 --display-info "$packages"/libipq_*.changes 2>&1) || failed "$said"
said=$(grep -E '^[EWI]: ' <<<"$said") && failed "$said"

echo "a second build, in another folder"
"$source/scripts/package.sh" "$source" "$folder/somewhere/else" >"$folder/second.log" 2>&1 ||
  { cat "$folder/second.log" >&2 && failed "the second build"; }
for file in "$packages"/*.deb "$packages"/libipq_*.orig.tar.xz; do
  cmp "$file" "$folder/somewhere/else/$(basename "$file")" || failed "$(basename "$file") is not reproducible"
done

# What the command depends on, and the iptables that it recommends, is kept in it, so that installing needs no network.
clean_root=$cache/root_$(dpkg-deb -f "$packages"/ipq_*.deb Depends | sha256sum | cut -c1-12).tar
if ! [ -s "$clean_root" ]; then
  echo "a clean Debian 12, from the network"
  mkdir -p "$cache"
  # shellcheck disable=SC2016
  download='chroot "$1" apt-get clean &&
    chroot "$1" apt-get install --download-only --no-install-recommends -y /tmp/command.deb iptables &&
    mkdir "$1/srv/needed" && mv "$1"/var/cache/apt/archives/*.deb "$1/srv/needed" && rm "$1/tmp/command.deb"'
  lists=()
  for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do [ ! -s "$list" ] || lists+=("$list"); done
  mmdebstrap --variant=minbase --include=g++,cmake,ninja-build,pkgconf,libmnl-dev,zlib1g-dev,libzstd-dev \
    --customize-hook="upload $(echo "$packages"/ipq_*.deb) /tmp/command.deb" --customize-hook="$download" \
    bookworm "$cache/unfinished.tar" "${lists[@]}" >"$cache/root.log" 2>&1 ||
    { tail -n 5 "$cache/root.log" && cannot "mmdebstrap failed"; }
  mv "$cache/unfinished.tar" "$clean_root"
fi
root=$folder/root
mkdir "$root"
tar -xf "$clean_root" -C "$root" --exclude='./dev/*'
mknod -m 666 "$root/dev/null" c 1 3
touch "$root/etc/hosts"  # netbase, which iptables needs, makes one and leaves it behind
inside() { unshare --net --mount --pid --fork --kill-child chroot "$root" /usr/bin/env -i PATH="$PATH" HOME=/root LC_ALL=C "$@"; }

# Everything that is there, but for dpkg's own notes, logs and what ldconfig derives.
snapshot() {
  (cd "$root" && find . -xdev \( -path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache/ldconfig -o -path ./tmp \
    -o -path ./etc/ld.so.cache -o -path ./dev \) -prune -o -printf '%y %m %U:%G %l %p ' \
    \( -type f -exec sha256sum {} \; -o -printf '\n' \) | sort)
}

echo "the tarball, with the listed packages alone"
tar -xf "$packages"/libipq_*.orig.tar.xz -C "$root/tmp"
inside sh -ec 'cd /tmp/libipq-* && cmake -G Ninja -B build -DIPQ_DEVELOPER=OFF && cmake --build build' \
  >"$folder/tarball.log" 2>&1 || { tail -n 30 "$folder/tarball.log" >&2 && failed "the tarball does not build"; }
rm -r "$root"/tmp/libipq-*

echo "installed, used and purged in a clean Debian 12"
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
  [ $status = 124 ] && grep -q 'waiting for packets' output
done
mkdir -p cmake
printf 'cmake_minimum_required(VERSION 3.25)\nproject(user LANGUAGES CXX)\nfind_package(libipq 0.1 REQUIRED)\n' >cmake/CMakeLists.txt
printf 'add_executable(user user.cpp)\ntarget_link_libraries(user ipq::libipq++)\n' >>cmake/CMakeLists.txt
cp $examples/size_filter.cpp cmake/user.cpp
cmake -S cmake -B cmake/build && cmake --build cmake/build
dpkg --purge libipq++-dev libipq-doc
sed -i 's/CXX/C/;s/user.cpp/user.c/;s/libipq++/libipq/' cmake/CMakeLists.txt
cp $PWD/passer.c cmake/user.c
rm -r cmake/build && cmake -S cmake -B cmake/build && cmake --build cmake/build
dpkg --purge libipq-dev
timeout --signal=TERM 1 ./passer >output || [ $? = 124 ]
dpkg --purge libipq0
! ./passer
ipq --version
ipq check 'drop : udp port 53' | grep -q '1 rule: no fault'
mount -n -t tmpfs tmpfs /run && mount -n -t proc proc /proc
timeout 10 ipq watch --for 0.1s
timeout 60 ipq demo >demo && grep -q '7 received, 5 accepted, 2 dropped' demo
test -f /usr/share/bash-completion/completions/ipq
test -f /usr/share/man/man1/ipq.1.gz && test -f /usr/share/man/man5/ipq-rules.5.gz
grep -q 'ExecStart=/usr/bin/ipq run' /lib/systemd/system/ipq@.service
dpkg --purge ipq
dpkg --purge $(for each in /srv/needed/*.deb; do dpkg-deb -f $each Package; done)
END
cp "$source/examples/passer.c" "$root/tmp"
inside sh -x /tmp/use.sh >"$folder/use.log" 2>&1 || { tail -n 40 "$folder/use.log" >&2 && failed "the packages do not work"; }
snapshot >"$folder/after"
diff "$folder/before" "$folder/after" || failed "something is left behind, or was changed"
echo "the packages work"
