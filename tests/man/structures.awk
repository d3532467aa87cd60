# SPDX-License-Identifier: MIT
# A manual page in, the structures that it shows out, one a line.
/^(typedef )?struct [a-z_]+ [{]$/ { on = 1; text = "" }
/^\.Ed/ && on { on = 0; print text }
on { gsub(/[ \t]+/, " "); sub(/^ /, ""); text = text (text == "" ? "" : " ") $0 }
