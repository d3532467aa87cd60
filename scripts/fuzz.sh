#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs fuzz targets for a while each, from the inputs of fuzz/corpus and those that earlier runs kept in the build.
# usage: fuzz.sh SOURCE BUILD [TARGET...] [--for TIME]    TIME as 90, 90s, 10m or 1h; default 60s
set -euo pipefail
export LC_ALL=C
source=$1 build=$2
shift 2

usage_error() {
  printf 'fuzz: %s\nusage: ./dev fuzz [TARGET...] [--for TIME]\n' "$*" >&2
  exit 2
}

seconds_in() {
  [[ $1 =~ ^([1-9][0-9]{0,6})([smh]?)$ ]] || usage_error "--for $1: expected a time as 90s, 10m or 1h"
  case ${BASH_REMATCH[2]} in
    m) echo $((BASH_REMATCH[1] * 60)) ;;
    h) echo $((BASH_REMATCH[1] * 3600)) ;;
    *) echo "${BASH_REMATCH[1]}" ;;
  esac
}

targets=() seconds=60
while [ $# -gt 0 ]; do
  case $1 in
    --for)
      [ $# -ge 2 ] || usage_error "--for needs a time"
      seconds=$(seconds_in "$2")
      shift 2
      ;;
    -*) usage_error "there is no option $1" ;;
    *)
      [ -x "$build/fuzz/fuzz_$1" ] || usage_error "there is no target $1"
      targets+=("$1")
      shift
      ;;
  esac
done
if [ ${#targets[@]} = 0 ]; then
  for folder in "$source"/fuzz/corpus/*/; do targets+=("$(basename "$folder")"); done
fi

symbolizer=$(command -v llvm-symbolizer-19) && export ASAN_SYMBOLIZER_PATH=$symbolizer
export UBSAN_OPTIONS=print_stacktrace=1
cd "$build"
mkdir -p found

fuzz_one() {
  local target=$1 log=fuzz_$1.log
  mkdir -p "corpus/$target"
  local words=()
  [ ! -f "$source/fuzz/$target.dict" ] || words=(-dict="$source/fuzz/$target.dict")
  # There a failure is to say what a change has brought, not what chance has found; that is for `./dev fuzz` elsewhere.
  [ "${CI-}" != true ] || words+=(-seed=1)
  # The shell is ended by what ends the script, and its fuzzer with it.
  fuzz/"fuzz_$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -max_len=4096 -print_final_stats=1 "${words[@]}" \
    -artifact_prefix="found/$target-" "corpus/$target" "$source/fuzz/corpus/$target" >"$log" 2>&1 &
  # shellcheck disable=SC2064  # that one
  trap "kill $! 2>/dev/null; exit 143" TERM
  if ! wait $!; then
    printf '%-14s failed\n' "$target"
    grep -vE '^#[0-9]+[[:space:]]+(NEW|REDUCE|pulse|RELOAD)' "$log" | tail -n 60 >&2
    printf 'fuzz: to see it again: %s/fuzz/fuzz_%s %s\n' "$build" "$target" "$build/found/$target-..." >&2
    return 1
  fi
  printf '%-14s %12s %10s %8s\n' "$target" "$(inputs_of "$target")" \
    "$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")" "$(find "corpus/$target" -type f | wc -l)"
}

inputs_of() { sed -n 's/^stat::number_of_executed_units: *//p' "fuzz_$1.log"; }

# As many at a time as there are processors; a target is one thread.
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT  # its status would be the script's
status=0
printf '%-14s %12s %10s %8s\n' target inputs per_second kept
started=()
for target in "${targets[@]}"; do
  while [ "$(jobs -pr | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
  fuzz_one "$target" &
  started+=($!)
done
for each in "${started[@]}"; do wait "$each" || status=1; done
total=0
for target in "${targets[@]}"; do
  inputs=$(inputs_of "$target")
  [ "${inputs:-0}" -gt 0 ] || { echo "fuzz: $target has had no input" && status=1; } >&2
  total=$((total + ${inputs:-0}))
done
echo "$total inputs in ${#targets[@]} targets"
exit "$status"
