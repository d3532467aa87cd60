#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs a build into an empty prefix and uses it from there as programs do: through pkg-config and through CMake,
# in C and in C++, shared and static. Nothing of the source tree but programs, and what takes one off the manual, is used
# after the installation.
# usage: install_test.sh SOURCE BUILD CMAKE CC CXX
set -euo pipefail
export LC_ALL=C
source=$1 build=$2 cmake=$3 cc=$4 cxx=$5
here=$source/tests/install
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

failed() {
  printf 'failed: %s\n' "$*" >&2
  exit 1
}

# same WHAT EXPECTED ACTUAL
same() { [ "$2" = "$3" ] || failed "$1: expected
$2
but it is
$3"; }

needed() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }

"$cmake" --install "$build" --prefix "$folder/first" >install.log || failed "cmake --install"
mv first prefix # what was installed does not depend on where
prefix=$folder/prefix

library=$(find "$prefix" -name libipq.so)
[ -n "$library" ] || failed "there is no libipq.so"
libdir=$(dirname "$library")
export PKG_CONFIG_PATH=$libdir/pkgconfig LD_LIBRARY_PATH=$libdir

echo "the library: soname, symbols, dependencies"
same soname libipq.so.0 "$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')"
[ -e "$libdir/libipq.so.0" ] || failed "there is no libipq.so.0"
same "exported symbols" "$(sed -n 's/^ *\(ipq_[a-z_]*\);$/\1/p' "$source/src/compat/libipq.map" | sort)" \
  "$(nm -D --defined-only "$library" | awk '{ print $3 }' | sort)"
same "exported functions" "" "$(nm -D --defined-only "$library" | awk '$2 != "T"')"
same "dependencies beyond libc, libstdc++ and libmnl" "" \
  "$(needed "$library" | grep -vE '^(libc|libgcc_s|libstdc\+\+|libmnl|ld-linux.*)\.so\.[0-9]+$' || [ $? = 1 ])"

echo "the files"
same "installed headers" \
  "$({ cd "$source/include/libipq" && find . -name '*.h' && cd .. && find ./ipq -name '*.hpp'; } | sort)" \
  "$(cd "$prefix/include" && find . -type f | sort)"
for page in libipq.3 ipq_create_handle.3; do
  [ -e "$prefix/share/man/man3/$page" ] || failed "there is no manual page $page"
done
same "files that name the place of the build" "" "$(grep -rlF -e "$folder/first" -e "$build" "$prefix" --include='*.pc' \
  --include='*.cmake' --include='*.h' || [ $? = 1 ])"

