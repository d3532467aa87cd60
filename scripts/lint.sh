#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs clang-tidy over the sources and headers of the libraries and the command, as .clang-tidy says. Tests are left to
# the compilers.
# usage: lint.sh SOURCE BUILD    BUILD has compile_commands.json of clang
set -euo pipefail
export LC_ALL=C
cd "$1"
mapfile -t files < <(find src tool -name '*.cpp' ! -name '*_test.cpp' ! -name 'scripted_*' | sort)
[ ${#files[@]} -gt 0 ] || { echo "lint: no sources in $1" >&2 && exit 2; }
folder=$2/lint log=$2/lint.log status=0
mkdir -p "$folder"

# What is compiled twice, as for the fuzzers, is read once.
awk '{ entry = entry $0 "\n" }
  /^ *"file":/ { file = $0 }
  /^}/ { if (!seen[file]++) { sub(/,?\n$/, "", entry); printf "%s%s\n", between, entry; between = "," } entry = "" }
  /^\[/ { print; entry = "" }
  END { print "]" }' "$2/compile_commands.json" >"$folder/compile_commands.json"

# A header that no source includes would go unread.
alone=$folder/headers.cpp
for header in include/ipq/*.hpp; do echo "#include \"${header#include/}\""; done >"$alone"

# Of a function the static analyzer follows less than by default, in a third of the time.
arguments=(-I"$PWD/include" -std=c++23 -Xclang -analyzer-config -Xclang max-nodes=50000)

# What was clean is read again only when it changes, or what it includes: for what has been built, ninja knows that.
seen=$folder/seen now=$folder/now
rm -rf "$now"
mkdir -p "$seen" "$now"
common=$({ clang-tidy-19 --version && cat .clang-tidy "$folder/compile_commands.json" && echo "${arguments[@]}"; } | sha256sum)
# Where ccache knows a base, sources are named from the build tree.
ninja -C "$2" -t deps 2>/dev/null | awk -v build="$(realpath "$2")" '
  function whole(path, from) {
    for (from = build; sub(/^\.\.\//, "", path);) sub(/\/[^\/]*$/, "", from)
    return path ~ /^\// ? path : from "/" path
  }
  /^[^ ]/ { source = "" }
  /^ / { if (source == "") source = whole($1); print source "\t" whole($1) }' | sort -u >"$now/deps"
# A header that is gone by now has no sum, and what included it is read again.
cut -f 2 "$now/deps" | sort -u | (cd "$2" && { xargs -r -d '\n' sha256sum 2>/dev/null || true; }) | sed 's/  /\t/' >"$now/sums"
# describe FILE: all that it was made of, or nothing.
describe() {
  awk -F '\t' -v source="$PWD/$1" 'NR == FNR { sum[$2] = $1; next } $1 == source { print sum[$2], $2 }' \
    "$now/sums" "$now/deps"
}
changed=()
# It is read first, as it takes longest. Whatever else it includes is not the project's.
{ cat include/ipq/*.hpp && echo "$common"; } | sha256sum >"$now/headers"
cmp -s "$now/headers" "$seen/headers" || changed+=("$alone")
for file in "${files[@]}"; do
  description=$now/${file//\//,}
  describe "$file" >"$description"
  [ ! -s "$description" ] || echo "$common" >>"$description"
  [ -s "$description" ] && cmp -s "$description" "$seen/${file//\//,}" || changed+=("$file")
done

# Without a name it would read the folder.
[ ${#changed[@]} = 0 ] || printf '%s\0' "${changed[@]}" |
  xargs -0 -P "$(nproc)" -n 2 nice clang-tidy-19 --quiet -p "$folder" --config-file=.clang-tidy \
    "${arguments[@]/#/--extra-arg=}" >"$log" 2>"$log.progress" || status=$?
found=$(grep -cE ': (warning|error): ' "$log" || true)
if [ "$status" != 0 ] || [ "$found" != 0 ]; then
  cat "$log"
  grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use ' "$log.progress" >&2 || true
  echo "lint: $found places in ${#files[@]} files" >&2
  exit 1
fi
rm -rf "$seen"
mv "$now" "$seen"
echo "lint: ${#files[@]} files and the headers, nothing found; ${#changed[@]} read anew"
