# SPDX-License-Identifier: MIT
# What the tests of ipq replay and ipq compare begin with: to be sourced.
# shellcheck shell=bash
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

failed() {
  printf 'failed: %s\n' "$*" >&2
  exit 1
}
same() { [ "$2" = "$3" ] || failed "$1: expected $2, but it is $3"; }
# needs TOOL...: without one of them the test is skipped.
needs() {
  local tool
  for tool; do
    command -v "$tool" >/dev/null || {
      echo "skipped: there is no $tool"
      [ "${CI:-}" != true ] || exit 1
      exit 77
    }
  done
}
