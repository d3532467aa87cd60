#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The reference of the C++ library is made from its headers without a warning, and has every one of them.
# usage: reference_test.sh SOURCE
set -euo pipefail
command -v doxygen >/dev/null || {
  echo "skipped: doxygen is not installed"
  [ "${CI:-}" != true ] || exit 1
  exit 77
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

failed() {
  printf 'failed: %s\n' "$*" >&2
  exit 1
}

cd "$1"
said=$(IPQ_DOCS_OUTPUT=$folder doxygen docs/Doxyfile 2>&1) || failed "$said"
[ -z "$said" ] || failed "$said"
for header in include/ipq/*.hpp; do
  name=$(basename "$header" .hpp)
  [ -s "$folder/${name//_/__}_8hpp.html" ] || failed "the reference has no page of $header"
done
for page in classipq_1_1queue classipq_1_1workers structipq_1_1packet classipq_1_1packet__editor; do
  [ -s "$folder/$page.html" ] || failed "the reference has no $page"
done
grep -q 'First program' "$folder/index.html" || failed "the guide is not the first page"

# It would notice.
mkdir -p "$folder/spoilt/include/ipq" "$folder/spoilt/docs"
cp docs/Doxyfile docs/*.md "$folder/spoilt/docs"
cat >"$folder/spoilt/include/ipq/wrong.hpp" <<'END'
/// A function. @param nothing there is none of this name
void wrong(int something);
END
cd "$folder/spoilt"
! IPQ_DOCS_OUTPUT=$folder/out doxygen docs/Doxyfile >/dev/null 2>&1 || failed "a wrong comment goes unnoticed"
echo "the reference has no warnings"
