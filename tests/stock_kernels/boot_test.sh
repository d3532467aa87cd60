#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Checks boot.sh and list_tests.sh, which must not take anything for passed that is not: a program in place of qemu
# plays machines that work, fail, die and hang.
set -euo pipefail
here=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")" && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

failed() {
  echo "failed: $*" >&2
  [ ! -e out/results.xml ] || cat out/results.xml >&2
  exit 1
}

# The machine is a script that finds the shared folder in $share.
mkdir bin
cat >bin/qemu-system-x86_64 <<'SCRIPT'
#!/usr/bin/env bash
for word; do case $word in local,path=*) share=${word#local,path=} share=${share%%,*} ;; esac; done
. "$PLAYED"
SCRIPT
chmod +x bin/qemu-system-x86_64
export PATH=$place/bin:$PATH PLAYED=$place/played

# boot STATUS PATIENCE [SERIES]: boots what is on standard input, with the suites in the file `order`.
printf 'kernel.one\tkernel.one.a:kernel.one.b/0\tcommand\nkernel.script\t-\tcommand\n' >order
boot() {
  cat >played
  local status=0
  "$here/boot.sh" kernel initramfs "$place/out" "$2" "${3-6.1}" <order >output 2>&1 || status=$?
  [ "$status" = "$1" ] || failed "exit status $status instead of $1: $(cat played output)"
}
is() {
  grep -qF "<testcase name=\"$1\" status=\"$2\">" out/results.xml || failed "$1 is not $2"
}
mkdir out

# shellcheck disable=SC2016  # played by the machine
passing='
printf "[ RUN      ] one.a\n[       OK ] one.a (1 ms)\n[ RUN      ] one.b/0\n[       OK ] one.b/0 (1 ms)\nexit status 0\n" \
  >"$share/kernel.one.log"
echo "exit status 0" >"$share/kernel.script.log"
echo "all is well" >"$share/dmesg"
touch "$share/finished"'

boot 0 60 <<<"$passing"
for test in boot kernel_log kernel.one.a kernel.one.b/0 kernel.script; do is "$test" run; done
[ "$(grep -c '<testcase ' out/results.xml)" = 5 ] || failed "not five results"
grep -qx "IPQ_STOCK_KERNEL=yes" out/share/environment || failed "no environment"

# What was left by the last run does not count.
boot 1 60 <<<'true'
is boot fail
grep -q 'the machine died' out/results.xml || failed "no reason"
for test in kernel.one.a kernel.one.b/0 kernel.script; do is "$test" fail; done

boot 1 2 <<<'echo $$ >"$share/pid"; exec sleep 100'
is boot fail
grep -q 'the machine was silent for 2 s and was stopped' out/results.xml || failed "no reason"
! kill -0 "$(cat out/share/pid)" 2>/dev/null || failed "the machine goes on"
# One that goes on saying something is left alone.
boot 0 3 <<<"for i in 1 2 3 4 5 6; do echo \$i >>\"\$share/progress\"; sleep 1; done; $passing"

boot 1 60 <<<'echo "the kernel has no module x" >"$share/failure"'
grep -q 'the kernel has no module x' out/results.xml || failed "no reason"

for complaint in 'BUG: unable to handle page fault' 'kernel BUG at net/core/skbuff.c:1!' 'invalid opcode: 0000 [#1]'; do
  boot 1 60 <<<"$passing; echo '[ 1.0] $complaint' >\"\$share/dmesg\""
  is kernel_log fail
done
boot 0 60 <<<"$passing; echo '[ 1.0] x: DEBUG is on' >\"\$share/dmesg\""
# Only 6.1 warns so.
for series in 6.1 6.12; do
  status=0
  [ "$series" = 6.1 ] || status=1
  boot "$status" 60 "$series" <<<"$passing; echo '[ 1.0] WARNING: CPU: 1 PID: 2 at nf_queue.c:329 nf_reinject+0x1' >\"\$share/dmesg\""
done
is kernel_log fail

boot 1 60 <<<"$passing; sed -i 's/OK \] one.b/FAILED  ] one.b/; s/\[ *FAILED/[  FAILED/' \"\$share/kernel.one.log\""
is kernel.one.a run
is kernel.one.b/0 fail
boot 0 60 <<<"$passing; sed -i 's/\[ *OK \] one.b/[  SKIPPED ] one.b/' \"\$share/kernel.one.log\""
is kernel.one.b/0 notrun
boot 1 60 <<<"$passing; sed -i '/OK . one.b/d; s/status 0/status 139/' \"\$share/kernel.one.log\""
is kernel.one.a run
is kernel.one.b/0 fail
grep -q 'did not end; exit status 139' out/results.xml || failed "no reason"
boot 1 60 <<<"$passing; sed -i '/one.b/d' \"\$share/kernel.one.log\""
grep -q 'did not run' out/results.xml || failed "no reason"
boot 1 60 <<<"$passing; sed -i 's/status 0/status 1/' \"\$share/kernel.one.log\""
is kernel.one fail
boot 1 60 <<<"$passing; sed -i 's/status 0/status 124/' \"\$share/kernel.script.log\""
is kernel.script fail

# What tests print can't end the file or look like a result.
boot 0 60 <<<"$passing; sed -i '1a </testcase><testcase name=\"kernel.one.c\" status=\"fail\"> & \\x01' \
  \"\$share/kernel.one.log\""
[ "$(grep -c '<testcase ' out/results.xml)" = 5 ] || failed "not five results"

: >order
boot 2 60 <<<"$passing"

cat >binary <<'SCRIPT'
#!/bin/sh
[ "$*" = "--gtest_list_tests --gtest_filter=some*" ] || exit 3
cat <<'LIST'
Running main() from gtest_main.cc
plain.
  one
  two
each/typed.  # TypeParam = int
  three/0  # GetParam() = 7
LIST
SCRIPT
chmod +x binary
printf 'p.plain\tp.plain.one:p.plain.two\t./binary --gtest_filter=plain.one:plain.two\n%s\n' \
  $'p.each/typed\tp.each/typed.three/0\t./binary --gtest_filter=each/typed.three/0' >expected
"$here/list_tests.sh" p ./binary 'some*' >listed
diff expected listed || failed "the list of tests"
! "$here/list_tests.sh" p ./binary 'other*' >listed 2>&1 || failed "a binary that fails is none without tests"
echo "boot.sh finds what fails"
