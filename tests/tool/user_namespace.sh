#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs a test binary as an ordinary user, in the user namespace that it then makes for itself.
# Usage: user_namespace.sh TESTS FILTER. Exit status 77: no user namespaces here, nothing was tested.
set -eu
tests=$1 filter=$2

# The build tree may be closed to the ordinary user.
place=$(mktemp -d "${TMPDIR:-/tmp}/ipq_user_namespace.XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$place"
cp "$tests" "$place/tests"
chmod 755 "$place/tests"

as_user=''
[ "$(id -u)" -ne 0 ] || as_user='setpriv --reuid=65534 --regid=65534 --clear-groups'
status=0
(cd / && IPQ_TEST_USER_NAMESPACE=true $as_user "$place/tests" --gtest_filter="$filter") >"$place/output" 2>&1 || status=$?
count() { grep -c "$1" "$place/output" || [ $? -eq 1 ]; }

total=$(count '^\[ RUN      \]')
passed=$(count '^\[       OK \]')
if [ "$status" -eq 0 ] && [ "$total" -gt 0 ] && [ "$passed" -eq 0 ] &&
  [ "$(count 'no right to make a network namespace')" -gt 0 ]; then
  echo "no user namespaces for ordinary users here"
  exit 77
fi
if [ "$status" -ne 0 ] || [ "$passed" -ne "$total" ] || [ "$total" -eq 0 ]; then
  # Not in gtest's own words for a skipped test, which would make ctest count this run as skipped.
  sed 's/\[  SKIPPED \]/[  skipped ]/' "$place/output"
  echo "exit status $status; of $total tests $passed passed"
  exit 1
fi
echo "$passed tests passed in a user namespace"
