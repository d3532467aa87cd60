#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Shows that arrows.sh passes a good tree and finds each kind of fault in a bad one, at its line and for its reason.
# usage: arrows_test.sh
set -euo pipefail
arrows=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/arrows.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
faults=0

# put FILE LINE...: a file of the sample tree, with its licence line in front.
put() {
  local file=$folder/tree/$1
  shift
  mkdir -p "$(dirname "$file")"
  printf '%s\n' '// SPDX-License-Identifier: MIT' "$@" >"$file"
}

good_tree() {
  rm -rf "$folder/tree"
  put include/ipq/error.hpp '#pragma once' '#include <system_error>'
  put include/libipq/libipq/libipq.h '#ifndef A_H' '#define A_H' '#include <sys/socket.h>' '#endif'
  put include/libipq/libipq.h '#include <libipq/libipq.h>'
  put src/wire/message.hpp '#pragma once' '#include <libmnl/libmnl.h>' '#include <span>' '#include "ipq/error.hpp"'
  put src/wire/message.cpp '#include "wire/message.hpp"' 'void f(socket& s) { s.send(1); }'
  put src/wire/message_test.cpp '#include <gtest/gtest.h>' '#include "message.hpp"' 'int x = ::socket(1, 2, 3);'
  put src/netlink/socket.hpp '#pragma once' '#include <poll.h>' '#include "wire/message.hpp"'
  put src/netlink/socket.cpp '#include "netlink/socket.hpp"' 'int x = ::poll(nullptr, 0, 0);'
  put src/compat/handle.cpp '#include <libipq/libipq.h>' '#include <pthread.h>' '#include "netlink/socket.hpp"' \
    '// recv(1) is not called here' '/* nor' 'send(2) */' 'const char* text = "poll(3)";' 'void send(int);' \
    'auto x = netlink::socket(1);' 'auto y = std::bind(f);' 'int z = p->recv(1);'
  put src/compat/kernel_handle_test.cpp '#include "netlink/socket.hpp"' '#include "compat/../wire/message.hpp"'
  put src/capture/readiness.cpp '#include <poll.h>' '#include <sys/epoll.h>' 'int x = ::ppoll(nullptr, 0, 0, 0);'
  put examples/passer.c '#include <libipq.h>' '#include <arpa/inet.h>'
  printf '%s\n' '#!/bin/sh' '# SPDX-License-Identifier: MIT' >"$folder/tree/dev"
}

# refuses WHERE REASON: the tree is refused for this one fault.
refuses() {
  local output status=0
  output=$("$arrows" "$folder/tree" 2>&1) || status=$?
  if [ "$status" != 1 ] || [[ $output != "$1: "*"$2"* ]] || [ "$(wc -l <<<"$output")" != 1 ]; then
    printf 'expected %s: ...%s...\nbut status %s and:\n%s\n\n' "$1" "$2" "$status" "$output"
    faults=$((faults + 1))
  fi
  good_tree
}

good_tree
"$arrows" "$folder/tree" || { echo "the good tree is refused" && exit 1; }

