#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs a test binary as an ordinary user, in the user namespace that it then makes for itself. With --all every test has
# to pass; without it only root may be what one is skipped for, and nine in ten have to pass.
# Usage: user_namespace.sh [--all] TESTS [FILE NAME]...   FILE: a library, or the command ipq, that TESTS needs.
# Exit status 77: no user namespaces here, nothing was tested.
set -eu

all=no
if [ "$1" = --all ]; then all=yes && shift; fi
tests=$1
shift

# The build tree may be closed to the ordinary user.
place=$(mktemp -d "${TMPDIR:-/tmp}/ipq_user_namespace.XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
cp "$tests" "$place/tests"
while [ $# -gt 0 ]; do
  cp "$1" "$place/$2"
  shift 2
done
chmod -R 755 "$place"
[ ! -e "$place/ipq" ] || export IPQ_TEST_COMMAND="$place/ipq"

if [ "$(id -u)" -eq 0 ]; then
  as_user='setpriv --reuid=65534 --regid=65534 --clear-groups'
else
  as_user=''
fi
status=0
(cd / && LD_LIBRARY_PATH=$place IPQ_TEST_USER_NAMESPACE=true $as_user "$place/tests") >"$place/output" 2>&1 || status=$?

# Not in gtest's own words for a skipped test, which would make ctest count this run as skipped.
show() { sed 's/\[  SKIPPED \]/[  skipped ]/' "$place/output"; }
count() { grep -c "$1" "$place/output" || [ $? -eq 1 ]; }

total=$(count '^\[ RUN      \]')
passed=$(count '^\[       OK \]')
skipped=$(count '^\[  SKIPPED \] .* ms)$')
for_root=$(count '^needs root outside of any user namespace: ')
no_rights=$(count 'no right to make a network namespace')

if [ "$status" -eq 0 ] && [ "$total" -gt 0 ] && [ "$no_rights" -gt 0 ] && [ "$passed" -eq 0 ]; then
  echo "no user namespaces for ordinary users here"
  exit 77
fi
if [ "$status" -ne 0 ]; then
  show
  echo "exit status $status"
  exit 1
fi
if [ "$all" = yes ] && [ "$passed" -ne "$total" ]; then
  show
  echo "of $total tests $passed passed: all must"
  exit 1
fi
if [ "$skipped" -ne "$for_root" ] || [ $((passed + skipped)) -ne "$total" ] || [ $((passed * 10)) -lt $((total * 9)) ]
then
  show
  echo "of $total tests $passed passed and $skipped were skipped, $for_root of them for want of root:" \
       "nine in ten must pass, and only root may be a reason to skip"
  exit 1
fi
echo "$passed tests passed in a user namespace; $skipped need root outside of any"
