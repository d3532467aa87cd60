#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Prints what boot.sh is to run of a gtest binary, a line for each suite: PREFIX.SUITE, its tests, a command.
# Usage: list_tests.sh PREFIX BINARY FILTER
set -euo pipefail
prefix=$1 binary=$2 filter=$3
"$binary" --gtest_list_tests --gtest_filter="$filter" | awk -v prefix="$prefix" -v binary="$binary" '
  function end_suite() {
    if (tests != "") print prefix "." suite "\t" tests "\t" binary " --gtest_filter=" selection
    tests = selection = ""
  }
  { sub(/ *#.*/, "") }
  /^[^ ].*\.$/ { end_suite(); suite = substr($0, 1, length($0) - 1); next }
  /^  / {
    test = suite "." substr($0, 3)
    tests = tests (tests == "" ? "" : ":") prefix "." test
    selection = selection (selection == "" ? "" : ":") test
  }
  END { end_suite() }'
