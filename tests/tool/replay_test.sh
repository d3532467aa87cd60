#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# ipq replay and ipq compare on real captures, without rights: the counts are those of tshark and tcpdump. Captures are
# those beside the tests, and others where MORE has some.
# usage: replay_test.sh IPQ SOURCE [MORE]
set -euo pipefail
# shellcheck source=tests/tool/replay_checks.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/replay_checks.sh"
ipq=$1 source=$2 more=${3:-}
needs tshark capinfos tcpdump gzip zstd

# value JSON-FILE KEY: a number of the summary, by the last name of its path.
value() { sed -n "s/^ *\"$2\": \([0-9]*\),\{0,1\}$/\1/p" "$1" | head -n 1; }
verdict() { sed -n "/\"verdicts\"/,\$p" "$1" | sed -n "/\"$2\"/,/}/p" | sed -n 's/.*"packets": \([0-9]*\).*/\1/p' | head -n 1; }
# sum_of KEY JSON-FILE: of the packets in what the summary has under that name.
sum_of() {
  awk -v key="\"$1\":" '
    $1 == key { inside = 1 }
    inside && $1 == "\"packets\":" { sum += $2 }
    inside && /^  []}]/ { inside = 0 }
    END { print sum + 0 }' "$2"
}
shark() { tshark -r "$1" "${@:2}" -T fields -e frame.number 2>/dev/null | wc -l; }

# wrong_checksums CAPTURE: frames of which a checksum is wrong to tshark, as of those that a network card was to compute.
wrong_checksums() {
  shark "$1" -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE \
    -Y 'ip.checksum.status == 0 or tcp.checksum.status == 0 or udp.checksum.status == 0'
}
printf 'drop : udp\n' >"$folder/one.ipq"
printf 'accept\n' >"$folder/other.ipq"

