#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Compares the interface of libipq++ with the record: the layout of every type in include/ipq (libipq++.layout, in bits),
# and the symbols of the archive that programs can name (libipq++.symbols). Programs link it statically, so that none
# breaks by a change; the test is there so that none is made without being meant.
# usage: cpp_abi_test.sh COMPILER ARCHIVE HEADERS [--record]
set -euo pipefail
export LC_ALL=C
compiler=$1 archive=$2 headers=$(realpath "$3")
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
command -v abidw >/dev/null || { echo "abidw is not installed (Debian: abigail-tools)" && exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# A function that takes a pointer to each type.
write_probe() {
  (cd "$headers/.." && printf '#include <%s>\n' ipq/*.hpp)
  printf 'namespace ipq {\nextern "C" void probe('
  sed -nE 's/^(class|struct|enum class) ([a-z0-9_]+)( final)?( :.*)? \{.*/\2*/p; s/^using ([a-z0-9]+_view) =.*/\1*/p' \
    "$headers"/*.hpp | grep -vx 'basic_icmp_view\*' | sort -u | paste -sd ,  # a template, of which the views of ICMP are made
  printf ') {}\n}\n'
}

# Of the archive: what has a name of the public headers' namespace; rooms and cores are not for programs.
list_symbols() {
  nm -C --defined-only "$archive" 2>/dev/null | sed -n 's/^[0-9a-f]* [TDBRV] \(ipq::.*\)/\1/p' |
    grep -vE '^ipq::(capture|compat|netlink|queues|wire)::|::core::' | sort -u
}

# Of what abidw says of the probe's types: those of namespace ipq, with what is in them. It names private members, too.
describe() {
  "$compiler" -std=c++23 -g -O0 -fPIC -shared -I "$headers/.." -o "$folder/probe.so" "$folder/probe.cpp"
  abidw --headers-dir "$headers" --drop-private-types --no-elf-needed "$folder/probe.so" | awk '
    function attribute(name) { return match($0, " " name "=\047[^\047]*") ? substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3) : "" }
    /<namespace-decl / { space[++depth] = attribute("name") }
    /<\/namespace-decl>/ { depth-- }
    depth == 0 || space[1] != "ipq" { next }
    /<(class|union|enum)-decl / && !/is-declaration-only/ { print attribute("name"), attribute("size-in-bits") }
    /<data-member .*layout-offset-in-bits/ { offset = attribute("layout-offset-in-bits"); getline; print "  " attribute("name"), offset }
    /<enumerator / { print "  " attribute("name"), attribute("value") }'
}

write_probe >"$folder/probe.cpp"
describe >"$folder/now.layout"
list_symbols >"$folder/now.symbols"
if [ "${4-}" = --record ]; then
  cp "$folder/now.layout" "$here/libipq++.layout"
  cp "$folder/now.symbols" "$here/libipq++.symbols"
  exit
fi

changed() {
  echo "failed: $* of libipq++ changed. If that is meant:"
  echo "  tests/abi/cpp_abi_test.sh g++ build/dev/libipq++.a include/ipq --record"
  exit 1
}
diff "$here/libipq++.layout" "$folder/now.layout" || changed "the types"
diff "$here/libipq++.symbols" "$folder/now.symbols" || changed "the symbols"
[ "$(grep -c '^[a-z]' "$folder/now.layout")" -ge 40 ] || { echo "failed: abidw did not see the types" && exit 1; }
echo "the interface is the recorded one: $(grep -c '^[a-z]' "$folder/now.layout") types, $(wc -l <"$here/libipq++.symbols") symbols"