echo "the C++ library"
read -ra cpp_flags < <(pkg-config --cflags --libs libipq++)
for header in "$source"/include/ipq/*.hpp; do
  echo "#include <ipq/$(basename "$header")>"
  echo "#include <ipq/$(basename "$header")> // twice"
done >program.cpp
for header in "$source"/include/ipq/*.hpp; do
  echo "#include <ipq/$(basename "$header")>" >alone.cpp
  "$cxx" -std=c++23 -Wall -Wextra -Werror -fsyntax-only alone.cpp "${cpp_flags[0]}" ||
    failed "$header does not stand alone"
done
cat "$here/consumer.cpp" >>program.cpp
"$cxx" -std=c++23 -Wall -Wextra -Wconversion -Werror -o program program.cpp "${cpp_flags[@]}" ||
  failed "c++ program.cpp \$(pkg-config --cflags --libs libipq++)"
./program || failed "the program with libipq++"
! needed program | grep -q libipq || failed "the program with libipq++ needs a shared libipq"
"$cxx" -std=c++23 -fno-exceptions -fno-rtti -Wall -Wextra -Wconversion -Werror -o without_exceptions program.cpp \
  "${cpp_flags[@]}" || failed "c++ -fno-exceptions program.cpp"
./without_exceptions || failed "the program with libipq++, without exceptions"

languages=("$cc -x c -std=gnu89" "$cc -x c -std=c11" "$cxx -x c++ -std=c++98" "$cxx -x c++ -std=c++20")
warnings=(-Wall -Wextra -Wconversion -Werror)
read -ra flags < <(pkg-config --cflags --libs libipq)
read -ra includes < <(pkg-config --cflags libipq)
read -ra static_flags < <(pkg-config --static --cflags --libs libipq)
# A system without a static libmnl can still have libipq itself linked in.
static_flags=("${static_flags[@]/#-lipq/-l:libipq.a}")

for header in libipq.h libipq/libipq.h linux/netfilter_ipv4/ip_queue.h; do
  { echo "#include <$header>" && cat "$here/consumer.c"; } >program.c
  for language in "${languages[@]}"; do
    echo "$language with <$header>"
    read -ra compiler <<<"$language"
    "${compiler[@]}" "${warnings[@]}" -ansi -pedantic-errors -DWITHOUT_ROOM -fsyntax-only program.c "${includes[@]}" ||
      failed "$language: with -ansi -pedantic-errors"
    compiler+=("${warnings[@]}" program.c -x none)
    "${compiler[@]}" -o shared "${flags[@]}" || failed "$language: shared, the compiler"
    ./shared || failed "$language: shared, the program"
    needed shared | grep -qx libipq.so.0 || failed "$language: the program does not need libipq.so.0"
    "${compiler[@]}" -o static "${static_flags[@]}" || failed "$language: static, the compiler"
    ./static || failed "$language: static, the program"
    ! needed static | grep -q libipq || failed "$language: the static program needs the shared library"
    rm shared static
  done
done

# in_order LANGUAGE CODE HEADER...: the headers, and what stands behind them, compile.
in_order() {
  local compiler
  read -ra compiler <<<"$1"
  { printf '#include <%s>\n' "${@:3}" && echo "$2"; } >order.c
  "${compiler[@]}" -Wall -Wextra -pedantic-errors -Werror -fsyntax-only order.c "${includes[@]}" || failed "$1: ${*:3}"
}

echo "the headers beside others, in each order that these can stand in themselves"
while read -r -a order; do
  for language in "${languages[@]}"; do
    read -ra compiler <<<"$language"
    printf '#include <%s>\n' "${order[@]}" | grep -v ipq >others.c || true
    "${compiler[@]}" -fsyntax-only others.c 2>/dev/null || continue
    in_order "$language" 'char name[sizeof(((ipq_packet_msg_t*)0)->indev_name) - 15];' "${order[@]}"
  done
done <<'END'
libipq.h net/if.h
net/if.h libipq.h
libipq.h linux/if.h
linux/if.h libipq.h
libipq.h linux/netfilter_ipv4/ip_tables.h
linux/netfilter_ipv4/ip_tables.h libipq.h
linux/netfilter_ipv4/ip_tables.h linux/netfilter_ipv4/ip_queue.h
linux/netfilter_ipv6/ip6_tables.h libipq.h
linux/netfilter.h libipq.h
libipq.h linux/netfilter.h
libipq.h netinet/in.h linux/netfilter.h
netinet/in.h linux/netfilter.h libipq.h
linux/netfilter_ipv4.h libipq.h
net/if.h linux/if.h libipq.h
END

# Orders that programs of 2001 have, and today contradict each other without libipq: the kernel's headers before the C
# library's, and its linux/if.h, which most of them include by now, behind net/if.h.
echo "the kernel's headers before the C library's"
for behind in netinet/in.h netinet/ip.h arpa/inet.h netdb.h; do
  for language in "${languages[@]}"; do
    for first in linux/netfilter.h linux/netfilter_ipv4.h linux/netfilter_ipv4/ip_tables.h; do
      in_order "$language" 'int queue = NF_QUEUE; struct in_addr address; struct sockaddr_in peer; ipq_id_t id;' \
        "$first" libipq.h "$behind"
    done
  done
done

echo "the kernel's headers behind libipq's"
while read -r -a order; do
  for language in "${languages[@]}"; do
    in_order "$language" 'ipq_id_t id;' "${order[@]}"
  done
done <<'END'
linux/netfilter.h libipq.h linux/icmp.h
linux/netfilter.h libipq.h linux/if.h
linux/netfilter.h libipq.h linux/if_arp.h
linux/netfilter.h libipq.h linux/netfilter_ipv4/ip_tables.h
linux/netfilter.h net/if.h linux/icmp.h libipq.h
libipq.h linux/netfilter.h linux/route.h
linux/ipv6.h linux/netfilter.h libipq.h linux/if.h
linux/icmp.h linux/netfilter.h libipq.h netinet/in.h
linux/in6.h linux/netfilter.h libipq.h arpa/inet.h
linux/ipv6.h linux/netfilter.h libipq.h netinet/ip6.h
END

echo "the demo"
"$cc" -o demo_passer "$source/examples/passer.c" "${flags[@]}" || failed "cc passer.c with the flags of pkg-config"
"$source/examples/demo.sh" ./demo_passer >demo.log 2>&1 && status=0 || status=$?
[ "$status" = 0 ] || [ "$status" = 77 ] || { cat demo.log && failed "the demo with the installed library"; }

# As a reader of the installed page does it: what the screen shows, built as it says, with real pings.
echo "the program of the manual"
cat >pings.sh <<'END'
lost() { echo "$1" && exit 1; }
export XTABLES_LOCKFILE=$PWD/xtables.lock PATH="$PATH:/usr/sbin:/sbin"
ping() { command ping -n -W 1 -i 0.2 127.0.0.1 "$@"; }
ip link set lo up
for iptables in iptables iptables-legacy; do "$iptables" -A OUTPUT -p icmp -j QUEUE && break; done
ping -c 1 && lost "a ping passes without the program"
stdbuf -oL setpriv --pdeathsig KILL ./passer >packets &
for ((i = 0; i < 30; i++)); do ping -c 1 && break; done
ping -c 3 -W 10 || lost "no pings pass with the program"
kill -0 $! || lost "the program has ended"
cat packets
# Requests and answers, of one ping and of three.
[ "$(grep -c '^packet [0-9]*: 84 bytes$' packets)" -ge 8 ] || lost "the program does not say what it sees"
END
if command -v mandoc >mandoc.log; then
  mandoc -T utf8 -O width=120 "$prefix/share/man/man3/libipq.3" | sed 's/.\x08//g' |
    awk -f "$source/tests/man/example.awk" >passer.c
  "$cc" passer.c "${flags[@]}" -o passer || failed "cc passer.c \$(pkg-config --cflags --libs libipq) -o passer"
  namespace=(--net)
  [ "$(id -u)" = 0 ] || namespace+=(--user --map-root-user)
  [ "$status" != 0 ] || unshare "${namespace[@]}" bash pings.sh >pings.log 2>&1 ||
    { cat pings.log && failed "pings with the program of the manual"; }
elif [ "${CI-}" = true ]; then
  failed "mandoc is missing: apt-get install mandoc"
elif [ "$status" = 0 ]; then
  status=77
  echo "It cannot run here: mandoc is missing: apt-get install mandoc" >demo.log
fi

for language in C CXX; do
  echo "CMake in a project of language $language"
  "$cmake" -G Ninja -S "$here/cmake_consumer" -B "$language" -DCMAKE_PREFIX_PATH="$prefix" -DLANGUAGE="$language" \
    -DCONSUMER="$here/consumer.c" -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" --no-warn-unused-cli \
    >cmake.log 2>&1 || { cat cmake.log && failed "find_package(libipq)"; }
  "$cmake" --build "$language" >cmake.log 2>&1 || { cat cmake.log && failed "the build with CMake"; }
  "$language/with_libipq" || failed "the program with ipq::libipq"
  "$language/with_libipq_static" || failed "the program with ipq::libipq_static"
  [ "$language" = C ] || "$language/with_libipq++" || failed "the program with ipq::libipq++"
  needed "$language/with_libipq" | grep -qx libipq.so.0 || failed "with_libipq does not need libipq.so.0"
  ! needed "$language/with_libipq_static" | grep -q libipq || failed "with_libipq_static needs the shared library"
done

[ "$status" = 0 ] || { sed -n '/cannot run here/,$p' demo.log | paste -sd ' ' && exit 77; }
echo "the installation works"
