// SPDX-License-Identifier: MIT
#include "queue_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "printable.hpp"

namespace tool {
namespace {

std::string numbers_of(std::uint16_t first, std::uint16_t last) {
  return first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last);
}

std::string owner_of(const ipq::queue_status& queue) {
  // A process in another pid namespace, or one that may not be looked at, is known by its socket alone.
  if (queue.pid == 0) return fmt::format("port {}", queue.port_id);
  return fmt::format("{} (pid {})", printable(queue.command), queue.pid);
}

std::string words_of(const firewall::feed& from) {
  return fmt::format("{} {}: {}", from.by, from.place, printable(from.rule));
}

/// A label's value: backslash, quote and newline are escaped, and what is no UTF-8 of one byte is left out.
std::string label(std::string_view text) {
  std::string made;
  for (const char c : printable(text)) {
    if (c == '\\' || c == '"') made += '\\';
    made += c;
  }
  return made;
}

}  // namespace

std::vector<queue_report::unserved_feed> queue_report::unserved() const {
  std::vector<std::uint16_t> served;
  served.reserve(queues.size());
  for (const auto& queue : queues) served.push_back(queue.number);
  std::vector<unserved_feed> found;
  for (const auto& each : feeds) {
    for (const auto& numbers : firewall::unserved(each, served)) found.push_back({&each, numbers});
  }
  return found;
}

outcome<queue_report> make_queue_report() {
  auto queues = ipq::read_queue_status();
  if (!queues) return std::unexpected(queues.error());
  auto feeds = firewall::list_feeds();
  if (!feeds) return std::unexpected(feeds.error());
  return queue_report{*std::move(queues), *std::move(feeds)};
}

std::string to_text(const queue_report& report, bool colours) {
  const std::string_view bold = colours ? "\033[1m" : "", red = colours ? "\033[31m" : "",
                         dim = colours ? "\033[2m" : "", plain = colours ? "\033[0m" : "";
  const auto open = report.unserved();
  if (report.queues.empty() && open.empty()) return "There is no queue, and no rule that feeds one.\n";
  std::size_t width = 8;
  for (const auto& queue : report.queues) width = std::max(width, owner_of(queue).size());
  std::string text = fmt::format("{}QUEUE  {:<{}}  MODE      RANGE  WAITING  LOST:FULL  LOST:BUFFER  LAST-ID{}\n", bold,
                                 "OWNER", width, plain);
  for (const auto& queue : report.queues) {
    const bool loses = queue.lost_queue_full != 0 || queue.lost_no_buffer != 0;
    text += fmt::format("{:>5}  {:<{}}  {:<8}  {:>5}  {:>7}  {}{:>9}  {:>11}{}  {:>7}\n", queue.number, owner_of(queue),
                        width, to_string(queue.mode), queue.copy_range, queue.waiting, loses ? red : "",
                        queue.lost_queue_full, queue.lost_no_buffer, loses ? plain : "", queue.last_id);
    bool fed = false;
    for (const auto& each : report.feeds) {
      if (!each.includes(queue.number)) continue;
      text += fmt::format("       {}fed by {}{}\n", dim, words_of(each), plain);
      fed = true;
    }
    if (!fed) text += fmt::format("       {}no rule feeds it{}\n", dim, plain);
  }
  for (const auto& each : open) {
    text += fmt::format("{:>5}  {}nobody: packets {}{}\n       {}fed by {}{}\n",
                        numbers_of(each.numbers.first, each.numbers.last), red,
                        each.from->bypass ? "pass (bypass)" : "are dropped", plain, dim, words_of(*each.from), plain);
  }
  return text;
}

