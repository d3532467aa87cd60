#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Boots a kernel in qemu, without the help of hardware, runs suites inside and writes FOLDER/results.xml, JUnit as
# ctest writes it. What can't be shown to have passed has failed: a machine that does not come up, hangs or dies, too.
# Usage: boot.sh KERNEL INITRAMFS FOLDER PATIENCE SERIES, with the suites on standard input: NAME, TESTS, COMMAND
# Tests are separated by colons, a line's three parts by tabs. TESTS is "-" where the exit status is the result. A
# machine hangs when nothing has come from it for PATIENCE seconds.
set -euo pipefail
here=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")" && pwd)
kernel=$1 initramfs=$2 folder=$3 patience=$4 series=$5
share=$folder/share

rm -rf "$share" "$folder/results.xml"
mkdir -p "$share"
cat >"$share/order"
[ -s "$share/order" ] || { echo "no test has such a name" >&2; exit 2; }
# Fewer packets, which take their time here. One processor: the emulator's second one meets an int3 of code that the
# first one patches (static keys), and the kernel panics.
printf 'IPQ_STOCK_KERNEL=yes\nIPQ_TEST_PATIENCE=60\nIPQ_TEST_PACKETS=20000\nCI=%s\n' "${CI:-}" >"$share/environment"

# A machine that shares its processors with others may stand still for a while: no fault of the kernel.
command_line='console=ttyS0 loglevel=5 panic=-1 nowatchdog rcupdate.rcu_cpu_stall_suppress=1 rdinit=/init'
machine=
trap '[ -z "$machine" ] || kill -KILL "$machine" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
nice -n 10 qemu-system-x86_64 -accel tcg -m 2G -no-user-config -nodefaults -display none -no-reboot \
  -kernel "$kernel" -initrd "$initramfs" -append "$command_line" \
  -serial "file:$folder/console.log" -virtfs "local,path=$share,mount_tag=share,security_model=none" \
  </dev/null >"$folder/qemu.log" 2>&1 &
machine=$!

results() { cat "$share"/*.log 2>/dev/null | grep -cE '^\[ *(OK|FAILED|SKIPPED) *\].* ms\)$' || true; }

total=$(awk -F '\t' '{ n += $2 == "-" ? 0 : split($2, _, ":") } END { print n + 0 }' "$share/order")
start=$SECONDS reported=0 heard=$SECONDS said='' ended='the machine died'
while kill -0 "$machine" 2>/dev/null; do
  sleep 0.5
  if [ "$reported" = 0 ] && [ -s "$share/booted" ]; then
    echo "  $(cat "$share/booted")"
    reported=$SECONDS
  elif [ "$reported" != 0 ] && [ $((SECONDS - reported)) -ge 20 ]; then
    # Runs of a whole binary are not in the sum.
    echo "  $(results) tests of $total and more after $((SECONDS - start)) s"
    reported=$SECONDS
  fi
  saying=$(stat -c %s "$folder/console.log" "$share"/* 2>/dev/null || true)
  if [ "$saying" != "$said" ]; then
    said=$saying heard=$SECONDS
  elif [ $((SECONDS - heard)) -ge "$patience" ]; then
    ended="the machine was silent for $patience s and was stopped"
    kill -KILL "$machine"
    break
  fi
done
wait "$machine" 2>/dev/null || true
machine=
[ ! -e "$share/finished" ] || ended=
[ ! -e "$share/failure" ] || ended=$(cat "$share/failure")

awk -f "$here/results.awk" -v share="$share" -v ended="$ended" -v series="$series" -v console="$folder/console.log" "$share/order" \
  >"$folder/results.xml"
if grep -q 'status="fail"' "$folder/results.xml"; then
  sed -n '/<testcase .*status="fail"/,/<\/testcase>/p' "$folder/results.xml" |
    sed '/<failure /d; /<\/testcase>/d; s/<[^>]*>$//; s/^\t*<testcase name="\([^"]*\)".*/--- \1 failed/; s/^\t*<system-out>//
      s/&lt;/</g; s/&gt;/>/g; s/&quot;/"/g; s/&amp;/\&/g' >&2
  exit 1
fi