captures=("$source"/tests/data/captures/*.pcap*)
[ -z "$more" ] || [ ! -d "$more" ] || captures+=("$more"/*.pcap*)
[ ${#captures[@]} -ge 9 ] || failed "the captures are missing"
for capture in "${captures[@]}"; do
  name=$(basename "$capture")
  # Starting tshark takes longer than what it does.
  read -r frames packets < <(tshark -r "$capture" -T fields -e frame.number -e ip.version -e ipv6.version 2>/dev/null |
    awk -F '\t' '$2 $3 != "" { ++packets } END { print NR, packets + 0 }')
  if [ "$packets" = 0 ]; then
    status=0
    said=$("$ipq" replay "$capture" accept 2>&1) || status=$?
    [ "$status" = 1 ] && [[ $said == *"link type"*"is not read"* ]] || failed "$name: $said"
    continue
  fi
  "$ipq" replay "$capture" 'drop : udp' --json -w "$folder/recording" --passed "$folder/passed" >"$folder/json"
  same "$name: frames" "$frames" "$(value "$folder/json" frames)"
  same "$name: packets" "$packets" "$((frames - $(value "$folder/json" not_ip)))"
  dropped=$(verdict "$folder/json" drop)
  accepted=$(verdict "$folder/json" accept)
  same "$name: verdicts" "$packets" "$((dropped + accepted))"
  same "$name: packets by protocol" "$packets" "$(sum_of protocols "$folder/json")"
  same "$name: packets by rule" "$packets" "$(($(sum_of rules "$folder/json") + $(sum_of unmatched "$folder/json")))"
  same "$name: passed" "$accepted" "$(capinfos -TrcM "$folder/passed" | cut -f 2)"
  same "$name: recorded drops" "$dropped" "$(shark "$folder/recording" -Y 'frame.comment matches "^verdict drop, "')"
  same "$name: recorded" "$packets" "$(tcpdump -nr "$folder/recording" 2>/dev/null | wc -l)"
  # tcpdump does not see behind VLAN tags of itself, and refuses several link types.
  if tcpdump -nr "$capture" -w "$folder/udp" 'udp or (vlan and (udp or (vlan and udp)))' 2>/dev/null; then
    same "$name: udp as tcpdump counts it" "$(tcpdump -nr "$folder/udp" 2>/dev/null | wc -l)" "$dropped"
  fi
  gzip -c "$capture" >"$folder/gz"
  zstd -qc "$capture" >"$folder/zst"
  for packed in gz zst; do
    "$ipq" replay - 'drop : udp' --json --passed "$folder/again" <"$folder/$packed" >"$folder/json.$packed"
    cmp "$folder/json" "$folder/json.$packed" || failed "$name: $packed gives other counts"
    cmp "$folder/passed" "$folder/again" || failed "$name: $packed passes something else"
  done
  said=$("$ipq" compare "$folder/one.ipq" "$folder/other.ipq" --on "$capture" | tail -n 1) || true
  same "$name: differences of rules" "$packets packets, $dropped judged differently" "$said"
  # What was wrong stays so, and nothing else is.
  "$ipq" replay "$capture" accept --passed "$folder/passed" >/dev/null
  "$ipq" replay "$capture" 'set ttl 9, set dscp 3, set sport 1234, set dport 4321, continue' \
    'replace "e" with "E", continue : tcp or udp' 'set src 192.0.2.9, set dst 198.51.100.9 : ip' \
    'set src 2001:db8::9, set dst 2001:db8::10 : ip6' --passed "$folder/again" >/dev/null
  same "$name: wrong checksums" "$(wrong_checksums "$folder/passed")" "$(wrong_checksums "$folder/again")"
  # A recording that is replayed with the same rules is itself again, and other rules are another verdict.
  "$ipq" replay "$folder/recording" 'drop : udp' -w "$folder/second" >/dev/null
  cmp "$folder/recording" "$folder/second" || failed "$name: the recording is not the same again"
  "$ipq" compare "$folder/recording" "$folder/second" >/dev/null || failed "$name: a recording differs from itself"
  "$ipq" replay "$folder/recording" accept -w "$folder/second" >/dev/null
  status=0
  said=$("$ipq" compare "$folder/recording" "$folder/second" | tail -n 1) || true
  "$ipq" compare "$folder/recording" "$folder/second" >/dev/null || status=$?
  same "$name: differences" "$packets packets, $dropped judged differently" "$said"
  same "$name: exit status of compare" "$([ "$dropped" = 0 ] && echo 0 || echo 1)" "$status"
done

capture=$source/tests/data/captures/interfaces.pcapng
echo "changes, marks, impairments"
rules=('set ttl 9, mark 0x7, continue : icmp' 'loss 30%, duplicate 20%, delay 10ms jitter 5ms, accept : udp or icmp')
for seed in 1 1 2; do
  "$ipq" replay "$capture" "${rules[@]}" --hook output --seed $seed -w "$folder/r" --passed "$folder/p" --json >"$folder/json"
  sha256sum <"$folder/r" >>"$folder/sums"
  sha256sum <"$folder/p" >>"$folder/passed_sums"
done
same "different recordings of seeds 1, 1 and 2" 2 "$(sort -u "$folder/sums" | wc -l)"
same "different outputs of seeds 1, 1 and 2" 2 "$(sort -u "$folder/passed_sums" | wc -l)"
"$ipq" replay "$folder/r" "${rules[@]}" --seed 2 -w "$folder/again" >/dev/null
cmp "$folder/r" "$folder/again" || failed "changed packets are not recorded the same again"
passes=$(($(verdict "$folder/json" accept) + $(value "$folder/json" duplicates)))
same "packets and duplicates that pass" "$passes" "$(shark "$folder/p")"
same "pings with another time to live" "$(shark "$folder/p" -Y icmp)" "$(shark "$folder/p" -Y 'icmp and ip.ttl == 9')"
same "wrong checksums" 0 "$(tshark -o ip.check_checksum:TRUE -r "$folder/p" -Y 'ip.checksum.status == 0' 2>/dev/null | wc -l)"

echo "what no verdict can do, and more than may wait"
{
  printf '\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\x04\0\x65\0\0\0'
  for size in ffff 001c; do
    printf '\0\0\0\0\0\0\0\0%b\0\0%b\0\0' "\\x${size:2}\\x${size::2}" "\\x${size:2}\\x${size::2}"
    printf '\x45\0%b\0\x01\0\0\x40\x11\0\0\x0a\0\0\x01\x0a\0\0\x02' "\\x${size::2}\\x${size:2}"
    size=$((16#$size - 20))
    printf '\x03\xe8\0\x35%b\0\0' "$(printf '\\x%02x\\x%02x' $((size / 256)) $((size % 256)))"
    head -c $((size - 8)) /dev/zero
  done
} >"$folder/longest"
same "the longest packet of IPv4" 65535 "$(tshark -r "$folder/longest" -c 1 -T fields -e ip.len 2>/dev/null)"
# Live the kernel gives 65531 bytes of the longest, and no verdict can change what is not whole.
for rule in 'set ttl 9' 'corrupt 100%' 'set ttl 9, delay 1ms' 'duplicate 100%'; do
  "$ipq" replay "$folder/longest" "$rule" --hook output --json -w "$folder/r" --passed "$folder/p" >"$folder/json"
  same "$rule: accepted, not changed" "2 1" "$(verdict "$folder/json" accept) $(value "$folder/json" not_applied)"
  same "$rule: changes" "$([[ $rule = dup* ]] && echo 0 1 || echo 1 0)" \
    "$(value "$folder/json" changed) $(value "$folder/json" duplicates)"
  same "$rule: recorded and passed whole" "65535 65535" \
    "$(for each in r p; do tshark -r "$folder/$each" -c 1 -T fields -e ip.len 2>/dev/null; done | xargs)"
  same "$rule: bytes of them" "65549 65535" \
    "$(for each in r p; do tshark -r "$folder/$each" -c 1 -T fields -e frame.cap_len 2>/dev/null; done | xargs)"
  same "$rule: passed" "$([[ $rule = dup* ]] && echo 3 || echo 2)" "$(shark "$folder/p")"
done
"$ipq" replay "$folder/longest" 'set ttl 9' | grep -q ': set ttl 9, 1 could not be changed$' ||
  failed "the summary says nothing of a packet that was too long"
same "a condition on bytes that live are not there" 1 \
  "$("$ipq" replay "$folder/longest" 'drop : ip[2:2] = 28 or udp[65511] = 0' --json | verdict /dev/stdin accept)"
echo 'accept' >"$folder/a"
echo 'set ttl 9' >"$folder/b"
"$ipq" compare "$folder/a" "$folder/b" --on "$folder/longest" >"$folder/text" || true
same "packets that rules change differently" "2 packets, 1 judged differently" "$(tail -n 1 "$folder/text")"

echo "captures that are not in the order of their times"
{
  printf '\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\x04\0\x65\0\0\0'
  id=0
  # 100 s, 100 s, 99.99 s and 101 s.
  for time in 'd\0\0\0\0\0\0\0' 'd\0\0\0\0\0\0\0' 'c\0\0\0\x30\x1b\x0f\0' 'e\0\0\0\0\0\0\0'; do
    id=$((id + 1))
    printf '%b\x1c\0\0\0\x1c\0\0\0\x45\0\0\x1c\0%b\0\0\x40\x11\0\0\x0a\0\0\x01\x0a\0\0\x02\x03\xe8\0\x35\0\x08\0\0' "$time" "\\x0$id"
  done
} >"$folder/order"
for rule in 'rate 1000/s within 1s' 'delay 1ms'; do
  "$ipq" replay "$folder/order" "$rule" --passed "$folder/p" >/dev/null
  same "$rule: ids in order" "1 2 3 4" "$(tshark -r "$folder/p" -T fields -e ip.id 2>/dev/null | sed 's/0x0*//' | xargs)"
done

for _ in $(seq 20); do cat "$capture"; done >"$folder/twenty"
for _ in $(seq 120); do cat "$folder/twenty"; done >"$folder/many"
"$ipq" replay "$folder/many" 'delay 60min, duplicate 100%' --hook output --json -w "$folder/r" --passed "$folder/p" >"$folder/json"
same "accepted, dropped, beyond the bound, delayed, duplicates" "100000 3200 3200 100000 100000" \
  "$(verdict "$folder/json" accept) $(verdict "$folder/json" drop) $(value "$folder/json" delay_refused) $(
    value "$folder/json" delayed) $(value "$folder/json" duplicates)"
