#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Shows that check.sh finds what it looks for: each fault is planted in a copy of the pages and must be reported.
# self_check.sh PAGES SOURCE CC
set -euo pipefail

pages=$1 source=$2 cc=$3
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

if ! command -v mandoc >/dev/null; then
  echo 'mandoc is missing: apt-get install mandoc'
  if [[ ${CI:-} == true ]]; then exit 1; fi
  exit 77
fi

# plant CHECK REPORT COMMAND...: runs COMMAND in a copy of the pages; CHECK must fail and say REPORT.
plant() {
  local check=$1 report=$2 status=0
  shift 2
  rm -rf "$work/pages"
  cp -a "$pages" "$work/pages"
  (cd "$work/pages" && "$@")
  if diff -r --no-dereference "$pages" "$work/pages" >"$work/changes"; then
    echo "nothing was planted by: $*"
    failures=$((failures + 1))
    return
  fi
  bash "$here/check.sh" "$check" "$work/pages" "$source" "$cc" >"$work/said" 2>&1 || status=$?
  if [[ $status -ne 1 ]] || ! grep -qF -- "$report" "$work/said"; then
    echo "$check ended with $status and did not say '$report' after: $*"
    cat "$work/said"
    failures=$((failures + 1))
  fi
}

append() { printf '%s\n' "${@:2}" >>"$1"; }

plant lint 'skipping unknown macro' append ipq_read.3 .Nosuch
plant lint 'input text line longer' append ipq_read.3 "$(printf 'word %.0s' {1..30})"
plant functions 'no manual page for the exported function: ipq_perror' rm ipq_perror.3
plant functions 'a function that is not exported: ipq_close' cp ipq_ctl.3 ipq_close.3
plant functions 'does not mention: ipq_ctl' sed -i '/^\.Xr ipq_ctl/d' libipq.3
plant functions 'NAME does not have ipq_get_msgerr' sed -i '/^\.Nm ipq_get_msgerr/d' ipq_message_type.3
plant functions 'ipq_read.3: SYNOPSIS does not have: ssize_t ipq_read(' sed -i 's/^\.Ft ssize_t/.Ft int/' ipq_read.3
plant functions 'ipq_set_vwmark.3: SYNOPSIS' sed -i 's/"ipq_id_t nfmark"/"unsigned long nfmark"/' ipq_set_verdict.3
plant functions 'ipq_set_mode.3: SYNOPSIS' sed -i '/^\.Fa "size_t range"/d' ipq_set_mode.3
plant functions 'ipq_get_packet.3: SYNOPSIS' ln -sf ipq_read.3 ipq_get_packet.3
plant structures 'ipq_get_status.3: differs' sed -i 's/uint64_t refused/uint32_t refused/' ipq_get_status.3
plant structures 'structures are shown' sed -i 's/^struct ipq_stats {/struct {/' ipq_get_status.3
plant messages 'does not have: 15 Time out' sed -i 's/"Timeout"/"Time out"/' libipq.3
plant messages 'does not list the number: 17' sed -i '/^\.It 17 /d' libipq.3
plant environment 'does not describe the variable: LIBIPQ_DEBUG' sed -i '/^\.It Ev LIBIPQ_DEBUG/d' libipq.3
plant environment 'does not read: LIBIPQ_COLOUR' sed -i 's/^\.It Ev LIBIPQ_DEBUG/&\n.It Ev LIBIPQ_COLOUR/' libipq.3
plant references 'refers to ipq_close(3)' append ipq_read.3 '.Xr ipq_close 3'
plant references 'refers to libipq_moving(7)' rm libipq_moving.7
plant references 'links to nothing' ln -sf nowhere.3 ipq_perror.3
plant example 'does not compile as c11' sed -i 's/sizeof(buf), 0)/sizeof(buf))/' libipq.3
plant example 'does not compile as gnu89' sed -i 's/while (\(ipq_read.*\)) {/for (int n = 1; n; n = \1) {/' libipq.3
plant example 'has no passer.c' sed -i '/^\/\* passer.c/d' libipq.3
plant example 'ipq_read.3: EXAMPLES has none of ipq_read' sed -i '/^\.Sh EXAMPLES/,/^\.Ed/d' ipq_read.3
plant example 'ipq_set_vwmark.3: EXAMPLES has none of' sed -i '/^ipq_set_vwmark(/d' ipq_set_verdict.3
plant example 'do not compile as c11: ipq_get_status.3:' sed -i 's/&stats, sizeof stats/\&stats/' ipq_get_status.3
plant example 'do not compile as gnu89: ipq_read.3:' sed -i 's/^while ((.*/for (int n = 0; n < 9; n++) {/' ipq_read.3
plant example 'do not compile as c11: ipq_message_type.3:' sed -i 's/\\en"/\\n"/' ipq_message_type.3

[[ $failures -eq 0 ]] || { echo "$failures faults were not found" && exit 1; }
