// SPDX-License-Identifier: MIT
#include "filter_handler.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <deque>
#include <iterator>

#include "command_line.hpp"
#include "rules/file.hpp"

namespace tool {
namespace {

class filter_handler final : public handler {
 public:
  filter_handler(const filter_job& job, output& to) : job_(job), to_(to) {}

  ipq::result<void> take(ipq::source& from, std::span<const ipq::packet> packets) override {
    matched_.clear();
    for (const ipq::packet& each : packets) {
      const bool matches = !job_.filter || job_.filter->matches(each, names_);
      matched_.push_back(matches);
      auto given = from.set_verdict(each, matches ? job_.matching : job_.others);
      if (!given && !given.error().lacks_memory()) return given;
    }
    return {};
  }

  void after(std::span<const ipq::packet> packets) override {
    if (!job_.how.lines) return;
    const auto now = wall_clock::now();
    for (std::size_t i = 0; i < packets.size(); ++i) {
      if (!matched_[i]) continue;
      const std::string verdict = job_.how.verdict ? to_string(job_.matching) : std::string();
      if (job_.how.json) {
        print_json(lines_, packets[i], names_, job_.how.style, now, verdict);
      } else {
        print_line(lines_, packets[i], names_, job_.how.style, now);
        if (!verdict.empty()) fmt::format_to(std::back_inserter(lines_), ": {}", verdict);
      }
      lines_.push_back('\n');
    }
    to_.write(lines_);
  }

 private:
  const filter_job& job_;
  interface_names names_ = make_interface_names();
  output& to_;
  fmt::memory_buffer lines_;
  std::vector<bool> matched_;
};

}  // namespace

outcome<std::optional<ipq::tool::rules::filter>> compile_filter(const std::vector<std::string>& words) {
  if (words.empty()) return std::nullopt;
  ipq::tool::rules::source text{.name = "filter", .text = {}};
  for (const std::string& each : words) text.text += (text.text.empty() ? "" : " ") + each;
  auto made = ipq::tool::rules::filter::compile(text);
  if (made) return *std::move(made);
  std::string message = render(made.error());
  while (message.ends_with('\n')) message.pop_back();
  return fail(wrong_usage, std::move(message));
}

interface_names make_interface_names() {
  auto from = std::make_shared<const ipq::interface_names>();
  static_cast<void>(from->find(1));
  return [from = std::move(from), last = ipq::interface{}](std::uint32_t index) mutable -> std::string_view {
    const ipq::interface found = from->find(index);
    last = found;  // g++ hides a result's way into what is captured from ThreadSanitizer
    return last.name_view();
  };
}

void add_show_options(command_line& to, show& how) {
  to.add_flag("--json", how.json, "one JSON object a line, for machines");
  to.add_flag("-x,--bytes", how.style.bytes, "print the bytes, too");
  to.add_off_flag("-t,--no-time", how.style.time, "do not print the time of day");
}

int run_filter(const char* command, const live_options& options, const filter_job& job) {
  block_signals();
  if (options.selection.is_dry_run()) return print_dry_run(command, options);
  if (job.filter) note_missing_interfaces(command, job.filter->interfaces());
  const bool owner = job.how.lines || (job.filter && job.filter->tests_owner());
  const bool accepts_all =
      job.matching.what() == ipq::verdict::action::accept && job.others.what() == ipq::verdict::action::accept;
  auto session = live_session::open(command, options, {.uid_gid = owner, .accept_rest = accepts_all});
  if (!session) return report(command, session.error());

  output to(STDOUT_FILENO);
  std::deque<filter_handler> made;
  std::vector<handler*> handlers;
  handlers.reserve(options.workers);
  for (unsigned i = 0; i < options.workers; ++i) handlers.push_back(&made.emplace_back(job, to));
  if (auto selected = session->select(); !selected) return report(command, selected.error());
  const auto prepare = [&]() -> outcome<void> {
    return job.how.lines ? to.start([&] { session->stop(); }) : outcome<void>();
  };
  const auto served = session->serve(handlers, {.prepare = prepare});
  to.finish();
  if (session->has_begun()) session->print_summary();
  tell_left_out(command, to);
  if (!served) return report(command, served.error());
  // A reader who has seen enough is no failure.
  if (to.error() != 0 && to.error() != EPIPE) {
    return report(command,
                  {failed, fmt::format("write to standard output: {}", ipq::tool::rules::file_reason(to.error()))});
  }
  return done;
}

}  // namespace tool
