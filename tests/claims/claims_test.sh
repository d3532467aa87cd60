#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Every test that a page names as the proof of a claim exists, and every row of its tables names one; and where the
# README says how many rows there are, it is right.
# usage: claims_test.sh PAGE BUILD CTEST [README]
set -euo pipefail
export LC_ALL=C
page=$1 build=$2 ctest=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
(cd "$build" && "$ctest" -N) | sed -n 's/^ *Test *#[0-9]*: //p' | sort >"$folder/tests"
[ -s "$folder/tests" ] || { echo "failed: ctest knows no tests" && exit 1; }

# check PAGE: prints what is wrong with it.
check() {
  grep -oE '`[a-z_0-9]+(\.[a-z_0-9]+)+`' "$1" | tr -d '`' | sort -u | grep -vE '\.(md|hpp|sh)$' |
    comm -23 - "$folder/tests" | sed 's/^/there is no test /'
  # The last cell of a row holds names alone.
  grep '^| ' "$1" | grep -vE '^\|[^|]*\|( shown by|.*shown by) \|$' | while read -r row; do
    cell=${row%|} cell=${cell##*|}
    for name in $(tr -d '`,' <<<"$cell"); do
      grep -qx "$name" "$folder/tests" || echo "$name in this row is no test: $row"
    done
    [[ $cell == *\`* ]] || echo "this row names no test: $row"
  done
}

for damage in 's/`\([a-z_]*\)\.[a-z_.]*`/`\1.no_such_test`/' 's/| `[^|]*` |$/| |/'; do
  sed "$damage" "$page" >"$folder/damaged"
  [ -n "$(check "$folder/damaged")" ] || { echo "failed: $damage is not noticed" && exit 1; }
done
wrong=$(check "$page")
[ -z "$wrong" ] || { echo "failed: $wrong" && exit 1; }
rows=$(grep -c '^| .*`' "$page")
if [ $# -gt 3 ]; then
  said=$(tr '\n' ' ' <"$4" | grep -oE 'each of [0-9]+ faults' | grep -oE '[0-9]+' || true)
  [ "$said" = "$rows" ] || { echo "failed: the README speaks of ${said:-no} faults, and the page has $rows" && exit 1; }
fi
echo "$rows claims, each with its tests"
