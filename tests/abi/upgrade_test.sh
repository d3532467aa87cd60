#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A program that was linked against another library of the soname libipq.so.0 runs with ours, unchanged: no relinking,
# every function bound at once, real packets in a private network namespace.
# usage: upgrade_test.sh CC LIBRARY
set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
cc=$1 library=$2
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

failed() {
  cat "$folder/output" 2>/dev/null || true
  printf 'failed: %s\n' "$*"
  exit 1
}

mkdir "$folder/old" "$folder/new"
"$cc" -shared -fPIC -Wl,-soname,libipq.so.0 -o "$folder/old/libipq.so.0" "$here/old_library.c"
"$cc" -o "$folder/program" "$here/old_program.c" "$folder/old/libipq.so.0"
cp -L "$library" "$folder/new/libipq.so.0"
[ "$(nm -D --undefined-only "$folder/program" | grep -c ' ipq_')" = 11 ] ||
  failed "the program does not use all eleven functions"

if LD_LIBRARY_PATH=$folder/old "$folder/program" >"$folder/output" 2>&1; then failed "the old library answers"; fi
grep -qx 'create: the old library' "$folder/output" || failed "the program does not run with the old library"

inside='
ip link set lo up || exit 77
for iptables in iptables-legacy iptables; do
  "$iptables" -A OUTPUT -p udp -j NFQUEUE --queue-num 0 2>/dev/null && break
  [ "$iptables" = iptables ] && echo "no iptables takes the rule" && exit 77
done
LD_BIND_NOW=1 LD_LIBRARY_PATH=$1/new exec "$1/program"'
flags=(--net)
[ "$(id -u)" = 0 ] || flags+=(--user --map-root-user)
unshare "${flags[@]}" true 2>/dev/null || { echo "no private network namespace here" && exit 77; }
status=0
XTABLES_LOCKFILE=$folder/lock unshare "${flags[@]}" sh -c "$inside" sh "$folder" >"$folder/output" 2>&1 || status=$?
[ "$status" != 77 ] || { cat "$folder/output" && exit 77; }
[ "$status" = 0 ] || failed "the program ends with status $status"
cat >"$folder/expected" <<'END'
nothing waits: Timeout
hook 3 out lo, 31 bytes, the last three: old
refused: No such file or directory
ctl: 1
END
diff "$folder/expected" "$folder/output" || failed "the program says something else"
echo "the old program works"
