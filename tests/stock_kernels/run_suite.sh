#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# Runs one suite inside the virtual machine: the one in a line of /share/order. Its log ends with its exit status.
# Usage: run_suite LINE
# shellcheck shell=dash
tab=$(printf '\t')
sed -n "$1p" /share/order | {
  IFS=$tab read -r suite _ command
  set -a
  . /share/environment
  log=/share/$(echo "$suite" | tr / _).log
  timeout -k 5 1200 sh -c "$command" >"$log" 2>&1
  echo "exit status $?" >>"$log"
}
