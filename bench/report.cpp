// SPDX-License-Identifier: MIT
// Text for people and JSON for programs.
#include "report.hpp"

#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <optional>
#include <ostream>

#include "statistics.hpp"

namespace bench {
namespace {

constexpr int label_width = 42, column_width = 22;

template <class... Values>
std::string text(const char* format, Values... values) {
  char buffer[256];
  std::snprintf(buffer, sizeof buffer, format, values...);
  return buffer;
}

std::string number(double value, int digits) {
  return text("%.*f", digits, value);
}

summary summarise(const series& series, std::size_t figure) {
  std::vector<double> values;
  for (const auto& sample : series.samples) values.push_back(sample.figures[figure]);
  return summary_of(std::move(values));
}

const series* find(const outcome& outcome, std::size_t contestant) {
  for (const auto& series : outcome.runs) {
    if (series.contestant == contestant) return &series;
  }
  return nullptr;
}

// Round by round, so that whatever disturbs the machine for a while disturbs both. nullopt: not both were run.
std::optional<summary> compare(const outcome& outcome, const goal& goal) {
  const auto* subject = find(outcome, goal.subject);
  const auto* base = goal.base ? find(outcome, *goal.base) : subject;
  if (subject == nullptr || base == nullptr) return std::nullopt;
  std::vector<double> values;
  for (std::size_t round = 0; round < subject->samples.size(); ++round) {
    const double one = subject->samples[round].figures[goal.figure];
    const double other = base->samples[round].figures[goal.figure];
    values.push_back(!goal.base ? one : goal.what == goal::kind::no_more_than ? one - other : one / other);
  }
  return summary_of(std::move(values));
}

bool is_met(const summary& measured, const goal& goal) {
  return goal.what == goal::kind::at_least ? measured.median >= goal.bound : measured.median <= goal.bound;
}

std::uint64_t total(const series& series, std::uint64_t sample::*member) {
  std::uint64_t sum = 0;
  for (const auto& sample : series.samples) sum += sample.*member;
  return sum;
}

std::string allocations(const series& series, const char* unknown) {
  std::uint64_t sum = 0;
  for (const auto& sample : series.samples) {
    if (!sample.allocations) return unknown;
    sum += *sample.allocations;
  }
  return std::to_string(sum);
}

void print_row(std::ostream& out, const std::string& label, const outcome& outcome,
               const std::function<std::string(const series&)>& cell) {
  out << text("%-*s", label_width, label.c_str());
  for (const auto& series : outcome.runs) out << text("%*s", column_width, cell(series).c_str());
  out << '\n';
}

void print_goal(std::ostream& out, const outcome& outcome, const goal& goal) {
  const auto measured = compare(outcome, goal);
  if (!measured) return;
  const auto& what = outcome.of->what();
  const bool difference = goal.what == goal::kind::no_more_than;
  std::string label = "  " + what.contestants[goal.subject];
  if (goal.base) label += (difference ? " - " : " / ") + what.contestants[*goal.base];
  if (goal.figure > 0) label += ", " + what.figures[goal.figure].label;
  const int digits = goal.base && !difference ? 3 : 1;
  out << text("%-*s  %s (%s .. %s), goal: %s %g, %s\n", label_width + 18, label.c_str(),
              number(measured->median, digits).c_str(), number(measured->least, digits).c_str(),
              number(measured->most, digits).c_str(), goal.what == goal::kind::at_least ? "at least" : "at most",
              goal.bound, is_met(*measured, goal) ? "met" : "missed");
}

void print_outcome(std::ostream& out, const outcome& outcome) {
  const auto& what = outcome.of->what();
  print_row(out, what.name, outcome, [&](const series& one) { return what.contestants[one.contestant]; });
  for (std::size_t figure = 0; figure < what.figures.size(); ++figure) {
    const int digits = what.figures[figure].digits;
    print_row(out, "  " + what.figures[figure].label, outcome,
              [&](const series& one) { return number(summarise(one, figure).median, digits); });
    print_row(out, "    least .. most", outcome, [&](const series& one) {
      const auto values = summarise(one, figure);
      return number(values.least, digits) + " .. " + number(values.most, digits);
    });
  }
  if (what.counts_allocations) {
    print_row(out, "  heap allocations", outcome, [](const series& one) { return allocations(one, "not counted"); });
  }
  for (const auto& goal : what.goals) print_goal(out, outcome, goal);
  if (const auto note = outcome.of->note(); !note.empty()) out << "  (" << note << ")\n";
  for (const auto& series : outcome.runs) {
    std::vector<double> others;
    for (const auto& sample : series.samples) others.push_back(sample.other_threads);
    if (const auto part = summary_of(std::move(others)).median; part > 0.01) {
      out << text("  (other threads of %s take %.1f %% more CPU, which is left out)\n",
                  what.contestants[series.contestant].c_str(), part * 100);
    }
  }
  out << '\n';
}

void print_verdict(std::ostream& out, const std::vector<outcome>& outcomes) {
  std::size_t met = 0, all = 0;
  for (const auto& outcome : outcomes) {
    for (const auto& goal : outcome.of->what().goals) {
      const auto measured = compare(outcome, goal);
      if (!measured) continue;
      met += is_met(*measured, goal);
      ++all;
    }
  }
  if (all > 0) out << "Goals met: " << met << " of " << all << '\n';
}

const char* heading_of(const std::string& table) {
  if (table == "captures") return "beside tcpdump";
  if (table == "ipq") return "the command";
  return table == "libipq" ? "the C library" : "the C++ library";
}

void warn(std::ostream& out) {
#ifndef __OPTIMIZE__
  out << "Not optimised: the numbers say little. Build the preset release.\n";
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  out << "Built with a sanitizer: the numbers say nothing. Build the preset release.\n";
#endif
  static_cast<void>(out);
}

std::string quoted(const std::string& plain) {
  std::string result = "\"";
  for (const char letter : plain) {
    if (letter == '"' || letter == '\\') result += '\\';
    if (static_cast<unsigned char>(letter) >= ' ') result += letter;
  }
  return result + '"';
}

std::string json_summary(const summary& values) {
  return text("\"median\": %.4f, \"least\": %.4f, \"most\": %.4f", values.median, values.least, values.most);
}

std::string json_figure(const series& series, std::size_t figure) {
  std::string result = "{";
  result += json_summary(summarise(series, figure)) + ", \"rounds\": [";
  const char* separator = "";
  for (const auto& sample : series.samples) {
    result += separator + text("%.4f", sample.figures[figure]);
    separator = ", ";
  }
  return result + "]}";
}

void print_json_loops(std::ostream& out, const outcome& outcome) {
  const auto& what = outcome.of->what();
  const char* separator = "\n";
  for (const auto& series : outcome.runs) {
    out << separator << "      {\"name\": " << quoted(what.contestants[series.contestant])
        << ", \"packets\": " << total(series, &sample::packets) << ", \"arrived\": " << total(series, &sample::arrived)
        << ", \"lost\": " << total(series, &sample::lost)
        << ", \"allocations\": " << (what.counts_allocations ? allocations(series, "null") : "null");
    for (std::size_t figure = 0; figure < what.figures.size(); ++figure) {
      out << ",\n       " << quoted(what.figures[figure].key) << ": " << json_figure(series, figure);
    }
    out << '}';
    separator = ",\n";
  }
}

void print_json_goals(std::ostream& out, const outcome& outcome) {
  static constexpr std::array kinds{"at_most", "at_least", "no_more_than"};
  const auto& what = outcome.of->what();
  const char* separator = "\n";
  for (const auto& goal : what.goals) {
    const auto measured = compare(outcome, goal);
    if (!measured) continue;
    out << separator << "      {\"figure\": " << quoted(what.figures[goal.figure].key)
        << ", \"of\": " << quoted(what.contestants[goal.subject])
        << ", \"against\": " << (goal.base ? quoted(what.contestants[*goal.base]) : "null")
        << text(", \"%s\": %g, ", kinds[static_cast<std::size_t>(goal.what)], goal.bound) << json_summary(*measured)
        << ", \"met\": " << (is_met(*measured, goal) ? "true" : "false") << '}';
    separator = ",\n";
  }
}

}  // namespace

void print_tables(std::ostream& out, const circumstances& around, const std::vector<outcome>& outcomes) {
  out << "Beside libnetfilter_queue " NFQ_VERSION " and bare system calls: " << around.packets
      << " packets a run, median of " << around.rounds << " interleaved rounds\n"
      << "Linux " << around.kernel << ", CPU " << around.cpu << " (" << around.processor << "), load "
      << around.load_before << " before and " << around.load_after << " after\n";
  std::string table;
  for (const auto& outcome : outcomes) {
    if (outcome.of->what().table != table) {
      table = outcome.of->what().table;
      out << "\n" << table << ", " << heading_of(table) << "\n\n";
    }
    print_outcome(out, outcome);
  }
  for (const auto& reason : around.left_out) out << "Left out: " << reason << '\n';
  print_verdict(out, outcomes);
  warn(out);
}

void print_json(std::ostream& out, const circumstances& around, const std::vector<outcome>& outcomes) {
  out << "{\n  \"packets\": " << around.packets << ", \"rounds\": " << around.rounds << ", \"cpu\": " << around.cpu
      << ",\n  \"kernel\": " << quoted(around.kernel) << ", \"processor\": " << quoted(around.processor)
      << ",\n  \"libnetfilter_queue\": \"" NFQ_VERSION "\",\n  \"load_before\": " << quoted(around.load_before)
      << ", \"load_after\": " << quoted(around.load_after) << ",\n  \"scenarios\": [";
  const char* separator = "\n";
  for (const auto& outcome : outcomes) {
    const auto& what = outcome.of->what();
    out << separator << "    {\"table\": " << quoted(what.table) << ", \"name\": " << quoted(what.name)
        << ", \"note\": " << quoted(outcome.of->note()) << ", \"loops\": [";
    print_json_loops(out, outcome);
    out << "\n     ], \"goals\": [";
    print_json_goals(out, outcome);
    out << "\n     ]}";
    separator = ",\n";
  }
  out << "\n  ]\n}\n";
}

}  // namespace bench
