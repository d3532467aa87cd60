# SPDX-License-Identifier: MIT
# A formatted libipq(3) in, the program of its EXAMPLES out: from its first comment to the brace that closes main.
/^[A-Z]/ { on = ($1 == "EXAMPLES") }
on && match($0, /\/\* passer\.c/) { program = 1; indent = RSTART }
program { print }
program && /int main\(/ { in_main = 1 }
in_main && match($0, /}/) && RSTART == indent { program = 0 }
