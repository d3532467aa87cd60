# SPDX-License-Identifier: MIT
# src/compat/error.cpp in, its messages out with their numbers, one a line.
/std::array texts[{]/ { on = 1; next }
/^[}];/ { on = 0 }
on { gsub(/^ *"|",$/, ""); print number++ " " $0 }
