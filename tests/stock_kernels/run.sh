#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the kernel tests of a build tree on one of Debian's own kernels, in a virtual machine.
# Usage: run.sh BUILD-TREE SERIES FOLDER FILTER LONG    SERIES: 6.1; FOLDER gets results.xml; FILTER as --gtest_filter;
# LONG: an expression for what takes long and runs where FILTER is '*': faults, and the ways in which binaries run once
# more, user_namespace and batched
set -euo pipefail
here=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")" && pwd)
source_tree=$(realpath "$here/../..")
build_tree=$(realpath "$1") series=$2 folder=$3 filter=$4 long=$5

fail() {
  echo "$*" >&2
  exit 1
}

# The newest plain image; there are also ones for clouds, for real time, and without a signature.
package=$(apt-cache pkgnames "linux-image-$series." | grep -E '^linux-image-[0-9.]+([-+][0-9a-z]+)?-amd64$' |
  sort -V | tail -n 1 || true)
[ -n "$package" ] || fail "apt offers no linux-image-$series.*-amd64, which is a package of Debian"
# By its version, too: a newer revision keeps the name.
version=$(apt-cache show --no-all-versions "$package" | sed -n 's/^Version: //p')
kernel=$(dirname "$folder")/${package}_$version
if ! [ -e "$kernel/vmlinuz" ]; then
  echo "  fetching $package $version"
  "$here/kernel.sh" "$package" "$kernel"
fi

mkdir -p "$folder"
tests=$build_tree/tests
declare -A binaries=([kernel]=$tests/kernel/kernel_tests [netlink]=$tests/netlink_kernel_tests
  [cpp]=$tests/cpp_kernel_tests [tool]=$tests/tool/firewall_kernel_tests [stock]=$tests/stock_kernels/stock_kernel_tests
  [command]=$tests/tool/tool_tests [faults]=$tests/faults/fault_tests)
"$here/programs.sh" "$folder/initramfs.cpio" "${binaries[@]}" "$build_tree/tool/ipq"
cat "$kernel/modules.cpio" >>"$folder/initramfs.cpio"

# whole NAME COMMAND: a binary once more in another way, of which the exit status is the result.
whole() {
  if { [ "$filter" = '*' ] && [[ $1 =~ \.($long)$ ]]; } || [[ ":$filter:" == *":$1:"* ]]; then printf '%s\t-\t%s\n' "$1" "$2"; fi
}
# By dash: the shell of busybox takes its own setpriv for the real one.
as_user="dash $source_tree/tests/kernel/user_namespace.sh"
with_library="$build_tree/libipq.so.0 libipq.so.0"
waiting_for_verdicts=$(paste -sd : "$source_tree/tests/kernel/waiting_for_verdicts.txt")

order=$folder/order
{
  whole kernel.user_namespace "$as_user ${binaries[kernel]} $with_library"
  whole tool.user_namespace "$as_user --all ${binaries[tool]}"
  whole kernel.batched "env LIBIPQ_BATCH=1 ${binaries[kernel]} --gtest_filter=-$waiting_for_verdicts"
  for prefix in stock netlink cpp tool command faults kernel; do
    [ "$prefix $filter" != 'faults *' ] || [[ faults =~ ^($long)$ ]] || continue
    "$here/list_tests.sh" "$prefix" "${binaries[$prefix]}" "$filter"
  done
} >"$order"
# In place of this shell, so that whoever ends it ends the machine.
exec "$here/boot.sh" "$kernel/vmlinuz" "$folder/initramfs.cpio" "$folder" 600 "$series" <"$order"
