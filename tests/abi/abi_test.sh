#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Compares the interface of libipq.so with the one in libipq.abi. A change that is meant is recorded with --record; a
# copy of the record that is damaged shows that a change is seen.
# usage: abi_test.sh LIBRARY HEADERS [--record]
set -euo pipefail
export LC_ALL=C
library=$1 headers=$2
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
recorded=$here/libipq.abi
command -v abidw >/dev/null || { echo "abidw is not installed (Debian: abigail-tools)" && exit 77; }

describe() {
  abidw --headers-dir "$headers" --exported-interfaces-only --drop-private-types --drop-undefined-syms --no-elf-needed \
    --no-corpus-path --no-comp-dir-path --no-show-locs --no-parameter-names --type-id-style hash "$library"
}

if [ "${3-}" = --record ]; then
  describe >"$recorded"
  exit
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
describe >"$folder/now.abi"
compare() { abidiff "$1" "$folder/now.abi"; }

# A function that is gone, and another that came, a structure that grew, an argument of another type.
for damage in 's/ipq_set_vwmark/ipq_set_wvmark/g' "/<elf-symbol name='ipq_set_vwmark'/d" "s/size-in-bits='768'/size-in-bits='832'/" \
  "s/\(<type-decl name='unsigned short int' size-in-bits=\)'16'/\1'32'/"; do
  sed "$damage" "$recorded" >"$folder/damaged.abi"
  if cmp -s "$recorded" "$folder/damaged.abi" || compare "$folder/damaged.abi" >"$folder/output" 2>&1; then
    echo "failed: a change of the interface is not seen: $damage"
    exit 1
  fi
done

compare "$recorded" || {
  echo "failed: the interface of libipq.so has changed. Old programs rely on it. If the change only adds and is meant:"
  echo "  tests/abi/abi_test.sh build/dev/libipq.so include/libipq --record"
  exit 1
}
echo "the interface is the recorded one"