std::string to_json(const queue_report& report, bool in_one_line) {
  using nlohmann::json;
  const auto object_of = [](const firewall::feed& from) {
    return json{{"by", from.by},       {"place", from.place}, {"rule", from.rule},
                {"first", from.first}, {"last", from.last},   {"bypass", from.bypass}};
  };
  json queues = json::array(), open = json::array();
  for (const auto& queue : report.queues) {
    json fed_by = json::array();
    for (const auto& each : report.feeds) {
      if (each.includes(queue.number)) fed_by.push_back(object_of(each));
    }
    queues.push_back({{"number", queue.number},
                      {"port_id", queue.port_id},
                      {"pid", queue.pid == 0 ? json() : json(queue.pid)},
                      {"command", queue.pid == 0 ? json() : json(queue.command)},
                      {"mode", to_string(queue.mode)},
                      {"copy_range", queue.copy_range},
                      {"waiting", queue.waiting},
                      {"lost_queue_full", queue.lost_queue_full},
                      {"lost_no_buffer", queue.lost_no_buffer},
                      {"last_id", queue.last_id},
                      {"fed_by", fed_by}});
  }
  for (const auto& each : report.unserved()) {
    open.push_back({{"first", each.numbers.first}, {"last", each.numbers.last}, {"fed_by", object_of(*each.from)}});
  }
  return json{{"queues", queues}, {"unserved", open}}.dump(in_one_line ? -1 : 2, ' ', false,
                                                           json::error_handler_t::replace) +
         "\n";
}

std::string to_prometheus(const queue_report& report) {
  std::string text;
  const auto head = [&](std::string_view name, std::string_view type, std::string_view help) {
    text += fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
  };
  const auto add = [&](std::string_view name, const ipq::queue_status& queue, std::string_view more, auto value) {
    // An empty label says what JSON's null does: it can't be told.
    text += fmt::format("{}{{queue=\"{}\",owner=\"{}\",pid=\"{}\"{}}} {}\n", name, queue.number, label(queue.command),
                        queue.pid == 0 ? "" : std::to_string(queue.pid), more, value);
  };
  const auto metric = [&](std::string_view name, std::string_view type, std::string_view help, auto value_of) {
    head(name, type, help);
    for (const auto& queue : report.queues) add(name, queue, "", value_of(queue));
  };
  using status = ipq::queue_status;
  // What ipq run --metrics has too bears the same name there.
  metric("ipq_queue_waiting_packets", "gauge", "Packets that wait for a verdict.",
         [](const status& each) { return each.waiting; });
  metric("ipq_queue_packets_total", "counter", "Packets that entered the queue, modulo 2^32.",
         [](const status& each) { return each.last_id; });
  head("ipq_queue_lost_total", "counter",
       "Packets dropped since the queue or the owner's receive buffer was full, modulo 2^32.");
  for (const auto& queue : report.queues) {
    add("ipq_queue_lost_total", queue, ",cause=\"queue_full\"", queue.lost_queue_full);
    add("ipq_queue_lost_total", queue, ",cause=\"no_buffer\"", queue.lost_no_buffer);
  }
  metric("ipq_queue_copy_range_bytes", "gauge", "Bytes of each packet that the owner gets.",
         [](const status& each) { return each.copy_range; });
  text += "# HELP ipq_queue_unserved Numbers that a rule feeds and nobody serves.\n# TYPE ipq_queue_unserved gauge\n";
  std::vector<std::string> seen;
  for (const auto& each : report.unserved()) {
    // A series may be there once only, though several rules lead to it.
    auto labels = fmt::format("queues=\"{}\",by=\"{}\",place=\"{}\",bypass=\"{}\"",
                              numbers_of(each.numbers.first, each.numbers.last), each.from->by, label(each.from->place),
                              each.from->bypass ? "yes" : "no");
    if (std::ranges::find(seen, labels) != seen.end()) continue;
    text += fmt::format("ipq_queue_unserved{{{}}} {}\n", labels, each.numbers.last - each.numbers.first + 1);
    seen.push_back(std::move(labels));
  }
  return text;
}

std::string_view to_string(ipq::queue_status::copy_mode mode) noexcept {
  switch (mode) {
    case ipq::queue_status::copy_mode::none:
      return "none";
    case ipq::queue_status::copy_mode::metadata:
      return "metadata";
    case ipq::queue_status::copy_mode::packet:
      return "packet";
  }
  return "unknown";
}

}  // namespace tool
