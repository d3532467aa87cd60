// SPDX-License-Identifier: MIT
// ipq top: the queues as they are now, with rates, in a terminal.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <string>

#include "command_line.hpp"
#include "commands.hpp"
#include "ipq/status.hpp"
#include "printable.hpp"
#include "queue_report.hpp"
#include "rates.hpp"
#include "terminal.hpp"

namespace tool {
namespace {

using clock = std::chrono::steady_clock;

/// As many columns as fit; escape sequences are added outside of it.
std::string cut(std::string text, int columns) {
  if (text.size() > static_cast<std::size_t>(columns)) text.resize(static_cast<std::size_t>(columns));
  return text;
}

std::string draw(const std::vector<ipq::queue_status>& queues, const rate_meter& rates, terminal::size size,
                 bool colours) {
  const std::string_view bold = colours ? "\033[1m" : "", red = colours ? "\033[31m" : "",
                         green = colours ? "\033[32m" : "", plain = colours ? "\033[0m" : "";
  const auto now = fmt::localtime(std::time(nullptr));
  std::string text =
      cut(fmt::format("ipq top  {:%H:%M:%S}  {} queue{}   q quits", now, queues.size(), queues.size() == 1 ? "" : "s"),
          size.columns);
  constexpr int fixed = 67;
  text += fmt::format("\n\n{}{}{}\n", bold,
                      cut(fmt::format("{:>5}  {:<22}  {:>8}  {:>7}  {:>7}  {:>9}  {}", "QUEUE", "OWNER", "WAITING",
                                      "PKT/S", "LOST/S", "LOST", "PKT/S SO FAR"),
                          size.columns),
                      plain);
  int rows = size.rows - 3;
  for (const auto& queue : queues) {
    if (rows-- <= 1) {
      text += "...\n";
      break;
    }
    const auto* const rate = rates.of(queue.number);
    const auto lost = static_cast<std::uint64_t>(queue.lost_queue_full) + queue.lost_no_buffer;
    const auto owner = queue.pid == 0 ? fmt::format("port {}", queue.port_id)
                                      : fmt::format("{} ({})", printable(queue.command), queue.pid);
    text += lost == 0 ? std::string_view() : red;
    text += cut(fmt::format("{:>5}  {:<22}  {:>8}  {:>7}  {:>7}  {:>9}  ", queue.number, owner.substr(0, 22),
                            queue.waiting, rate == nullptr ? "-" : short_number(rate->packets),
                            rate == nullptr ? "-" : short_number(rate->lost), lost),
                size.columns);
    text += lost == 0 ? std::string_view() : plain;
    if (rate != nullptr && size.columns > fixed) {
      text +=
          fmt::format("{}{}{}", green, sparkline(rate->history, static_cast<std::size_t>(size.columns - fixed)), plain);
    }
    text += "\n";
  }
  if (queues.empty()) text += "There is no queue.\n";
  return text;
}

}  // namespace

int top_main(int argc, char** argv) {
  double interval = 1;
  int count = 0;
  command_line line("top", "Shows the queues of the network namespace live, with rates. The key q ends it.");
  line.add_option("--interval", "SECONDS", interval, decimal_between(0.05, 3600), "between two looks; without it 1");
  line.add_option("--count", "N", count, number_between(1, 1'000'000'000), "end after so many looks");
  if (const auto end = line.parse(argc, argv)) return *end;

  // First the failure that would flash by on the other screen.
  if (const auto queues = ipq::read_queue_status(); !queues) return report("top", queues.error());
  auto screen = terminal::take("ipq status");
  if (!screen) return report("top", screen.error());
  const bool colours = has_colours(stdout);
  rate_meter rates;
  std::optional<ipq::error> cause;
  auto next = clock::now();
  for (int looks = 1;; ++looks) {
    const auto queues = ipq::read_queue_status();
    if (!queues) {
      cause = queues.error();
      break;
    }
    rates.look(*queues, clock::now());
    screen->show(draw(*queues, rates, screen->measure(), colours));
    if (looks == count) break;
    next += std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(interval));
    int key = 0;
    while (key == 0 && clock::now() < next) {
      key = screen->wait_key(next);
      if (key == 0) screen->show(draw(*queues, rates, screen->measure(), colours));
    }
    if (key == 'q' || key == 'Q' || key == -1) break;
  }
  if (!cause) return done;
  { const auto given_back = *std::move(screen); }
  return report("top", *cause);
}

}  // namespace tool
