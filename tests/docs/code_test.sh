#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Compiles what the guides of the C++ library show: programs as they are, fragments each inside of a function.
# usage: code_test.sh SOURCE CC CXX
set -euo pipefail
source=$1 cc=$2 cxx=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$source"

failed() {
  printf 'failed: %s\n' "$*" >&2
  exit 1
}

# The blocks of documents that are marked ```c or ```cpp: programs to a file each, fragments all into one.
extract() {
  awk -v folder="$folder" '
    function write() {
      if (code ~ /main\(/) {
        file = folder "/program_" ++programs "." kind
        printf "#line %d \"%s\"\n%s", first, FILENAME, code > file
        close(file)
        return
      }
      ++fragments
      file = folder "/fragments." kind
      printf "%s\n#line %d \"%s\"\n%s%s\n", \
        kind == "c" ? "int fragment_" fragments "(C_PARAMETERS) {" \
                    : "ipq::result<void> fragment_" fragments "(CPP_PARAMETERS) {", \
        first, FILENAME, code, kind == "c" ? "return 0; }" : "return {}; }" > file
    }
    /^```(c|cpp)$/ { kind = substr($0, 4); first = FNR + 1; code = ""; next }
    /^```$/ && kind != "" { write(); kind = ""; next }
    kind != "" { code = code $0 "\n" }
    END { print programs + 0, fragments + 0 }' "$@"
}

cat >"$folder/before.h" <<'END'
#include <arpa/inet.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <libnetfilter_queue/libnetfilter_queue_ipv4.h>
#include <libnetfilter_queue/libnetfilter_queue_udp.h>
#include <linux/ip.h>
#include <linux/netfilter.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <libnetfilter_queue/pktbuff.h>
#define C_PARAMETERS \
  struct nfq_handle *handle, struct nfq_q_handle *queue, struct nfq_data *packet, uint32_t id, \
  unsigned char *payload, unsigned payload_length
static char buffer[65536];
END
cat >"$folder/before.hpp" <<'END'
#include <ipq/decode.hpp>
#include <ipq/edit.hpp>
#include <ipq/interfaces.hpp>
#include <ipq/queue.hpp>
#include <ipq/tcp.hpp>
#include <ipq/workers.hpp>
#include <iostream>
#include <string_view>
#include <vector>
#define CPP_PARAMETERS \
  ipq::queue& queue, const ipq::packet& packet, ipq::queue::clock::time_point deadline, int fd, \
  std::vector<ipq::held_packet>& later
void send_descriptor(int);
int receive_descriptor();
END
warnings=(-fsyntax-only -Wall -Wextra -Werror -Wno-unused -Wno-unused-parameter)
compile_c() { "$cc" -std=gnu11 -Iinclude -Iinclude/libipq "${warnings[@]}" "$@"; }
compile_cpp() { "$cxx" -std=c++23 -Iinclude "${warnings[@]}" -Wno-shadow "$@"; }

read -r programs fragments < <(extract README.md docs/cpp.md docs/porting_from_libnetfilter_queue.md)
[ "$programs" -ge 4 ] && [ "$fragments" -ge 15 ] || failed "found only $programs programs and $fragments fragments"
for program in "$folder"/program_*.cpp; do
  compile_cpp "$program" || failed "a program does not compile"
done
# A parameter may be declared once more inside: there a fragment opens its own queue.
sed -i 's/^\(ipq::result.*{\)$/\1{/; s/^return {}; }$/}return {}; }/' "$folder/fragments.cpp"
compile_cpp -include "$folder/before.hpp" "$folder/fragments.cpp" || failed "a fragment does not compile"
if compile_c "$folder/before.h" 2>/dev/null; then
  compile_c "$folder"/program_*.c || failed "a program does not compile"
  compile_c -include "$folder/before.h" "$folder/fragments.c" || failed "a fragment does not compile"
else
  echo "without libnetfilter_queue's headers its side is not compiled"
fi

# It would notice.
printf '```cpp\nqueue.set_verdict(packet, ipq::verdict::accept_all());\n```\n' >"$folder/wrong.md"
rm "$folder"/fragments.*
extract "$folder/wrong.md" >/dev/null
! compile_cpp -include "$folder/before.hpp" "$folder/fragments.cpp" 2>/dev/null || failed "a wrong fragment compiles"
echo "$programs programs and $fragments fragments compile"
