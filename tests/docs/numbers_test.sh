#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The numbers of messages and attributes that docs/wire_format.md shows are those of the codec, and none is left out.
# usage: numbers_test.sh SOURCE
set -euo pipefail
cd "$1"

# Prints NAME NUMBER, as the codec calls them, for each attribute in the tables of a document.
documented() {
  awk -F ' *[|] *' '
    /^## / { room = /^## Config/ ? "config_" : /^## (Packet|Verdict)/ ? "attribute_" : "" }
    room != "" && $2 ~ /^[A-Z0-9_]+(, [A-Z0-9_]+)*$/ && $3 ~ /^[0-9]+(, [0-9]+)*$/ {
      names = split($2, name, ", "); split($3, number, ", ")
      for (i = 1; i <= names; i++) {
        sub(/^(IFINDEX|CFG)_/, "", name[i])
        print room tolower(name[i]), number[i]
      }
    }' "$1" | sort -u
}

in_codec() {
  sed -n 's/^  \(\(attribute\|config\)_[a-z0-9_]*\) = \([0-9]*\),.*/\1 \3/p' src/wire/constants.hpp | sort -u
}

if ! differences=$(diff <(documented docs/wire_format.md) <(in_codec)); then
  printf 'failed: docs/wire_format.md (<) and src/wire/constants.hpp (>) differ:\n%s\n' "$differences" >&2
  exit 1
fi
[ "$(in_codec | wc -l)" -ge 25 ] || { echo "failed: too few attributes found" >&2 && exit 1; }

# Types of messages.
for pair in $(sed -n 's/^  message_\([a-z_]*\) = \(0x[0-9]*\),.*/\1:\2/p' src/wire/constants.hpp); do
  name=${pair%:*}
  [ "$name" != verdict_batch ] || name='batch verdict'
  grep -q "^| ${pair#*:} | $name |" docs/wire_format.md || { echo "failed: $name is not ${pair#*:}" >&2 && exit 1; }
done

# It would notice.
spoilt=$(mktemp)
trap 'rm -f "$spoilt"' EXIT
sed 's/^| MARK | 3 |/| MARK | 4 |/' docs/wire_format.md >"$spoilt"
! diff -q <(documented "$spoilt") <(in_codec) >/dev/null || { echo "failed: a wrong number goes unnoticed" >&2 && exit 1; }
echo "the numbers agree"
