#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Enforces what CONTRIBUTING.md calls rules a script can check: who may include whom, and the form of a source file.
# usage: arrows.sh TREE    prints FILE:LINE: what is wrong, and the rule; exit status 1 if anything is
set -euo pipefail
export LC_ALL=C
[ $# = 1 ] || { echo "usage: arrows.sh TREE" >&2 && exit 2; }
cd "$1"

list_files() {
  if [ -e .git ]; then
    git -c safe.directory='*' ls-files --cached --others --exclude-standard
  else
    find . -path ./build -prune -o -type f -print | sed 's|^\./||'
  fi
}

mapfile -t files < <(list_files | grep -E \
  '\.(c|h|cpp|hpp|sh|cmake|in|md|json|[1-9])$|(^|/)CMakeLists\.txt$|^dev$|^\.ci/run$' | sort | while read -r file; do
    [ ! -f "$file" ] || printf './%s\n' "$file"
  done)
[ ${#files[@]} -gt 0 ] || { echo "$1: no sources here" >&2 && exit 2; }

awk '
  # Each room of the tree, the rooms it may include, and what it may include from outside. "std": the C++ standard
  # library; "system": headers of the system and of other libraries; "sockets": those that talk to the kernel; "poll": waiting alone.
  BEGIN {
    rule("include/ipq",    "",                                        "std")
    rule("include/libipq", "",                                        "std system sockets")
    rule("wire",           "include/ipq",                             "std libmnl")
    rule("netlink",        "wire include/ipq",                        "std libmnl system sockets")
    rule("compat",         "netlink wire include/ipq include/libipq", "std system")
    rule("packet",         "include/ipq",                             "std system")
    rule("queue",          "netlink wire include/ipq",                "std system")
    rule("capture",        "packet include/ipq",                      "std system poll")
    rule("tool",           "include/ipq include/libipq",              "std libmnl system sockets")
    rule("examples",       "include/ipq include/libipq",              "std libmnl system sockets")
    rule("bench",          "wire tool include/ipq include/libipq",    "std libmnl system sockets")

    socket_header = "^(sys/(socket|un|poll|epoll|select)|poll|netdb|ifaddrs|(net|netinet|netpacket|arpa)/.*|" \
                    "linux/(netlink|rtnetlink|sock_diag|netfilter/nfnetlink.*))[.]h$"
    poll_header = "^(sys/(poll|epoll)|poll)[.]h$"
    poll_call = "^(poll|ppoll|epoll_wait)$"
    socket_call = "(socket|socketpair|bind|connect|send|sendto|sendmsg|sendmmsg|recv|recvfrom|recvmsg|recvmmsg|" \
                  "setsockopt|getsockopt|getsockname|poll|ppoll|select|pselect|epoll_wait|mnl_socket_[a-z_]+)[ ]*[(]"

    for (i = 1; i < ARGC; i++) known[substr(ARGV[i], 3)] = 1
  }

  function rule(room, rooms, outside) {
    may_include[room] = rooms
    may_use[room] = outside
  }

  function wrong(line, text) {
    printf "%s:%d: %s\n", file, line, text
    errors++
  }

  function has_word(words, word) { return index(" " words " ", " " word " ") > 0 }

  function may_poll(name, pattern) { return has_word(may_use[room], "poll") && name ~ pattern }

  function room_of(path,    part) {
    split(path, part, "/")
    if (part[1] == "src") return part[2]
    if (part[1] == "include") return "include/" part[2]
    return part[1]
  }

  function without_dots(path) {
    while (match(path, /[^\/]+\/\.\.\//)) path = substr(path, 1, RSTART - 1) substr(path, RSTART + RLENGTH)
    gsub(/(^|\/)\.\//, "/", path)
    return path
  }

  # The file of the tree that an include names, or "" for one from outside.
  function resolve(name, quoted,    folder, path, i, n, roots) {
    folder = file
    sub(/[^\/]*$/, "", folder)
    if (quoted && (path = without_dots(folder name)) in known) return path
    n = split("src/ include/ include/libipq/ tool/", roots, " ")
    for (i = 1; i <= n; i++)
      if ((path = without_dots(roots[i] name)) in known) return path
    return ""
  }

  function spelt_out(room,    text) {
    text = may_include[room] " " may_use[room]
    sub(/^ /, "", text)
    sub(/std/, "the standard library", text)
    sub(/system/, "system headers", text)
    sub(/ poll$/, " and those of poll", text)
    return room " may include " text
  }

  function check_include(    name, quoted, path, target, kind) {
    if (!match($0, /[<"][^>"]*[>"]/)) {
      if (is_source) wrong(FNR, "an include whose file a reader cannot see; name the file")
      return
    }
    name = substr($0, RSTART + 1, RLENGTH - 2)
    quoted = substr($0, RSTART, 1) == "\""
    path = resolve(name, quoted)
    if (path != "") {
      target = room_of(path)
      if (!(room in may_include) || target == room || has_word(may_include[room], target)) return
      if (is_test && target == "tests") return
      wrong(FNR, "includes " path "; " spelt_out(room))
      return
    }
    if (!(room in may_include) || is_test) return
    if (quoted) {
      wrong(FNR, "includes \"" name "\", which is not in the tree; write <...> for a file from outside")
      return
    }
    kind = name ~ /^[a-z_]+$/ ? "std" : name ~ /^libmnl\// ? "libmnl" : name ~ socket_header ? "sockets" : "system"
    if (has_word(may_use[room], kind) || may_poll(name, poll_header)) return
    if (kind == "sockets" && is_source) wrong(FNR, "includes <" name ">; sockets belong to src/netlink alone")
    else wrong(FNR, "includes <" name ">; " spelt_out(room))
  }

  # What is left of a line without comments and the text of strings.
  function code_of(line,    start) {
    if (in_comment) {
      if (!(start = index(line, "*/"))) return ""
      line = substr(line, start + 2)
      in_comment = 0
    }
    gsub(/\\./, "", line)
    gsub(/"[^"]*"/, "\"\"", line)
    sub(/\/\/.*/, "", line)
    while (start = index(line, "/*")) {
      rest = substr(line, start + 2)
      line = substr(line, 1, start - 1)
      if (!index(rest, "*/")) {
        in_comment = 1
        break
      }
      line = line " " substr(rest, index(rest, "*/") + 2)
    }
    return line
  }

  # A call: not a member, not a name of another namespace, not a declaration, which has a type before the name.
  function check_calls(code,    before, name, word) {
    while (match(code, socket_call)) {
      before = substr(code, 1, RSTART - 1)
      name = substr(code, RSTART, RLENGTH)
      code = substr(code, RSTART + RLENGTH)
      if (before ~ /[A-Za-z0-9_.~]$|->$/) continue
      if (before ~ /::$/) {
        if (before ~ /[A-Za-z0-9_>]::$/) continue
      } else if (match(before, /[A-Za-z0-9_>&*]+ +$/)) {
        word = substr(before, RSTART)
        sub(/ +$/, "", word)
        if (word !~ /^(return|else|do|&&|&|[*])$/) continue
      }
      sub(/[ ]*[(]$/, "", name)
      if (may_poll(name, poll_call)) continue
      wrong(FNR, "calls " name "(); system calls on sockets belong to src/netlink alone")
    }
  }

  function finish_file() {
    if (file == "") return
    if (is_code && lines > 800) wrong(lines, "has more than 800 lines; split it by noun")
    if (is_header && has_code && !guarded) wrong(1, "has neither #pragma once nor an include guard")
  }

  FNR == 1 {
    finish_file()
    file = substr(FILENAME, 3)
    seen[file] = 1
    is_header = file ~ /\.(h|hpp)$/
    is_code = file ~ /\.(c|h|cpp|hpp|sh|cmake|in|[1-9])$|(^|\/)CMakeLists\.txt$|^dev$|^\.ci\/run$/
    is_c = file ~ /\.(c|h|cpp|hpp)$/
    is_test = file ~ /_test\.(c|cpp)$/
    is_source = file ~ /^(src|include)\//
    room = room_of(file)
    in_comment = guarded = has_code = lines = 0
    guard = ""
    files++
    if (file ~ /^src\// && is_c && !(room in may_include))
      wrong(1, "is in no room that has arrows; give the room a rule in tests/arrows/arrows.sh")
  }
  { lines = FNR }
  is_code && (FNR == 1 && !/^#!/ || FNR == 2 && script) && !/SPDX-License-Identifier: MIT/ {
    wrong(FNR, "does not begin with SPDX-License-Identifier: MIT")
  }
  { script = FNR == 1 && /^#!/ }
  /\/(home|work|Users|root)\/[A-Za-z]/ { wrong(FNR, "names a folder of one machine") }
  !is_c { next }
  { code = code_of($0) }
  code ~ /^[ \t]*#[ \t]*include/ { check_include(); next }
  code !~ /[^ \t]/ { next }
  is_header && code ~ /^#pragma once/ { guarded = 1 }
  is_header && code ~ /^#ifndef/ && !has_code { guard = $2 }
  is_header && guard != "" && code ~ /^#define/ && $2 == guard { guarded = 1 }
  { has_code = 1 }
  is_source && !is_test && !has_word(may_use[room], "sockets") { check_calls(code) }

  END {
    finish_file()
    for (name in known) if (!(name in seen)) {
      file = name
      wrong(1, "is empty")
    }
    if (errors) exit 1
    printf "%d files: the arrows hold\n", files
  }' "${files[@]}"
