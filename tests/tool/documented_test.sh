#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# ipq(1) and the completion know every command and option that the command knows, and no other; and the examples of the
# page and of the README work, in network namespaces of their own. usage: documented_test.sh IPQ SOURCE UNIT
set -u
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
ipq=$1 readme=$2/README.md page=$2/docs/man/ipq.1 completion=$2/packaging/completion/ipq unit=$3
faults=0 left_out=

fault() {
  printf '%s\n' "$*"
  faults=$((faults + 1))
}

# Long and short options in a help text.
options_of_help() { sed -n 's/^  \(-[-a-z,]*\).*/\1/p' | tr ',' '\n' | sort -u; }

# Options that a page tells of, anywhere.
options_of_page() { grep -o 'Fl [\\a-z-]*' "$1" | sed 's/Fl /-/; s/\\//g' | sort -u; }
page_options=$(options_of_page "$page")
# shellcheck source=/dev/null
source "$completion"

# complete WORD...: what the completion offers for the last word.
offered() {
  COMP_WORDS=("$@")
  COMP_CWORD=$(($# - 1))
  _ipq
  printf '%s\n' "${COMPREPLY[@]}" | grep -v '^$' | sort -u
}

commands=$("$ipq" --help | sed -n 's/^  \([a-z]*\)  *.*/\1/p' | sort)
[ -n "$commands" ] || { echo 'ipq --help lists no command'; exit 1; }
[ "$(offered ipq '' | grep -v '^-')" = "$commands" ] || fault "the completion offers other commands: $(offered ipq '')"
known=$'-h\n--help\n--version'
for command in $commands; do
  grep -q "^\.Cm .*\<$command\>" "$page" || fault "ipq.1 has no command $command"
  options=$("$ipq" "$command" --help | options_of_help)
  known+=$'\n'$options
  own=$page_options
  [ ! -f "${page%.1}-$command.1" ] || own+=$'\n'$(options_of_page "${page%.1}-$command.1")
  for option in $options; do
    grep -qxF -- "$option" <<<"$own" || [ "$option" = -h ] || fault "ipq.1 does not have ipq $command $option"
  done
  [ "$(offered ipq "$command" -)" = "$options" ] ||
    fault "ipq $command: the completion differs from --help: $(diff <(echo "$options") <(offered ipq "$command" -))"
done
for option in $page_options; do
  grep -qxF -- "$option" <<<"$known" || fault "ipq.1 has $option, which no command knows"
done
for word in $(offered ipq help ''); do
  "$ipq" help "$word" >/dev/null || fault "the completion offers ipq help $word, which fails"
done
[ "$(offered ipq help che)" = check ] || fault 'the completion does not complete ipq help che'
[ "$(offered ipq drop --else a)" = accept ] || fault 'the completion does not complete --else a'
[ "$(offered ipq watch --fail '')" = $'closed\nopen' ] || fault 'the completion does not complete --fail'
[ "$(offered ipq replay --hook post)" = postrouting ] || fault 'the completion does not complete --hook'
complete -p ipq | grep -q -- '-o default' || fault 'the completion does not go on with files'
[ "$(offered ipq watch --select post)" = postrouting ] || fault 'the completion does not complete --select'

# Exit statuses of the page are those of --help.
for status in 0 1 2 3 4 5; do
  grep -q "^\.It $status\$" "$page" || fault "ipq.1 does not have the exit status $status"
done

if command -v systemd-analyze >/dev/null; then
  complaints() { { systemd-analyze verify "$1" 2>&1 || true; } | grep -v -e 'is not executable' -e "Command 'man " || true; }
  said=$(complaints "$unit")
  [ -z "$said" ] || fault "ipq@.service: $said"
  damaged=$(mktemp -d)
  sed 's/^ExecStart=/&not-absolute/' "$unit" >"$damaged/ipq@.service"
  [ -n "$(complaints "$damaged/ipq@.service")" ] || fault 'systemd-analyze finds nothing in a unit that is damaged'
  rm -r "$damaged"
else
  left_out='systemd-analyze is not installed: ipq@.service is not verified'
fi

# ---- the examples

inside=(unshare --net)
[ "$(id -u)" = 0 ] || inside=(unshare --user --map-root-user --net)
if ! "${inside[@]}" true 2>/dev/null; then
  echo 'no private network namespace here: the examples are not tried'
  [ "$faults" = 0 ] && exit 77
  exit 1
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
ln -s "$ipq" "$folder/ipq"
examples=0
while IFS= read -r line; do
  examples=$((examples + 1))
  : >"$folder/output"
  # Most go on until they are told to end.
  # shellcheck disable=SC2016
  PATH="$folder:$PATH" "${inside[@]}" sh -c 'cd "$2" && ip link set lo up; exec bash -c "exec $1"' sh "$line" "$(dirname "$readme")" >"$folder/output" 2>&1 &
  pid=$!
  for _ in $(seq 300); do
    kill -0 "$pid" 2>/dev/null || break
    ! grep -q ': serving queue' "$folder/output" || break
    sleep 0.1
  done
  kill -TERM "$pid" 2>/dev/null
  wait "$pid"
  status=$?
  [ "$status" = 0 ] || fault "example '$line' ends with $status: $(cat "$folder/output")"
  ! grep -q ': serving queue' "$folder/output" || grep -q 'received, .* accepted' "$folder/output" ||
    fault "example '$line' sums nothing up: $(cat "$folder/output")"
done < <(sed -n '/^\.Sh EXAMPLES/,/^\.Sh SEE/s/^\.Dl [#$] //p' "$page"
  sed -n '/^## From the shell/,/^ipq(1)/s/^    \(sudo \)\?\(ipq .*\)/\2/p' "$readme")
[ "$examples" -ge 10 ] || fault "only $examples examples were found"

[ "$faults" = 0 ] || exit 1
[ -z "$left_out" ] || { echo "$left_out" && exit 77; }
echo "$(wc -w <<<"$commands") commands, $examples examples"