same "packets and duplicates that pass" 200000 "$("$ipq" replay "$folder/p" accept --json | sed -n 's/^  "packets": \([0-9]*\),$/\1/p')"
"$ipq" replay "$folder/many" 'delay 60min, duplicate 100%' --hook output --json >"$folder/json.without"
cmp "$folder/json" "$folder/json.without" || failed "verdicts are others without --passed"
for hook in prerouting input forward output postrouting; do
  "$ipq" replay "$capture" 'duplicate 100%' --hook $hook --json | value /dev/stdin duplicates
done >"$folder/copies"
same "duplicates by hook" "0 0 0 43 43" "$(xargs <"$folder/copies")"
same "recorded drops" 3200 "$("$ipq" replay "$folder/r" accept -w "$folder/all" >/dev/null &&
  "$ipq" compare "$folder/r" "$folder/all" | sed -n 's/.* packets, \([0-9]*\) judged differently/\1/p')"
"$ipq" replay "$folder/many" 'delay 60min' | grep -q ', 3200 dropped as too many were delayed' ||
  failed "the summary says nothing of packets that could not be delayed"
rm "$folder/many" "$folder/twenty"

echo "as many as run was told may wait"
for bound in "--delay-packets 2" "--delay-bytes 170"; do
  for full in accept drop; do
    # shellcheck disable=SC2086 # an option and its value
    "$ipq" replay "$capture" 'delay 60min, set ttl 9 : udp' $bound --delay-full $full --json -w "$folder/r" >"$folder/json"
    same "$bound, $full: delayed, beyond, changed" "2 1 2" \
      "$(value "$folder/json" delayed) $(value "$folder/json" delay_refused) $(value "$folder/json" changed)"
    same "$bound, $full: recorded" 1 "$(shark "$folder/r" -Y "udp and not icmp and frame.comment matches \"^verdict $full, id\"")"
  done