put src/wire/config.cpp '#include "netlink/socket.hpp"'
refuses src/wire/config.cpp:2 'wire may include include/ipq'
put src/wire/config.cpp '' '#include <linux/netlink.h>'
refuses src/wire/config.cpp:3 'sockets belong to src/netlink alone'
put src/wire/config.cpp '#include <unistd.h>'
refuses src/wire/config.cpp:2 'wire may include'
put src/netlink/owner.cpp '#include "../compat/handle.cpp"'
refuses src/netlink/owner.cpp:2 'netlink may include'
put src/netlink/owner.cpp '#  include <libipq.h>'
refuses src/netlink/owner.cpp:2 'includes include/libipq/libipq.h'
put src/compat/error.cpp '#include <sys/socket.h>'
refuses src/compat/error.cpp:2 'sockets belong to src/netlink alone'
put src/compat/error.cpp '#include <libmnl/libmnl.h>'
refuses src/compat/error.cpp:2 'compat may include'
put src/packet/view.cpp '#include "wire/message.hpp"'
refuses src/packet/view.cpp:2 'packet may include include/ipq'
put src/queue/queue.cpp '#include "compat/handle.cpp"'
refuses src/queue/queue.cpp:2 'queue may include'
put src/capture/pcap.cpp '#include "netlink/socket.hpp"'
refuses src/capture/pcap.cpp:2 'capture may include packet'
put src/capture/pcap.cpp '#include <sys/socket.h>'
refuses src/capture/pcap.cpp:2 'sockets belong to src/netlink alone'
put src/capture/pcap.cpp 'int x = ::recv(1, b, 2, 0);'
refuses src/capture/pcap.cpp:2 'system calls on sockets belong to src/netlink alone'
put src/compat/pcap.cpp 'int x = ::poll(nullptr, 0, 0);'
refuses src/compat/pcap.cpp:2 'system calls on sockets belong to src/netlink alone'
put src/cellar/box.cpp 'int x;'
refuses src/cellar/box.cpp:1 'no room that has arrows'
put src/wire/config_test.cpp '#include "netlink/socket.hpp"'
refuses src/wire/config_test.cpp:2 'wire may include'
put include/ipq/packet.hpp '#pragma once' '#include <sys/types.h>'
refuses include/ipq/packet.hpp:3 'include/ipq may include the standard library'
put include/ipq/packet.hpp '#pragma once' '#include <linux/netfilter.h>'
refuses include/ipq/packet.hpp:3 'include/ipq may include the standard library'
put include/ipq/packet.hpp '#pragma once' '#include "../../src/wire/message.hpp"'
refuses include/ipq/packet.hpp:3 'includes src/wire/message.hpp'
put include/libipq/linux/ip_queue.h '#pragma once' '#include <ipq/error.hpp>'
refuses include/libipq/linux/ip_queue.h:3 'includes include/ipq/error.hpp'
put examples/mangler.c '#include "../src/wire/message.hpp"'
refuses examples/mangler.c:2 'examples may include include/ipq include/libipq'
put bench/loop.cpp '#include "netlink/socket.hpp"'
refuses bench/loop.cpp:2 'bench may include'
put tool/main.cpp '#include <netlink/socket.hpp>'
refuses tool/main.cpp:2 'tool may include'
put src/compat/error.cpp '#include "compat/nowhere.hpp"'
refuses src/compat/error.cpp:2 'not in the tree'
put src/compat/error.cpp '#define HEADER <errno.h>' '#include HEADER'
refuses src/compat/error.cpp:3 'name the file'

for call in 'int x = ::socket(1, 2, 3);' '  return send(1, b, 2, 0);' 'if (recv(1, b, 2, 0) < 0)' '!::poll (f, 1, 0);' \
  'f(setsockopt(1));' '/* so */ recvmsg(1, m, 0);' 'else sendmsg(1, m, 0);' 'ppoll(f, 1, t, s); // as said' \
  '"\"" + mnl_socket_open(1);' '(void)send(1);'; do
  put src/compat/error.cpp "$call"
  refuses src/compat/error.cpp:2 'system calls on sockets belong to src/netlink alone'
done

printf 'int x;\n' >"$folder/tree/src/wire/config.cpp"
refuses src/wire/config.cpp:1 'SPDX-License-Identifier: MIT'
printf '#!/bin/sh\necho\n' >"$folder/tree/dev"
refuses dev:2 'SPDX-License-Identifier: MIT'
put src/wire/config.hpp 'int x;'
refuses src/wire/config.hpp:1 'neither #pragma once nor an include guard'
put src/wire/config.hpp '#ifndef A' '#define B' '#endif'
refuses src/wire/config.hpp:1 'neither #pragma once nor an include guard'
put src/wire/config.cpp "$(yes 'int x;' | head -n 800)"
refuses src/wire/config.cpp:801 'more than 800 lines'
put src/wire/config.cpp '' '// as in /ho''me/somebody/tree'
refuses src/wire/config.cpp:3 'a folder of one machine'
: >"$folder/tree/src/wire/config.cpp"
refuses src/wire/config.cpp:1 'is empty'

rm -rf "$folder/tree" && mkdir "$folder/tree"
status=0
"$arrows" "$folder/tree" 2>"$folder/message" || status=$?
[ "$status" = 2 ] || { echo "a tree without sources is not refused" && faults=$((faults + 1)); }
[ "$faults" = 0 ] || { echo "$faults faults were not found as they should be" && exit 1; }
echo "each fault was found"
