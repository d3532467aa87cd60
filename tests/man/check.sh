#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Checks the manual pages against the tree: check.sh CHECK PAGES SOURCE CC. Prints every fault; one is enough to fail.
set -euo pipefail
export LC_ALL=C

check=$1 pages=$2 source=$3 cc=$4
here=$(cd "$(dirname "$0")" && pwd)
include=$source/include/libipq
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
faults=0

fault() {
  printf '%s\n' "$*"
  faults=$((faults + 1))
}

# compare A B SAY_A SAY_B: what stands in only one of two lists is a fault.
compare() {
  local line
  sort -u <<<"$1" >"$work/a"
  sort -u <<<"$2" >"$work/b"
  while IFS= read -r line; do fault "$3: $line"; done < <(comm -23 "$work/a" "$work/b")
  while IFS= read -r line; do fault "$4: $line"; done < <(comm -13 "$work/a" "$work/b")
}

need_mandoc() {
  command -v mandoc >/dev/null && return
  echo 'mandoc is missing: apt-get install mandoc'
  if [[ ${CI:-} == true ]]; then exit 1; fi
  exit 77
}

exported() {
  awk '/global:/ { on = 1; next } /local:/ { on = 0 } on { sub(/;.*/, ""); print $1 }' "$source/src/compat/libipq.map"
}

# The part of libipq.3 under a heading, up to the next.
overview() { awk -v wanted="$1" '/^\.S[hs] / { on = ($0 == wanted) } on' "$pages/libipq.3"; }

check_lint() {
  need_mandoc
  local page said status
  for page in "$pages"/*.[1-8]; do
    [[ ! -L $page ]] || continue
    status=0
    said=$(mandoc -T lint -W style "$page" 2>"$work/complaints") || status=$?
    [[ $status -le 2 ]] || fault "$(basename "$page"): mandoc ends with $status: $(cat "$work/complaints")"
    # Which pages of others are installed is no matter of ours; references to our own are a check of their own.
    said=$(sed '/referenced manual not found/d' <<<"$said")
    [[ -z $said ]] || fault "$said"
  done
}

check_functions() {
  local names name page declared declaration
  names=$(exported)
  compare "$names" "$(basename -s .3 -- "$pages"/ipq_*.3)" \
    'no manual page for the exported function' 'manual page for a function that is not exported'
  compare "$names" "$(grep -o 'Xr ipq_[a-z_]* 3' "$pages/libipq.3" | cut -d' ' -f2)" \
    'libipq.3 does not mention' 'libipq.3 mentions what is not exported'

  declared=$("$cc" -I "$include" -E -P -xc - <<<'#include <libipq.h>' | awk -f "$here/declarations.awk")
  compare "$names" "$(sed 's/(.*//; s/.*[ *]//' <<<"$declared")" \
    'not declared in libipq.h' 'declared in libipq.h and not exported'
  for name in $names; do
    page=$pages/$name.3
    [[ -f $page ]] || continue
    awk -v name="$name" '/^\.Sh / { on = ($2 == "NAME") } on && /^\.Nm / && $2 == name { found = 1 }
                         END { exit !found }' "$page" || fault "$name.3: NAME does not have $name"
    declaration=$(grep "[ *]$name(" <<<"$declared") || continue
    awk -f "$here/synopsis.awk" "$page" >"$work/synopsis"
    grep -qxF -- "$declaration" "$work/synopsis" || fault "$name.3: SYNOPSIS does not have: $declaration"
  done
}

