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

# The tables: each scenario with its columns, a figure in every cell, and goals that say whether they are met.
of_captures=4
! grep -q '^example2.pcap: ' "$folder/table" || of_captures=7  # where it lies beside the project
awk -v scenarios_of_ipq=$(($(nproc) > 1 ? 4 : 3)) -v of_captures=$of_captures '
  function fail(text) { print text; bad = 1 }
  function check(pattern,   i, n) {
    n = split($0, cell, /  +/)
    if (n != columns + 2) fail("not " columns " cells: " $0)
    for (i = 3; i <= n; ++i) if (cell[i] !~ pattern) fail("not a figure in: " $0)
  }
  /^((libipq|libipq\+\+), the C(\+\+)? library|ipq, the command|captures, beside tcpdump)$/ { ++tables; table = $1; sub(",", "", table); next }
  /^Goals met: [0-9]+ of [0-9]+$/ { ++sums; if ($5 != goals) fail($5 " goals in the sum, and " goals " above"); next }
  /^[^ ]/ && table != "" { columns = split($0, cell, /  +/) - 1; ++scenarios[table]; next }
  /^  .*, goal: at (most|least) [0-9.]+, (met|missed)$/ { ++goals; next }
  /^  heap allocations / {
    check("^(0|[1-9][0-9]*|not counted)$")
    if (cell[3] != "0" && cell[3] != "not counted") fail("the library allocates while it reads: " $0)
    ++heaps[table]
    next
  }
  /^    least \.\. most / { check("^[0-9]+(\\.[0-9]+)? \\.\\. [0-9]+(\\.[0-9]+)?$"); next }
  /^  \(/ { next }
  /^  memory, MiB/ && table == "captures" {
    n = split($0, cell, /  +/)
    for (i = 3; i <= n; ++i) if (cell[i] + 0 > 16) fail("memory of more than a contestant has: " $0)
  }
  /^  / { check("^[0-9]+(\\.[0-9]+)?$"); ++figures[table] }
  END {
    if (tables != 3 + ("ipq" in scenarios)) fail(tables + 0 " tables")
    if (scenarios["libipq"] != 8 || heaps["libipq"] != 8 || figures["libipq"] != 16) fail("libipq: not 8 scenarios")
    if (scenarios["libipq++"] < 7 || heaps["libipq++"] < 7) fail("libipq++: only " scenarios["libipq++"] " scenarios")
    if ("ipq" in scenarios && scenarios["ipq"] != scenarios_of_ipq) fail("ipq: " scenarios["ipq"] " scenarios")
    if (scenarios["captures"] != of_captures || figures["captures"] != 2 * of_captures) {
      fail("captures: not " of_captures " scenarios")
    }
    if (sums != 1) fail("no sum of the goals")
    exit bad
  }' "$folder/table" >"$folder/complaints" || fail "$(cat "$folder/complaints")"
cpus=$(nproc)
[ "$cpus" = 1 ] || ! grep '^Left out' "$folder/table" || fail "with $cpus CPUs nothing should be left out"

# The account: each loop of a drain read and answered every packet, and all of those it accepted arrived, but no dropped
# one. The rest says itself when something is missing.
account() {
  awk -v scenario="$1" '
    /^    \{"table": / { inside = index($0, scenario) > 0 }
    inside && match($0, /"packets": [0-9]+, "arrived": [0-9]+/) {
      split(substr($0, RSTART, RLENGTH), part, /[ ,]+/)
      print part[2] ":" part[4]
    }' "$folder/json" | sort | uniq -c | sed 's/^ *//'
}
expect_account() {
  local found
  found=$(account "$1")
  [ "$found" = "$2" ] || fail "$1 accounts for '$found' instead of '$2'"
}
expected=$((packets * rounds))
for size in 64 1400; do
  expect_account "\"libipq\", \"name\": \"$size bytes, NF_DROP\"" "3 $expected:0"
  expect_account "\"libipq\", \"name\": \"$size bytes, NF_ACCEPT\"" "3 $expected:$expected"
  expect_account "\"drain, accept, $size bytes\"" "3 $expected:$expected"
done
expect_account '"drain, drop, 64 bytes"' "3 $expected:0"
expect_account '"drain, alternating, 64 bytes"' "3 $expected:$((expected / 2))"
expect_account '"drain by several threads' "2 $expected:$expected"

if grep -q '^ipq, the command$' "$folder/table"; then
  expect_account '"ipq run, accept, 64 bytes"' "4 $expected:$expected"
  expect_account '"delay 50ms, 50 000 packets a second"' "1 $expected:$expected"
fi

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
expect_refusal 2 "no scenario matches" --scenario nothing
expect_refusal 1 "bench_test.sh is no pcap file" --scenario captures --capture "$0"
expect_refusal 1 "nowhere/file: No such file or directory" --json "$folder/nowhere/file"

cat "$folder/table"
