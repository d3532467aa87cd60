#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Compares the interface of libipq++ with the record: the layout of every type in include/ipq (libipq++.layout, in bits),
# the symbols of the archive that programs can name (libipq++.symbols), and what functions return and where they stand in
# a table of virtual ones (libipq++.functions), which their names do not say. Programs link it statically, so that none
# breaks by a change; the test is there so that none is made without being meant. Damaged copies of the record show that
# a change is seen.
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

# Of debug information: a member function of a type, or a function that is defined; what it returns; its place among the
# virtual ones. Another object begins with its file's name.
list_functions() {
  readelf --debug-dump=info "$1" 2>/dev/null | awk -v OFS='\t' '
    function value() { sub(/^[^:]*: +/, ""); sub(/^\(indirect[^:]*: 0x[0-9a-f]+\): /, ""); sub(/[ \t]+$/, ""); return $0 }
    function reference() { sub(/.*<0x/, ""); sub(/>.*/, ""); return $0 }
    function spelled(at) {
      if (at == "") return "void"
      if (tag[at] == "const_type") return "const " spelled(type[at])
      if (tag[at] == "pointer_type") return spelled(type[at]) "*"
      if (tag[at] == "reference_type") return spelled(type[at]) "&"
      if (tag[at] == "rvalue_reference_type") return spelled(type[at]) "&&"
      return tag[at] == "typedef" && name[at] !~ /_t$/ ? spelled(type[at]) : name[at]
    }
    function end_object(at) {
      for (at in linkage) print linkage[at], spelled(type[at]) (at in place ? ", virtual " place[at] : "")
      delete tag; delete name; delete type; delete linkage; delete place
    }
    /^File: / { end_object() }
    /^ *<[0-9a-f]+><[0-9a-f]+>: Abbrev Number: .*DW_TAG_/ {
      at = $0
      sub(/^ *<[0-9a-f]+></, "", at); sub(/>.*/, "", at)
      sub(/.*DW_TAG_/, ""); sub(/\).*/, "")
      tag[at] = $0
    }
    /DW_AT_name / { name[at] = value() }
    /DW_AT_type / { type[at] = reference() }
    /DW_AT_linkage_name/ && tag[at] == "subprogram" && /: _ZN[KRO]*3ipq/ { linkage[at] = value() }
    /DW_AT_vtable_elem_location/ { sub(/.*DW_OP_constu: /, ""); sub(/\).*/, ""); place[at] = $0 }
    END { end_object() }' | c++filt
}

# Of what abidw says of the probe's types: those of namespace ipq, with what is in them. It names private members, too.
describe() {
  # Types with virtual functions, too, which have their debug information elsewhere.
  "$compiler" -std=c++23 -g -O0 -femit-class-debug-always -fPIC -shared -I "$headers/.." -o "$folder/probe.so" "$folder/probe.cpp"
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
{
  list_functions "$folder/probe.so"
  list_functions "$archive" | awk -F '\t' 'FILENAME != "-" { defined[$0]; next } $1 in defined' "$folder/now.symbols" -
} | sort -u >"$folder/now.functions"
parts=(layout symbols functions)
if [ "${4-}" = --record ]; then
  for part in "${parts[@]}"; do cp "$folder/now.$part" "$here/libipq++.$part"; done
  exit
fi

# A type that grew, a member that moved, a function that is gone, one that returns something else, virtual ones in
# another order.
while read -r part damage; do
  sed "$damage" "$here/libipq++.$part" >"$folder/damaged"
  if cmp -s "$here/libipq++.$part" "$folder/damaged" || cmp -s "$folder/damaged" "$folder/now.$part"; then
    echo "failed: a change of the interface is not seen: $damage"
    exit 1
  fi
done <<'END'
layout s/^packet [0-9]*/packet 1/
layout s/^  payload [0-9]*/  payload 1/
symbols /^ipq::queue::flush/d
functions s/^\(ipq::queue::flush.*\)expected<void, ipq::error>/\1void/
functions s/^\(ipq::read_queue_status().*\)vector/\1list/
functions s/^\(ipq::source::flush.*\)virtual 6/\1virtual 7/
END

for part in "${parts[@]}"; do
  diff "$here/libipq++.$part" "$folder/now.$part" || {
    echo "failed: the $part of libipq++ changed. If that is meant:"
    echo "  tests/abi/cpp_abi_test.sh g++ build/dev/libipq++.a include/ipq --record"
    exit 1
  }
done
[ "$(grep -c '^[a-z]' "$folder/now.layout")" -ge 40 ] || { echo "failed: abidw did not see the types" && exit 1; }
echo "the interface is the recorded one: $(grep -c '^[a-z]' "$folder/now.layout") types, $(wc -l <"$here/libipq++.symbols")" \
  "symbols, $(wc -l <"$here/libipq++.functions") functions"