check_structures() {
  local page header block found=0
  header=$(sed '/^#/d' "$include/libipq/libipq.h" "$include/linux/netfilter_ipv4/ip_queue.h" |
    tr -s '[:space:]' ' ' | awk '{ gsub(/ ?\/\*([^*]|\*+[^*\/])*\*+\//, ""); gsub("IPQ_ANY_LENGTH_", ""); print }')
  for page in "$pages"/*.[1-8]; do
    [[ ! -L $page ]] || continue
    while IFS= read -r block; do
      found=$((found + 1))
      [[ $header == *"$block"* ]] || fault "$(basename "$page"): differs from the headers: $block"
    done < <(awk -f "$here/structures.awk" "$page")
  done
  [[ $found -ge 3 ]] || fault "only $found structures are shown in the pages"
}

check_messages() {
  local listed
  listed=$(overview '.Ss Messages of ipq_errstr' | sed -n 's/^\.It \([0-9]*\) Li "\(.*\)"$/\1 \2/p')
  # The last is a text of its own each time; the page shows one.
  compare "$(awk -f "$here/messages.awk" "$source/src/compat/error.cpp" | sed '$d')" "$(sed '$d' <<<"$listed")" \
    'libipq.3 does not list the message' 'libipq.3 lists a message that the library does not have'
  compare "$(awk '/^enum \{/ { on = 1; n = 0 } /^\};/ { on = 0 } on && /IPQ_ERR_/ { print n++ }' \
    "$include/libipq/libipq.h")" "$(cut -d' ' -f1 <<<"$listed")" \
    'libipq.3 does not list the number' 'libipq.3 lists a number that libipq.h does not have'
}

check_environment() {
  local sources=()
  mapfile -t sources < <(find "$source/src/compat" -name "*.cpp" ! -name "*_test.cpp")
  compare "$(cat -- "${sources[@]}" | grep -o '"LIBIPQ_[A-Z0-9_]*"' | tr -d '"')" \
    "$(overview '.Sh ENVIRONMENT' | sed -n 's/^\.It Ev //p')" \
    'libipq.3 does not describe the variable' 'libipq.3 describes a variable that the library does not read'
}

check_references() {
  local page name section
  for page in "$pages"/*.[1-8]; do
    [[ -f $page ]] || fault "$(basename "$page"): links to nothing"
    while read -r name section; do
      [[ -f $pages/$name.$section ]] || fault "$(basename "$page"): refers to $name($section), which is not there"
    done < <(sed -n 's/Xr/\n&/gp' "$page" | sed -n 's/^Xr \(\(lib\)\{0,1\}ipq[a-z_]* [0-9]\).*/\1/p' | sort -u)
  done
}

# The programs and pieces of programs that a reader copies off the screen, which is not what the source says.
check_example() {
  need_mandoc
  local standard name said own=()
  show() { mandoc -T utf8 -O width=120 "$@" | sed 's/.\x08//g'; }
  compile() { "$cc" -std="$1" -Wall -Wextra -Werror -I "$include" -c "${@:2}" -o "$work/example.o"; }
  show "$pages/libipq.3" | awk -f "$here/example.awk" >"$work/passer.c"
  [[ -s $work/passer.c ]] || fault 'libipq.3: EXAMPLES has no passer.c'

  for name in $(exported); do
    [[ -f $pages/$name.3 ]] || continue
    awk -f "$here/examples.awk" "$pages/$name.3" | grep -q "\b$name(" || fault "$name.3: EXAMPLES has none of $name"
    [[ -L $pages/$name.3 ]] || own+=("$pages/$name.3")
  done
  cat >"$work/before.h" <<'END'
#include <stdio.h>
#include <syslog.h>
#include <linux/netfilter.h>
#include <libipq.h>
#define EXAMPLE_PARAMETERS struct ipq_handle *h, ipq_packet_msg_t *m
unsigned char buf[65644];
END
  awk -f "$here/examples.awk" "${own[@]}" >"$work/examples"
  show "$work/examples" | sed '1,/^EXAMPLES/d; $d' >"$work/examples.c"
  for standard in gnu89 c11; do
    compile $standard "$work/passer.c" || fault "libipq.3: the example does not compile as $standard"
    said=$(compile $standard -Wno-unused-parameter -include "$work/before.h" "$work/examples.c" 2>&1) ||
      fault "examples of functions do not compile as $standard: $said"
  done
}

"check_$check"
[[ $faults -eq 0 ]] || { echo "$check: $faults faults" && exit 1; }
