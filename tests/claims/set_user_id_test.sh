#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The environment variables of the library count in an ordinary program and not in a set-user-id one.
# usage: set_user_id_test.sh PROGRAM
set -euo pipefail
export LC_ALL=C
[ "$(id -u)" = 0 ] || { echo "only root can make a program set-user-id" && exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cp "$1" "$folder/program"

run() {
  status=0
  output=$(LIBIPQ_QUEUE=nonsense setpriv --reuid=nobody --regid=nogroup --clear-groups "$folder/program" 2>&1) || status=$?
}

failed() {
  printf 'failed: %s: status %s: %s\n' "$1" "$status" "$output"
  exit 1
}

chmod 755 "$folder/program"
run
[ "$status" = 1 ] && [[ $output == LIBIPQ_QUEUE=nonsense:* ]] || failed "an ordinary program does not heed LIBIPQ_QUEUE"
chmod 4755 "$folder/program"
if [[ ,$(findmnt -no OPTIONS -T "$folder"), == *,nosuid,* ]]; then echo "$folder is on a nosuid file system" && exit 77; fi
run
[ "$status" = 0 ] || failed "a set-user-id program heeds LIBIPQ_QUEUE"
echo "it counts for nothing in a set-user-id program"
