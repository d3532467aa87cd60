#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs every part of the tests, the long ones too, and prints one table: what each part says of itself in its last line.
# The whole output of each stands in build/test_all.
# usage: test_all.sh SOURCE [--record]    --record: what has passed is written into the README, with the date
set -euo pipefail
export LC_ALL=C
source=$1
case ${2-} in '' | --record) ;; *) printf 'dev: test --all takes --record or nothing\n' >&2 && exit 2 ;; esac
folder=$source/build/test_all
mkdir -p "$folder"
rm -f "$folder"/*.log "$folder"/*.row

# Name, and the arguments of ./dev. What holds packets of the running kernel goes one after the other, and waits much of
# its time, as other kernels do; beside it, at a lower priority, what only computes.
holding=(
  "test: test"
  "command: test asan -- -R ^(tool|soak)"
  "threads: test tsan -- -R ^tool\.(live|metrics|output|recording|reload|rules|segments)\."
  "faults: test dev -- -R ^faults|memory.stays"
  "soak: soak --for 60s"
  "coverage: coverage"
  "kernels: test-kernels --short"
)
computing=(
  "fuzz: fuzz --for 60s"
  "clang: test clang -- -LE kernel|tool"
  "lint: lint"
  "package: package --test"
)

# The command is built with sanitizers here alone, as that takes long. Faults take their time, as does a machine that is
# full, and no test gives up before that is over; ten million packets stay in flat memory.
run_part() {
  case $1 in
    command | threads) IPQ_TOOL=ON "$source/dev" "${@:2}" ;;
    faults) IPQ_FAULT_STOP=10 IPQ_TEST_PATIENCE=60 IPQ_TEST_PACKETS=10000000 "$source/dev" "${@:2}" ;;
    soak) IPQ_TEST_PATIENCE=60 "$source/dev" "${@:2}" ;;
    *) "$source/dev" "${@:2}" ;;
  esac
}

# What the tests told last that dev has run.
sum_of() {
  awk -v what="$1:" '$1 == what { sum += $2 } END { print sum + 0 }' "$source/build/dev/results.xml" 2>/dev/null || echo 0
}

# say_of NAME LOG: the part's last line, and where that is a plain count, of what.
say_of() {
  local last
  last=$(tail -n 1 "$2")
  last=${last#"$1: "}
  case $1 in
    command) echo "the command with AddressSanitizer: $last" ;;
    threads) echo "the command with ThreadSanitizer: $last" ;;
    faults) echo "faults survived, $(sum_of sent) datagrams accounted for, and memory that stays flat: $last" ;;
    kernels) echo "Linux $(sed -n 's/^dev: Linux \([0-9.]*\) took .*/\1/p' "$2" | paste -sd ,): $last" ;;
    *) echo "$last" ;;
  esac
}

# A part that can't be tried here says so with 77; with CI=true that is a failure, as a skipped test is.
result_of() {
  case $1 in
    0) echo passed ;;
    77) if [ "${CI-}" = true ]; then echo failed; else echo skipped; fi ;;
    *) echo failed ;;
  esac
}

# run_parts PART...: leaves a line of each in the folder.
run_parts() {
  local part name arguments status start log result
  for part; do
    name=${part%%:*} status=0 start=$SECONDS log=$folder/${part%%:*}.log
    read -ra arguments <<<"${part#*: }"
    printf 'dev: running %s\n' "$name"
    run_part "$name" "${arguments[@]}" >"$log" 2>&1 || status=$?
    result=$(result_of "$status")
    [ "$result" != failed ] || tail -n 40 "$log"
    printf '%-10s %-8s %8d  %s\n' "$name" "$result" $((SECONDS - start)) "$(say_of "$name" "$log")" >"$folder/$name.row"
  done
}

# Groups of their own, which end with this script.
set -m
run_parts "${holding[@]}" </dev/null &
lanes=($!)
(renice -n 10 "$BASHPID" >/dev/null && run_parts "${computing[@]}") </dev/null &
lanes+=($!)
set +m
end_lanes() { kill -TERM -- "${lanes[@]/#/-}" 2>/dev/null || true; }
trap end_lanes EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
wait "${lanes[@]}" || true
trap - EXIT INT TERM  # their numbers may be others' by now

table=$folder/table.txt
failed=0
printf '%-10s %-8s %8s  %s\n' part result seconds 'what it says' >"$table"
for part in "${holding[@]}" "${computing[@]}"; do
  row=$folder/${part%%:*}.row
  [ -s "$row" ] || printf '%-10s failed\n' "${part%%:*}" >"$row"
  cat "$row" >>"$table"
  read -r _ result _ <"$row"
  [ "$result" != failed ] || failed=1
done
echo
cat "$table"
printf 'all of it took %d minutes\n' $((SECONDS / 60))
[ "$failed" = 0 ] && [ "${2-}" = --record ] || exit "$failed"

# Between the two marks of the README.
marked=$folder/readme.md
{
  sed '/^<!-- test --all/q' "$source/README.md"
  # shellcheck disable=SC2016
  printf '`./dev test --all` of %s on %s, Linux %s, %s processors, %d minutes:\n\n| part | |\n|---|---|\n' \
    "$(git -C "$source" rev-parse --short HEAD 2>/dev/null || echo 'these sources')" "$(date +%F)" "$(uname -r | grep -oE '^[0-9]+\.[0-9]+')" "$(nproc)" $((SECONDS / 60))
  sed 1d "$table" | while read -r name result _ said; do
    [ "$result" = passed ] || said=$result
    printf '| %s | %s |\n' "$name" "$said"
  done
  sed -n '/^<!-- end of test --all/,$p' "$source/README.md"
} >"$marked"
cp "$marked" "$source/README.md"
