#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the benchmark with few packets and checks that its account is complete; how fast it is does not matter here.
# usage: bench_test.sh BENCH [WRAPPER...]
set -euo pipefail
export LC_ALL=C
bench=$1
wrapper=("${@:2}")
packets=500
rounds=2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() {
  printf 'bench_test: %s\n' "$*" >&2
  [ ! -f "$folder/table" ] || cat "$folder/table" >&2
  exit 1
}

# Says why and leaves it to ctest to count the test as skipped, unless nothing may be.
skip() {
  [ "${CI-}" != true ] || fail "CI=true, and yet: $*"
  printf '%s\n' "$*"
  exit 77
}

if [ ${#wrapper[@]} -gt 0 ] && ! reason=$("${wrapper[@]}" true 2>&1); then
  skip "${wrapper[*]} does not work here: $reason"
fi

status=0
command=("${wrapper[@]}" "$bench" --packets "$packets" --rounds "$rounds" --json "$folder/json")
"${command[@]}" >"$folder/table" 2>"$folder/errors" || status=$?
[ $status != 77 ] || skip "$(cat "$folder/errors")"
[ $status = 0 ] || fail "exit status $status: $(cat "$folder/errors")"
[ ! -s "$folder/errors" ] || fail "unexpected on standard error: $(cat "$folder/errors")"

# The table: under each of the four headings the rows that a reader looks for, with a figure of each of the three loops.
awk '
  function check(row, figures, pattern,   i, n) {
    n = split($0, cell, /  +/)
    if (n != figures + 2) { print "row without " figures " cells: " $0; bad = 1 }
    for (i = 3; i <= n; ++i) if (cell[i] !~ pattern) { print "not a figure in: " $0; bad = 1 }
    ++rows[row]
  }
  /^(64|1400) bytes, NF_(DROP|ACCEPT)$/ { ++headings[$0]; ++heading }
  /^  CPU per packet, ns / { check("cpu", 3, "^[1-9][0-9]*$") }
  /^  packets per second / { check("rate", 3, "^[1-9][0-9]*$") }
  /^  libipq.s CPU \/ this one.s / { check("ratio", 2, "^[0-9]+\\.[0-9]+$") }
  /^    goal: at most / { check("goal", 2, "^1\\.0[35], (met|missed)$") }
  /^  heap allocations / {
    check("heap", 3, "^(0|[1-9][0-9]*|not counted)$")
    if (cell[3] != "0" && cell[3] != "not counted") { print "libipq allocates while it reads: " $0; bad = 1 }
  }
  /^Goals met: [0-8] of 8$/ { ++verdicts }
  END {
    for (name in headings) different += headings[name] == 1
    if (heading != 4 || different != 4) { print heading + 0 " headings, " different + 0 " different ones"; bad = 1 }
    split("cpu rate ratio goal heap", names, " ")
    for (i in names) if (rows[names[i]] != 4) { print rows[names[i]] + 0 " rows: " names[i]; bad = 1 }
    if (verdicts != 1) { print "no sum of the goals"; bad = 1 }
    exit bad
  }' "$folder/table" >"$folder/complaints" || fail "$(cat "$folder/complaints")"

# The account: each loop read and answered every packet, and all of those it accepted arrived, but no dropped one.
expected=$((packets * rounds))
for loop in libipq libnetfilter_queue bare; do
  line="\"name\": \"$loop\", \"packets\": \([0-9]*\), \"arrived\": \([0-9]*\),"
  accounts=$(sed -n "s/.*$line.*/\1:\2/p" "$folder/json" | sort)
  wanted=$(printf '%s\n' "$expected:0" "$expected:$expected" "$expected:0" "$expected:$expected" | sort)
  [ "$accounts" = "$wanted" ] || fail "$loop accounts for $accounts instead of $wanted"
done

# Mistakes on the command line and files that can't be written are told, and nothing is measured.
expect_refusal() {
  local wanted_status=$1 wanted=$2 said status=0
  shift 2
  said=$("$bench" "$@" 2>&1 >"$folder/output") || status=$?
  [ $status = "$wanted_status" ] || fail "$*: exit status $status instead of $wanted_status"
  [[ $said == *"$wanted"* ]] || fail "$*: said '$said', and not '$wanted'"
  [ ! -s "$folder/output" ] || fail "$*: measured all the same"
}
expect_refusal 2 "--packets takes a number" --packets none
expect_refusal 2 "unknown option" --speed
expect_refusal 1 "nowhere/file: No such file or directory" --json "$folder/nowhere/file"

cat "$folder/table"
