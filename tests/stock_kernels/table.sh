#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Compares the table in a document with what a run of all kernels has measured, and prints the right one if they differ.
# Usage: table.sh DOCUMENT < RESULTS    RESULTS as ./dev keeps them: series, result, test, reason, with tabs between
set -euo pipefail
here=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")" && pwd)
document=$1
measured=$(awk -F '\t' '
  FILENAME != "-" {
    if (!/^#/ && NF == 2) { feature[++features] = $1; test[features] = $2 }
    next
  }
  !($1 in seen) { seen[$1] = 1; series[++kernels] = $1 }
  { result[$1, $3] = $2 }
  END {
    line = "| |"; rule = "|---|"
    for (k = 1; k <= kernels; ++k) { line = line " Linux " series[k] " |"; rule = rule "---|" }
    print line; print rule
    for (f = 1; f <= features; ++f) {
      line = "| " feature[f] " |"
      for (k = 1; k <= kernels; ++k) {
        found = result[series[k], test[f]]
        line = line " " (found == "passed" ? "yes" : found == "lacking" ? "no" : found == "" ? "not tested" : found) " |"
      }
      print line
    }
  }' "$here/features.tsv" -)
if ! diff <(sed -n '/<!-- measured/,/<!-- end/p' "$document" | grep '^|') - <<<"$measured" >/dev/null; then
  printf '%s does not say what was measured, which is\n%s\n' "${document##*/}" "$measured" >&2
  exit 1
fi
