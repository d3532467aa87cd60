#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The environment variables of the library count in an ordinary program and not in a set-user-id one.
# usage: set_user_id_test.sh PROGRAM CAPTURE
set -euo pipefail
export LC_ALL=C
[ "$(id -u)" = 0 ] || { echo "only root can make a program set-user-id" && exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cp "$1" "$folder/program"
chmod 755 "$folder/program"

# run VARIABLE=VALUE
run() {
  local words=()
  [[ $1 != *_IPV6=* ]] || words=(ipv6)
  status=0
  output=$(env "$1" setpriv --reuid=nobody --regid=nogroup --clear-groups "$folder/program" "${words[@]}" 2>&1) ||
    status=$?
}

failed() {
  printf 'failed: %s: status %s: %s\n' "$1" "$status" "$output"
  exit 1
}

settings=(LIBIPQ_{QUEUE,QUEUE_IPV6,MAX_LENGTH,FAIL_OPEN,DEBUG,BATCH,SOURCE}"=nonsense")
for each in "${settings[@]}"; do
  run "$each"
  [ "$status" = 1 ] && [[ $output == "$each":* ]] || failed "an ordinary program does not heed $each"
done
chmod 4755 "$folder/program"
if [[ ,$(findmnt -no OPTIONS -T "$folder"), == *,nosuid,* ]]; then echo "$folder is on a nosuid file system" && exit 77; fi
for each in "${settings[@]}"; do
  run "$each"
  [ "$status" = 0 ] || failed "a set-user-id program heeds $each"
done
# Nor does it write where its caller may not.
run "LIBIPQ_SOURCE=capture:$2,$folder/written"
[ "$status" = 0 ] || failed "a set-user-id program heeds LIBIPQ_SOURCE"
[ ! -e "$folder/written" ] || failed "a set-user-id program has written a file"
echo "they count for nothing in a set-user-id program"
