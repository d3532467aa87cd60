# SPDX-License-Identifier: MIT
# Turns the order of boot.sh and the logs of its suites into JUnit's XML, in the shape that ctest gives it.
function escaped(text) {
  gsub(/&/, "\\&amp;", text); gsub(/</, "\\&lt;", text); gsub(/>/, "\\&gt;", text); gsub(/"/, "\\&quot;", text)
  gsub(/[^\t -~]/, "?", text)
  return text
}

function report(test, status, text) {
  print "\t<testcase name=\"" escaped(test) "\" status=\"" (status == "skipped" ? "notrun" : status) "\">"
  if (status == "fail") print "\t\t<failure message=\"\"/>"
  if (status == "skipped") print "\t\t<skipped message=\"SKIP_REGULAR_EXPRESSION_MATCHED\"/>"
  print "\t\t<system-out>" text "</system-out>"
  print "\t</testcase>"
}

function end_of(file, line, lines, n, first, text) {
  while ((getline line < file) > 0) lines[++n] = line
  close(file)
  first = n > 40 ? n - 39 : 1
  for (; first <= n; ++first) text = text escaped(lines[first]) "\n"
  return text
}

# Linux 6.1 warns of itself when a table goes away while its packets wait.
function look_for_complaints(file, line) {
  while ((getline line < file) > 0) {
    sub(/\r$/, "", line)
    if (line !~ /(^|[^A-Z])BUG[: ]|WARNING:|Oops|invalid opcode|general protection|refcount_t|unregister_netdevice: waiting/) continue
    if (!(series == "6.1" && line ~ /WARNING: .* nf_reinject/) && !told[line]++) complaints = complaints escaped(line) "\n"
  }
  close(file)
}

BEGIN {
  FS = "\t"
  print "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
  print "<testsuite>"
  report("boot", ended == "" ? "run" : "fail", ended == "" ? "" : escaped(ended) "\n" end_of(console))
  if (ended == "") {
    look_for_complaints(share "/dmesg")
    look_for_complaints(console)  # which has also what the kernel has no room for any more
    report("kernel_log", complaints == "" ? "run" : "fail", complaints)
  }
}

{
  log_name = $1
  gsub("/", "_", log_name)
  log_name = share "/" log_name ".log"
  prefix = $1
  sub(/\..*/, "", prefix)
  delete status; delete text
  exit_status = test = all = ""
  while ((getline line < log_name) > 0) {
    if (line ~ /^\[ RUN      \] /) {
      test = prefix "." substr(line, 14)
      text[test] = ""
    } else if (line ~ /^\[       OK \] .* ms\)$/) {
      status[test] = "run"; test = ""
    } else if (line ~ /^\[  FAILED  \] .* ms\)$/) {
      status[test] = "fail"; test = ""
    } else if (line ~ /^\[  SKIPPED \] .* ms\)$/) {
      status[test] = "skipped"; test = ""
    } else if (line ~ /^exit status [0-9]+$/) {
      exit_status = substr(line, 13)
    } else if (test != "") {
      text[test] = text[test] escaped(line) "\n"
    }
    all = all escaped(line) "\n"
  }
  close(log_name)
  if ($2 == "-") {
    report($1, exit_status == "0" ? "run" : "fail", all)
    next
  }
  failures = 0
  count = split($2, tests, ":")
  for (i = 1; i <= count; ++i) {
    name = tests[i]
    if (!(name in status)) {
      status[name] = "fail"
      became = name in text ? "did not end" : "did not run"
      text[name] = text[name] became "; exit status " exit_status "\n"
    }
    if (status[name] == "fail") ++failures
    report(name, status[name], text[name])
  }
  if (exit_status != "0" && failures == 0) report($1, "fail", "exit status " exit_status "\n" all)
}

END { print "</testsuite>" }
