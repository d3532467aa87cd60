#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the tests in a build that counts lines, and says how many of each room were run. wire, packet, capture and compat
# have to reach 95 %. The lines that were not are listed in uncovered.txt.
# usage: coverage.sh SOURCE BUILD
set -euo pipefail
export LC_ALL=C
source=$(realpath "$1") build=$(realpath "$2")
least=95

# What runs no line of the libraries, or runs them as a user who may not write the counts down.
not_needed='^(abi|arrows|bench|claims|compile_fail|demo|install|kernel\.user_namespace|man|set_user_id|test_all|upgrade|valgrind)'
find "$build" -name '*.gcda' -delete
cd "$build"
rm -f coverage_*.info lcov_*.log
status=0
ctest "-j$(($(nproc) + 1))" --timeout 300 --no-tests=error -E "$not_needed" >coverage_test.log 2>&1 || status=$?
grep 'tests passed' coverage_test.log || { tail -n 40 coverage_test.log >&2 && exit 1; }
[ "$status" = 0 ] || { tail -n 40 coverage_test.log >&2 && exit 1; }

# As many at a time as there are processors; each takes every so many of the folders of a target.
mapfile -t folders < <(find . -type d -path '*/CMakeFiles/*.dir' -prune -exec sh -c 'find "$1" -name "*.gcda" | grep -q .' - {} \; -print | sort)
captured=()
for ((first = 0; first < $(nproc); ++first)); do
  part=()
  for ((each = first; each < ${#folders[@]}; each += $(nproc))); do part+=(--directory "${folders[each]}"); done
  [ ${#part[@]} -gt 0 ] || continue
  lcov --quiet --capture "${part[@]}" --gcov-tool "${GCOV:-gcov}" --base-directory "$source" --no-external \
    --directory "$source" --ignore-errors source,graph --output-file "coverage_$first.info" >"lcov_$first.log" 2>&1 &
  captured+=($!)
done
for each in "${captured[@]}"; do
  wait "$each" || { cat lcov_*.log >&2 && exit 1; }
done

awk -v source="$source/" -v least="$least" -v uncovered=uncovered.txt '
  /^SF:/ {
    file = substr($0, 4)
    if (index(file, source) == 1) file = substr(file, length(source) + 1)
    counted = (file ~ /^src\// || file ~ /^include\/ipq\//) && file !~ /_test\.cpp$|\/scripted_/
    split(file, part, "/")
    room = part[1] == "src" ? part[2] : "include/ipq"
    next
  }
  # A header has its lines once for each unit that includes it.
  counted && /^DA:/ {
    split(substr($0, 4), line, ",")
    place = file ":" line[1]
    if (!(place in hits)) all[room]++
    if (line[2] > 0 && !hits[place]) run[room]++
    hits[place] += line[2]
  }
  END {
    for (place in hits) if (!hits[place]) print place | ("sort -t: -k1,1 -k2,2n >" uncovered)
    printf "%-12s %6s %6s %8s\n", "room", "lines", "run", "covered"
    count = split("wire packet capture compat netlink queue include/ipq", rooms, " ")
    for (i = 1; i <= count; i++) {
      room = rooms[i]
      if (!all[room]) {
        print "no lines of " room " were found"
        failed = 1
        continue
      }
      share = 100 * run[room] / all[room]
      low = i <= 4 && share < least
      printf "%-12s %6d %6d %7.1f %%%s\n", room, all[room], run[room], share, low ? "  less than " least " %" : ""
      if (low) failed = 1
      summary = summary (i == 1 ? "" : ", ") sprintf("%s %.1f %%", room, share)
    }
    print summary
    exit failed
  }' coverage_*.info
