// SPDX-License-Identifier: MIT
// What watch, accept and drop do with packets: a verdict for those that match a filter and one for the others, and a
// line for each that matches.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipq/interfaces.hpp"
#include "live.hpp"
#include "output.hpp"
#include "print.hpp"
#include "rules/filter.hpp"

namespace tool {

class command_line;

/// How packets that match are shown.
struct show {
  bool lines = true;  ///< false: not at all
  bool json = false;
  bool verdict = false;  ///< tell the verdict with the packet
  print_style style;
};

struct filter_job {
  std::optional<ipq::tool::rules::filter> filter;  ///< none: everything matches
  ipq::verdict matching = ipq::verdict::accept();
  ipq::verdict others = ipq::verdict::accept();
  show how;
};

/// The words of a filter on a command line as one. Failure: wrong_usage, with the filter and a caret.
[[nodiscard]] outcome<std::optional<ipq::tool::rules::filter>> compile_filter(const std::vector<std::string>& words);

/// Asks for the interfaces' names while sockets may still be opened. For one thread: whoever finds another asking opens
/// a socket of his own, which is forbidden by then.
[[nodiscard]] interface_names make_interface_names();

/// Opens the queues, serves them and sums up: the whole of such a command. Returns its exit status.
int run_filter(const char* command, const live_options& options, const filter_job& job);

/// Adds -x, -t and --json.
void add_show_options(command_line& to, show& how);

}  // namespace tool
