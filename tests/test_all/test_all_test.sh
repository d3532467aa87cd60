#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Checks that `./dev test --all` takes nothing for passed that is not, whichever part it is, that it ends what it started,
# and what it writes into the README.
# usage: test_all_test.sh SCRIPT
set -euo pipefail
script=$1
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
unset CI

failed() {
  printf 'failed: %s\n' "$*" >&2
  cat said >&2
  exit 1
}

# A tree whose ./dev does what a file says that has the name of its command, or else passes.
cat >dev <<'END'
#!/usr/bin/env bash
here=$(dirname "$0")
echo "$*" >>"$here/called"
if [ -e "$here/play_$1" ]; then . "$here/play_$1"; fi
echo "7 passed, 0 failed, 0 skipped"
END
chmod +x dev
write_readme() { printf 'before\n<!-- test --all: written -->\nold\n<!-- end of test --all -->\nbehind\n' >README.md; }

# all STATUS ARGUMENT...
all() {
  local status=0 expected=$1
  shift
  rm -f called
  "$script" "$place" "$@" >said 2>&1 || status=$?
  [ "$status" = "$expected" ] || failed "exit status $status instead of $expected: test --all $*"
}
table_has() { grep -qE "$1" build/test_all/table.txt || failed "no line '$1'"; }

write_readme
all 0
for part in test command threads clang lint faults soak fuzz coverage kernels package; do table_has "^$part +passed +[0-9]+ "; done
for call in 'test' 'lint' 'coverage' 'soak --for 60s' 'fuzz --for 60s' 'package --test' 'test-kernels --short'; do
  grep -qx -e "$call" called || failed "./dev $call was not called"
done
grep -q old README.md || failed "the README was written without --record"

all 0 --record
[ "$(sed -n '1p;$p' README.md | paste -sd ' ')" = 'before behind' ] || failed "the rest of the README"
! grep -q old README.md || failed "the README still has what it had"
grep -qx '| lint | 7 passed, 0 failed, 0 skipped |' README.md || failed "the README has no line of lint"

echo 'echo "soak: 7 datagrams"; exit' >play_soak
all 0
table_has '^soak +passed +[0-9]+ +7 datagrams$'
rm play_soak

# One of either kind.
for part in soak package; do
  write_readme
  echo 'echo "it broke"; exit 1' >"play_$part"
  all 1 --record
  table_has "^$part +failed +[0-9]+ +it broke"
  grep -q 'it broke' said || failed "what $part said is not shown"
  grep -q old README.md || failed "a failure was recorded"
  echo 'echo "no rights for it"; exit 77' >"play_$part"
  all 0
  table_has "^$part +skipped +[0-9]+ +no rights for it"
  CI=true all 1
  # shellcheck disable=SC2016  # for the part
  echo 'kill -KILL $PPID' >"play_$part"
  all 1
  table_has "^$part +failed"
  rm "play_$part"
done

all 2 --recrod

# Whoever ends it ends its parts, whichever lane they are in.
# shellcheck disable=SC2016  # for the part
for part in test fuzz; do echo 'echo $BASHPID >"$here/pid_$1"; sleep 1000' >"play_$part"; done
"$script" "$place" >said 2>&1 &
running=$!
until [ -s pid_test ] && [ -s pid_fuzz ]; do sleep 0.05; done
kill -TERM "$running"
status=0
wait "$running" || status=$?
[ "$status" = 143 ] || failed "exit status $status after SIGTERM"
for part in test fuzz; do
  pid=$(<"pid_$part")
  for ((i = 0; i < 200; ++i)); do
    if ! kill -0 "$pid" 2>/dev/null; then continue 2; fi
    sleep 0.05
  done
  failed "$part outlived what started it"
done
echo "test --all tells the truth"
