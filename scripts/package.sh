#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Makes the source tarball and the Debian packages in a folder, from the files that git knows, as they are now.
# usage: package.sh SOURCE FOLDER [--source]    --source: the tarball alone
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022
source=$(realpath "$1") folder=$2 only_source=${3-}
version=$(sed -n 's/^project(ipq VERSION \([0-9.]*\).*/\1/p' "$source/CMakeLists.txt")
name=libipq-$version
orig=libipq_$version.orig.tar.xz

failed() {
  printf 'package: %s\n' "$*" >&2
  exit 1
}

[ -n "$version" ] || failed "CMakeLists.txt has no version"
[[ $(dpkg-parsechangelog -l "$source/packaging/debian/changelog" -S Version) == "$version"-* ]] ||
  failed "packaging/debian/changelog is not about version $version"
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l "$source/packaging/debian/changelog" -S Timestamp)
export SOURCE_DATE_EPOCH

mkdir -p "$folder"
folder=$(realpath "$folder")
rm -rf "${folder:?}/$name" "$folder"/*.deb "$folder"/libipq_*
mkdir "$folder/$name"
cd "$source"
list_files() {
  if [ ! -e .git ]; then
    find . \( -path ./build -o -path ./debian \) -prune -o \( -type f -o -type l \) -printf '%P\0'
    return
  fi
  local strange
  strange=$(git -c safe.directory='*' ls-files --others --exclude-standard)
  [ -z "$strange" ] || failed "git does not know these files; add them, or have them ignored:
$strange"
  git -c safe.directory='*' ls-files -z --cached
}
list_files >"$folder/files"
while IFS= read -r -d '' file; do
  if [ -f "$file" ]; then printf '%s\0' "$file"; fi
done <"$folder/files" | sort -z | tar --null --files-from=- -cf - | tar -xf - -C "$folder/$name"
rm "$folder/files"

cd "$folder"
chmod -R u=rwX,go=rX "$name"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --pax-option=delete=atime,delete=ctime \
  -cJf "$orig" "$name"
if [ "$only_source" = --source ]; then
  rm -r "$name"
  echo "$folder/$orig"
  exit
fi

cp -r "$name/packaging/debian" "$name/debian"
# What the same source was compiled to before is taken again, where there is ccache. Debhelper has a home of its own.
if [ -d /usr/lib/ccache ] && command -v ccache >/dev/null; then
  CCACHE_DIR=$(ccache --get-config cache_dir)
  export CCACHE_DIR PATH=/usr/lib/ccache:$PATH
  unset CCACHE_BASEDIR CCACHE_NOHASHDIR  # what another folder's build put into a file is not in this one's
fi
(cd "$name" && dpkg-buildpackage -us -uc) >build.log 2>&1 || {
  tail -n 60 build.log >&2
  failed "dpkg-buildpackage failed; the whole of it stands in $folder/build.log"
}
# Here the C library checks what dev does not ask it to.
! grep -A 5 -E '^[^ ]+:[0-9]+:[0-9]+: warning: ' build.log || failed "the packages do not build without warnings"
rm -r "$name"
find "$folder" -maxdepth 1 -name '*.deb' | sort
