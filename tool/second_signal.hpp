// SPDX-License-Identifier: MIT
// Ctrl-C lets a command end in order. Where that takes too long, as a pipe that nobody reads holds it up, another one
// ends it as it is.
#pragma once

namespace tool {

/// Notes that the end is asked for. Whether it was before: a signal so soon behind the first is the same wish, as
/// timeout(1) signals a process, and then its group with it. Safe in a handler of signals.
[[nodiscard]] bool is_second_signal() noexcept;

/// Whether that was ever noted.
[[nodiscard]] bool is_end_asked_for() noexcept;

/// Ends the process with a word about it, or as much of that as finds room: what holds the process up may be the very
/// terminal. Safe in a handler of signals.
[[noreturn]] void end_by_second_signal() noexcept;

/// A handler of signals: notes the first, and the second ends the process.
extern "C" void end_at_second_signal(int signal);

}  // namespace tool