done
"$ipq" replay "$capture" 'delay 60min : udp' --delay-packets 1 --delay-full accept |
  grep -q ', 2 accepted as too many were delayed' || failed "the summary says nothing of packets that were not delayed"

echo "what is no text"
"$ipq" replay "$capture" $'log "a\xff" : udp' --json >"$folder/json" || failed "a byte that is no text ends the summary"
same "packets of a rule that is no text" 3 "$(sum_of rules "$folder/json")"

echo "what would steer a terminal, or make a line of its own"
echo 'count seen, continue : udp' >"$folder/"$'one\e[2J\n.ipq'
"$ipq" replay "$capture" $'log "a\e[2Jb\\nc" : udp' -f "$folder/"$'one\e[2J\n.ipq' >"$folder/text"
same "bytes that are not to be shown" 0 "$(grep -c $'\e' "$folder/text")"
same "lines of log, and rules" "3 1 1" "$(grep -c '^a?\[2Jb?c ' "$folder/text") $(grep -c ' log "a?\[2Jb\\nc" : udp$' \
  "$folder/text") $(grep -c 'one?\[2J?.ipq:1: count seen, ' "$folder/text")"

echo "what passes of a recording"
"$ipq" replay "$capture" 'set ttl 9 : udp' 'drop : icmp' -w "$folder/changed" >/dev/null
"$ipq" replay "$folder/changed" accept --passed "$folder/p" --json >"$folder/json"
same "packets that pass" 43 "$(verdict "$folder/json" accept)"
same "packets that were written" 43 "$(shark "$folder/p")"
same "comments about other verdicts" 0 "$(shark "$folder/p" -Y frame.comment)"

echo "interfaces, hooks, record, log"
"$ipq" replay "$capture" 'drop, log "lo:" : [indev=lo]' "record $folder/mine : udp" >"$folder/text"
same "logged with the verdict" "$(shark "$capture" -Y 'frame.interface_name == "lo" and ip')" \
  "$(grep -c '^lo: .*: drop$' "$folder/text")"
"$ipq" replay "$capture" 'log, loss 100%' >"$folder/text"
same "logged as lost" "$(shark "$capture" -Y 'ip or ipv6')" "$(grep -c ': lost$' "$folder/text")"
same "recorded by a rule" 3 "$(shark "$folder/mine")"
"$ipq" replay "$source/tests/data/captures/ethernet.pcap" 'drop : [outdev=wan hook=output]' --hook output --interface wan |
  grep -q '^ *38 .* drop : ' || failed "hook and interface are not those of the options"

"$ipq" replay "$capture" 'accept : udp' --else drop --json --passed "$folder/p" >"$folder/json"
same "accepted, and dropped as no rule matched" "3 40" "$(verdict "$folder/json" accept) $(verdict "$folder/json" drop)"
same "what passes of them" 3 "$(shark "$folder/p")"

echo "rule files"
echo 'drop : udp' >"$folder/a.ipq"
printf 'drop : udp\ndrop : icmp\n' >"$folder/b.ipq"
status=0
"$ipq" compare "$folder/a.ipq" "$folder/b.ipq" --on "$capture" --json >"$folder/json" || status=$?
same "exit status" 1 "$status"
same "packets that differ" "$(shark "$capture" -Y icmp)" "$(grep -c '"first":"accept","frame":[0-9]*,.*"second":"drop"' "$folder/json")"
"$ipq" compare "$folder/a.ipq" "$folder/a.ipq" --on "$capture" >/dev/null || failed "a rule file differs from itself"

echo "every part of a verdict is compared"
echo 'accept : icmp' >"$folder/a"
pings=$(shark "$capture" -Y icmp)
while IFS='|' read -r rule said; do
  echo "$rule : icmp" >"$folder/b"
  status=0
  "$ipq" compare "$folder/a" "$folder/b" --on "$capture" >"$folder/text" || status=$?
  same "$rule: exit status" 1 "$status"
  same "$rule: packets that differ" "$pings" "$(grep -c "/b: $said\$" "$folder/text")"
  # Recordings say the same.
  "$ipq" replay "$capture" -f "$folder/a" -w "$folder/first" >/dev/null
  "$ipq" replay "$capture" -f "$folder/b" -w "$folder/second" >/dev/null
  "$ipq" compare "$folder/first" "$folder/second" | grep -c "/second: $said\$" >"$folder/count" || true
  same "$rule: recorded packets that differ" "$pings" "$(cat "$folder/count")"
  cp "$folder/b" "$folder/a"
done <<'END'
mark 3, accept|accept, mark 0x3
mark 4, accept|accept, mark 0x4
priority 5, accept|accept, priority 0x5
connmark 3/0xf, accept|accept, connmark 0x3/0xf
connmark 3/0xff, accept|accept, connmark 0x3/0xff
connmark 3, accept|accept, connmark 0x3
set ttl 9, accept|accept, changed to [0-9]* bytes
set ttl 8, accept|accept, changed to [0-9]* bytes
queue 4|queue 4
END

echo "recordings that have lost packets"
# Of several interfaces, whose packets are not in the order of their times, too.
"$ipq" replay "$capture" accept -w "$folder/all" >/dev/null
"$ipq" replay "$capture" "record $folder/icmp : icmp" >/dev/null
lost=$((43 - $(shark "$folder/icmp")))
for pair in "all icmp there,not-there" "icmp all not-there,there"; do
  read -r first second said <<<"$pair"
  status=0
  "$ipq" compare "$folder/$first" "$folder/$second" --json >"$folder/json" || status=$?
  same "exit status" 1 "$status"
  same "$first beside $second" "$lost" \
    "$(sed -n 's/.*"first":"\([a-z ]*\)".*"second":"\([a-z ]*\)".*/\1,\2/p' "$folder/json" | tr ' ' - | grep -cx "$said")"
  same "the last line" "{\"different\":$lost,\"packets\":43}" "$(tail -n 1 "$folder/json")"
done

echo "what goes wrong"
refuses() {
  local wanted_status=$1 wanted=$2 status=0 said
  shift 2
  said=$("$ipq" "$@" 2>&1 >"$folder/output") || status=$?
  [ "$status" = "$wanted_status" ] || failed "$*: exit status $status instead of $wanted_status: $said"
  [[ $said == *"$wanted"* ]] || failed "$*: said '$said', and not '$wanted'"
}
head -c 5000 "$capture" >"$folder/cut"
refuses 1 "cut: read capture, packet " replay "$folder/cut" accept
grep -q '^[0-9]* frames, ' "$folder/output" || failed "what is before the cut is not told"
refuses 1 "cut: read capture, packet " replay "$folder/cut" 'delay 60min' --json --passed "$folder/p"
same "delayed packets that pass before the cut" "$(verdict "$folder/output" accept)" "$(shark "$folder/p")"
head -c 9000 "$folder/all" >"$folder/cut_recording"
refuses 2 "cut_recording: read capture, packet " compare "$folder/icmp" "$folder/cut_recording"
grep -q '^frame [0-9]*: ' "$folder/output" || failed "what differs before the cut is not told"
refuses 2 "cut: read capture, packet " compare "$folder/a.ipq" "$folder/b.ipq" --on "$folder/cut"
refuses 1 "nowhere: open capture: No such file or directory: check the name" replay "$folder/nowhere" accept
refuses 1 "a.ipq: read capture: Bad message: neither pcap nor pcapng" replay "$folder/a.ipq" accept
refuses 2 "there are no rules" replay "$capture"
refuses 2 "rule 1:1:8" replay "$capture" 'drop : nonsense here'
refuses 2 "--hook" replay "$capture" accept --hook nowhere
refuses 2 "--workers 2: more threads than queues, of which there is 1; -q N-M serves several" \
  replay "$capture" accept --workers 2
refuses 2 "--workers 3: more threads than queues" compare "$folder/a.ipq" "$folder/b.ipq" --on "$capture" --workers 3 -q 1-2
refuses 2 "--queue requires --on" compare "$folder/a.ipq" "$folder/b.ipq" -q 1-2
refuses 2 "--pace" replay "$capture" accept --pace -1
refuses 2 "-w - and --passed - can't both be standard output" replay "$capture" accept -w - --passed -
refuses 2 "--passed - and record - can't both be standard output" replay "$capture" 'record - : udp' --passed -
refuses 1 "/dev/full: write output, packet 1 at byte " replay "$capture" accept --passed /dev/full
refuses 1 "/dev/full: write recording: No space left on device: make room there, or write to another place" replay "$capture" accept -w /dev/full
cp "$capture" "$folder/copy"
ln "$folder/copy" "$folder/link"
for output in "--passed $folder/copy" "-w $folder/copy" "-w $folder/link"; do
  # shellcheck disable=SC2086 # an option and its value
  refuses 2 "$output: it is the file that is read, $folder/copy" replay "$folder/copy" accept $output
done
refuses 2 "record $folder/./copy: it is the file that is read, $folder/copy" replay "$folder/copy" "record $folder/./copy"
cmp "$capture" "$folder/copy" || failed "a capture was overwritten while it was read"
echo kept >"$folder/one"
refuses 2 "-w $folder/one and --passed $folder/./one are one file" \
  replay "$capture" accept -w "$folder/one" --passed "$folder/./one"
refuses 2 "-w $folder/one and record $folder/one are one file" replay "$capture" "record $folder/one" -w "$folder/one"
refuses 2 "record $folder/new and record $folder/./new are one file" \
  replay "$capture" "record $folder/new : udp" "record $folder/./new : tcp"
same "an output that was refused" kept "$(cat "$folder/one")"
[ ! -e "$folder/new" ] || failed "an output that was refused was made"
status=0
# shellcheck disable=SC2094 # that is what is tested
"$ipq" replay "$folder/copy" accept >>"$folder/copy" 2>"$folder/error" || status=$?
same "exit status of a summary behind the capture" 2 "$status"
grep -q 'standard output: it is the file that is read' "$folder/error" || failed "$(cat "$folder/error")"
refuses 2 "nowhere: open capture" compare "$folder/nowhere" "$capture"
refuses 2 "nowhere" compare "$folder/a.ipq" "$folder/nowhere" --on "$capture"
refuses 2 "B" compare "$folder/a.ipq"
refuses 2 "a.ipq: read capture: Bad message: neither pcap nor pcapng" compare "$folder/a.ipq" "$folder/b.ipq"
refuses 2 "; rule files are compared on a capture, with --on" compare "$folder/a.ipq" "$folder/b.ipq"
refuses 2 "no packet has a verdict in either" compare "$capture" "$capture"
refuses 2 "no packet has a verdict in either" compare "$capture" "$source/tests/data/captures/ethernet.pcap"
for json in "" --json; do
  status=0
  # shellcheck disable=SC2086 # an option, or none
  "$ipq" compare "$folder/all" "$folder/all" $json >/dev/full 2>"$folder/error" || status=$?
  same "exit status when the answer can't be written" 2 "$status"
  grep -q 'No space left on device: make room there' "$folder/error" || failed "$(cat "$folder/error")"
done
for _ in $(seq 20); do cat "$capture"; done >"$folder/twenty"
status=0
"$ipq" compare "$folder/a.ipq" "$folder/b.ipq" --on "$folder/twenty" >/dev/full 2>"$folder/error" || status=$?
same "exit status when differences can't be written" 2 "$status"

"$ipq" replay "$capture" accept --passed - 2>"$folder/summary" | tcpdump -nr - 2>/dev/null | wc -l >"$folder/count"
same "packets through a pipe" 43 "$(cat "$folder/count")"
grep -q '^45 frames, 43 packets' "$folder/summary" || failed "the summary does not give way to packets"
# Its reader has gone before anything is written.
for output in --passed -w; do
  mkfifo "$folder/fifo"
  (exec <"$folder/fifo") &
  exec 3>"$folder/fifo"
  wait $!
  status=0
  "$ipq" replay "$capture" accept $output - >&3 2>"$folder/summary" || status=$?
  exec 3>&-
  rm "$folder/fifo"
  same "exit status when the pipe of $output closes" 1 "$status"
  grep -q '^ipq replay: standard output: write .*: Broken pipe' "$folder/summary" || failed "a closed pipe of $output: $(cat "$folder/summary")"
done
if command -v script >/dev/null; then
  bar=$(script -qec "'$ipq' replay '$capture' accept --pace 1" /dev/null)
  [[ $bar == *"] "*" %  "*" frames"*$'\r\033[K'*"45 frames, 43 packets"* ]] || failed "no progress bar on a terminal: $bar"
  bar=$(script -qec "'$ipq' replay '$capture' accept --pace 1 --no-progress" /dev/null)
  [[ $bar != *" %"* ]] || failed "a progress bar that was not asked for"
  # The last packet is not due for a quarter of an hour.
  bar=$(script -qec "timeout -s INT 2 '$ipq' replay '$folder/order' accept --pace 0.001" /dev/null) || true
  [[ $bar == *" %  3 frames"* ]] || failed "no progress bar while a packet is waited for: $bar"
  # compare's gives way to what differs. Files of pcapng in a row are one.
  for _ in $(seq 60); do cat "$capture"; done >"$folder/many"
  bar=$(script -qec "{ cat '$folder/many'; sleep 0.4; cat '$folder/many'; } | '$ipq' compare '$folder/a.ipq' '$folder/b.ipq' --on -" /dev/null) || true
  [[ $bar == *" frames"*$'\r\033[K'*"5160 packets, 1800 judged differently"* ]] || failed "compare has no progress bar: ${bar: -500}"
  [[ $bar != *" frames"frame* ]] || failed "compare writes behind its progress bar"
fi

# Ctrl-C and kill: what was done is told.
for signal in INT TERM; do
  "$ipq" replay "$capture" 'delay 60min' --pace 0.001 -w "$folder/r" --passed "$folder/p" >"$folder/text" 2>"$folder/error" &
  process=$!
  for _ in $(seq 100); do
    ! grep -q 'SigCgt:.*4002$' "/proc/$process/status" 2>/dev/null || break
    sleep 0.05
  done
  kill -$signal "$process" 2>/dev/null || failed "replay ended early: $(cat "$folder/error")"
  status=0
  wait "$process" || status=$?
  same "exit status after SIG$signal" 1 "$status"
  grep -qx 'ipq replay: interrupted' "$folder/error" || failed "$(cat "$folder/error")"
  grep -q ' frames, [0-9]* packets' "$folder/text" || failed "no summary: $(cat "$folder/text")"
  same "recorded before SIG$signal" "$(sed -n 's/^.* frames, \([0-9]*\) packets.*/\1/p' "$folder/text")" "$(shark "$folder/r")"
  same "passed before SIG$signal" "$(shark "$folder/r")" "$(shark "$folder/p")"
done
# Where nobody reads what it writes, another one ends it. It must wait for the pipe already: else the first does.
mkfifo "$folder/in" "$folder/stalled"
exec 3<>"$folder/stalled"
for output in -w --passed; do
  while cat "$capture" 2>/dev/null; do :; done >"$folder/in" &
  feeder=$!
  "$ipq" replay - accept $output "$folder/stalled" <"$folder/in" >/dev/null 2>"$folder/error" &
  process=$!
  for _ in $(seq 400); do
    ! grep -qs pipe_write "/proc/$process/task"/*/wchan || break
    sleep 0.05
  done
  kill -INT "$process"
  sleep 0.6
  kill -TERM "$process" 2>/dev/null || failed "replay $output ended at the first signal: $(cat "$folder/error")"
  for _ in $(seq 400); do
    kill -0 "$process" 2>/dev/null || break
    sleep 0.05
  done
  kill -KILL "$process" 2>/dev/null || true
  status=0
  wait "$process" || status=$?
  wait "$feeder" || true
  same "exit status of $output after two signals" 1 "$status"
  grep -qx 'ipq: ended by a second signal' "$folder/error" || failed "two signals: $(cat "$folder/error")"
done
exec 3>&-
echo "${#captures[@]} captures replayed"
