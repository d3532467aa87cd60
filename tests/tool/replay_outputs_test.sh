#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What ipq replay and ipq compare print beside the files that they write, where it goes, and what becomes of the files
# when it can't be printed; without rights. usage: replay_outputs_test.sh IPQ IS_JSON SOURCE
set -euo pipefail
# shellcheck source=tests/tool/replay_checks.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/replay_checks.sh"
ipq=$1 is_json=$2 captures=$3/tests/data/captures
needs tcpdump
packets_in() { tcpdump -nr "$1" 2>/dev/null | wc -l; }
capture=$captures/interfaces.pcapng

echo "lines of log give way to packets"
for output in "--passed -" "-w -" "record"; do
  rule=log
  [ "$output" != record ] || rule='log, record "-"'
  # shellcheck disable=SC2086 # an option and its value
  "$ipq" replay "$capture" "$rule" ${output#record} >"$folder/out" 2>"$folder/text"
  same "$output: packets on standard output" 43 "$(packets_in "$folder/out")"
  same "$output: lines of log on standard error" 43 "$(grep -c ': accept$' "$folder/text")"
  grep -q '^45 frames, 43 packets' "$folder/text" || failed "$output: no summary on standard error"
done

echo "--json"
"$ipq" replay "$capture" log --json >"$folder/json" 2>"$folder/text"
"$is_json" <"$folder/json" || failed "replay --json with lines of log is no JSON"
same "lines of log beside JSON" 43 "$(wc -l <"$folder/text")"
"$ipq" replay "$capture" log --json --passed - 2>&1 >/dev/null | sed '/^{/,$!d' | "$is_json" ||
  failed "replay --json behind lines of log is no JSON"
echo 'log, drop : udp' >"$folder/a"
printf '%s\n' 'log "a\"\\", count one : udp' >"$folder/b"
"$ipq" replay "$capture" -f "$folder/b" --json 2>"$folder/text" | "$is_json" || failed "replay --json of names is no JSON"
"$ipq" compare "$folder/a" "$folder/b" --on "$capture" --json >"$folder/json" || true
same "lines of compare --json" 4 "$(wc -l <"$folder/json")"
"$is_json" lines <"$folder/json" || failed "a line of compare --json is no JSON"

echo "where nothing can be printed, the files are whole"
# More lines than a pipe, and the buffer before it, have room for.
for _ in $(seq 60); do cat "$capture"; done >"$folder/many"
"$ipq" replay "$folder/many" accept -w "$folder/wanted_all" --passed "$folder/wanted_passed" >/dev/null
# unprinted WHERE WHAT: it goes there, which says WHAT.
unprinted() {
  local where=$1 what=$2 status=0
  rm -f "$folder/all" "$folder/passed"
  case $where in
    pipe) "$ipq" replay "$folder/many" log -w "$folder/all" --passed "$folder/passed" 2>"$folder/text" | head -n 1 >/dev/null ||
      status=${PIPESTATUS[0]} ;;
    file) (
      ulimit -f 100
      exec "$ipq" replay "$folder/many" log -w /dev/null --passed /dev/null >"$folder/printed" 2>"$folder/text"
    ) || status=$? ;;
    *) "$ipq" replay "$folder/many" log -w "$folder/all" --passed "$folder/passed" 2>"$folder/text" >"$where" || status=$? ;;
  esac
  same "$where: exit status" 1 "$status"
  same "$where: what is said" 1 "$(grep -c "^ipq replay: write to standard output: $what" "$folder/text")"
  [ "$where" = file ] || cmp "$folder/all" "$folder/wanted_all" || failed "$where: the recording is not whole"
  [ "$where" = file ] || cmp "$folder/passed" "$folder/wanted_passed" || failed "$where: what passes is not whole"
}
unprinted pipe 'Broken pipe$'
unprinted /dev/full 'No space left on device: make room there'
unprinted file 'File too large: '

# With no file to write there is nothing to go on for: it ends, though its input does not.
mkfifo "$folder/endless"
while cat "$folder/many" 2>/dev/null; do :; done >"$folder/endless" &
feeder=$!
status=0
timeout 60 "$ipq" replay - log <"$folder/endless" 2>"$folder/text" | head -n 1 >"$folder/line" || status=${PIPESTATUS[0]}
wait "$feeder" || true
same "without files: exit status" 1 "$status"
same "without files: what is printed" 1 "$(wc -l <"$folder/line")"
echo accept >"$folder/a"
echo drop >"$folder/b"
for json in "" --json; do
  status=0
  # shellcheck disable=SC2086 # an option, or none
  "$ipq" compare "$folder/a" "$folder/b" --on "$folder/many" $json 2>"$folder/text" | head -n 1 >/dev/null ||
    status=${PIPESTATUS[0]}
  same "compare: exit status" 2 "$status"
  same "compare: what is said" 'ipq compare: write to standard output: Broken pipe' "$(cat "$folder/text")"
done

echo "one file is not two's"
for output in -w --passed; do
  "$ipq" replay "$capture" accept --pace 0.0001 $output "$folder/out" >/dev/null 2>&1 &
  first=$!
  for _ in $(seq 400); do
    ! grep -q 'SigCgt:.*4002$' "/proc/$first/status" 2>/dev/null || break
    sleep 0.02
  done
  status=0
  "$ipq" replay "$capture" drop $output "$folder/out" >/dev/null 2>"$folder/text" || status=$?
  same "$output: exit status of the second" 1 "$status"
  same "$output: what it says" 1 "$(grep -c "^ipq replay: $folder/out: open .*: another writer has it open: " "$folder/text")"
  kill -INT "$first"
  wait "$first" || true
  "$ipq" replay "$capture" accept $output "$folder/out" >/dev/null || failed "$output: refused after the end of the first"
done

if command -v dumpcap >/dev/null; then
  echo "dumpcap makes a file after the other, as ipq-rules(5) says"
  mkfifo "$folder/fifo"
  dumpcap -q -i "$folder/fifo" -b filesize:300 -b duration:3600 -w "$folder/rotated.pcapng" >"$folder/text" 2>&1 &
  rotating=$!
  timeout 60 "$ipq" replay "$folder/many" 'drop : udp' -w "$folder/fifo" >/dev/null || failed "$(cat "$folder/text")"
  wait "$rotating" || failed "dumpcap: $(cat "$folder/text")"
  cat "$folder"/rotated_*.pcapng >"$folder/together"
  files=("$folder"/rotated_*.pcapng)
  [ ${#files[@]} -ge 2 ] || failed "there is only ${files[*]}"
  "$ipq" replay "$folder/together" 'drop : udp' -w "$folder/all" >/dev/null
  "$ipq" compare "$folder/together" "$folder/all" >"$folder/text" || failed "what dumpcap wrote differs: $(tail -n 1 "$folder/text")"
  same "packets in all files" "2580 packets, 0 judged differently" "$(cat "$folder/text")"
fi

echo "one standard input is not two"
status=0
"$ipq" compare - - <"$capture" 2>"$folder/text" || status=$?
same "exit status" 2 "$status"
same "what is said" "ipq compare: - and -: both can't be standard input" "$(cat "$folder/text")"
