#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What holds for every command: help, usage errors, --netns, exit statuses. usage: command_line_test.sh IPQ
set -u
export LC_ALL=C
ipq=$1
faults=0

# expect STATUS TEXT ARGUMENT...: the command ends so, and says the text somewhere.
expect() {
  local wanted=$1 text=$2 output status=0
  shift 2
  output=$("$ipq" "$@" 2>&1) || status=$?
  if [ "$status" != "$wanted" ] || [[ $output != *"$text"* ]]; then
    printf 'ipq %s: status %s, wanted %s with "%s":\n%s\n' "$*" "$status" "$wanted" "$text" "$output"
    faults=$((faults + 1))
  fi
}

# expect_full TEXT ARGUMENT...: the command finds the disk full, says the text somewhere and ends with 1.
expect_full() {
  local text=$1 output status=0
  shift
  output=$("$ipq" "$@" 2>&1 >/dev/full) || status=$?
  if [ "$status" != 1 ] || [[ $output != *"$text"* ]]; then
    printf 'ipq %s on a full disk: status %s, wanted 1 with "%s":\n%s\n' "$*" "$status" "$text" "$output"
    faults=$((faults + 1))
  fi
}

expect 2 'usage: ipq COMMAND'
expect 0 'usage: ipq COMMAND' --help
expect 0 'Exit status: 0 done, 1 failed, 2 wrong usage, 3 no rights, 4 queue taken' help
expect 0 'ipq 0.' --version
expect 2 'ipq: there is no command nonsense; ipq --help lists them' nonsense
expect 2 'ipq: there is no command ; ipq --help' ''
commands=$("$ipq" --help | sed -n 's/^  \([a-z]*\)  *.*/\1/p')
[ -n "$commands" ] || { echo 'no commands'; exit 1; }
for command in $commands; do
  expect 0 "Usage: ipq $command" "$command" --help
  expect 2 "ipq $command: " "$command" --no-such-option
  expect 2 "ipq $command --help lists what there is" "$command" --no-such-option
done
expect 0 'Usage: ipq watch' help watch
expect 2 'ipq: there is no command nonsense; ipq --help lists them' help nonsense
for word in --help -h help; do
  expect 0 'usage: ipq COMMAND' help "$word"
done
expect 2 "ipq status: --netns: '' is no name of a network namespace" status --netns ''
expect 1 'network namespace no_such: there is no /run/netns/no_such; `ip netns list` shows names' status --netns no_such
expect 1 'network namespace /dev/null: /dev/null is none; name one that `ip netns list` shows, or a file as /proc/812/ns/net' status --netns /dev/null
# What was typed can't steer a terminal or make a line of its own.
expect 2 'ipq: there is no command a?b?[31m; ipq' $'a\nb\e[31m'
expect 1 'network namespace a?b: there is no /run/netns/a?b; `ip' status --netns $'a\nb'
expect 2 'watch: --queue: is given twice; ipq watch --help' watch -q 1 -q 2
expect 2 'compare: --else requires --on; ipq' compare a b --else drop
expect 2 'compare: --seed requires --on; ipq' compare a b --seed 7
# What CLI11 would take for a list.
expect 1 'replay: [a]: open capture: No such file or directory: check the name' replay '[a]' accept
expect 2 ': [b]: ' check -f '[b]'
expect 2 'not expected: [c]; ipq' status '[c]'

for words in --help -h --version help 'help help' 'help watch'; do
  # shellcheck disable=SC2086
  expect_full 'write to standard output: No space left on device: make room there, or write to another place' $words
done
[ "$("$ipq" status --help 2>&1 >/dev/full)" = 'ipq status: write to standard output: No space left on device: make room there, or write to another place' ] ||
  { echo 'a full disk goes unnoticed'; faults=$((faults + 1)); }
expect_status() {
  local wanted=$1 status=0
  shift
  "$@" || status=$?
  [ "$status" = "$wanted" ] || { echo "$*: status $status, not $wanted"; faults=$((faults + 1)); }
}
# Where nobody can be told anything the exit status still tells.
expect_status 2 "$ipq" check bad 2>/dev/full
expect_status 2 "$ipq" check bad 2>&-
expect_status 2 "$ipq" nonsense 2>/dev/full
expect_status 1 "$ipq" check accept >&- 2>&-
[ "$("$ipq" status --help 2>&1 >&-)" = 'ipq status: write to standard output: Bad file descriptor' ] ||
  { echo 'a closed standard output goes unnoticed'; faults=$((faults + 1)); }

# Root may read everything, also where nobody else is known.
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
chmod 755 "$place"
cp "$ipq" "$place/ipq"
echo accept >"$place/rules"
chmod 0 "$place/rules"
as_user=()
[ "$(id -u)" != 0 ] || as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
expect_forbidden() {
  local text=$1 output status=0
  shift
  output=$(cd "$place" && "${as_user[@]}" ./ipq "$@" 2>&1) || status=$?
  [ "$status" = 3 ] && [ "$output" = "$text" ] ||
    { echo "ipq $*, which may not be read: status $status: $output"; faults=$((faults + 1)); }
}
if "${as_user[@]}" true 2>/dev/null; then
  expect_forbidden "ipq check: rules: cannot open: Permission denied: give yourself access to it, or run as a user who has it" check -f rules
  expect_forbidden "ipq check: rule 1:1:14: rules: cannot open: Permission denied: give yourself access to it, or run as a user who has it
  accept : src @rules
               ^" check "accept : src @rules"
  expect_forbidden "ipq replay: rules: open capture: Permission denied: give yourself access to it, or run as a user who has it" replay rules accept
  expect_forbidden "ipq compare: rules: open capture: Permission denied: give yourself access to it, or run as a user who has it" compare rules rules
fi

[ "$faults" = 0 ]
