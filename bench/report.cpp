// SPDX-License-Identifier: MIT
// Text for people and JSON for programs.
#include "report.hpp"

#include <linux/netfilter.h>

#include <array>
#include <cstdio>
#include <functional>
#include <ostream>
#include <span>

#include "statistics.hpp"

namespace bench {
namespace {

constexpr int label_width = 27, column_width = 21;

// At most this much of another loop's CPU time.
struct goal {
  std::size_t base;
  double most;
};
constexpr std::array<goal, 2> goals{{{peer, 1.03}, {floor, 1.05}}};

bool is_met(const summary& ratio, const goal& goal) {
  return ratio.median <= goal.most;
}
bool is_complete(std::span<const series> group) {
  return group.size() == contestants.size();
}

template <class... Values>
std::string text(const char* format, Values... values) {
  char buffer[256];
  std::snprintf(buffer, sizeof buffer, format, values...);
  return buffer;
}

double cpu_nanoseconds(const sample& sample) {
  return sample.cpu_seconds / static_cast<double>(sample.packets) * 1e9;
}
double packets_per_second(const sample& sample) {
  return static_cast<double>(sample.packets) / sample.wall_seconds;
}

summary summarise(const series& series, double (*number)(const sample&)) {
  std::vector<double> values;
  for (const auto& sample : series.samples) values.push_back(number(sample));
  return summary_of(std::move(values));
}

// Round by round, so that whatever disturbs the machine for a while disturbs both.
summary cpu_ratio(const series& one, const series& other) {
  std::vector<double> values;
  for (std::size_t round = 0; round < one.samples.size(); ++round) {
    values.push_back(cpu_nanoseconds(one.samples[round]) / cpu_nanoseconds(other.samples[round]));
  }
  return summary_of(std::move(values));
}

const char* verdict_name(unsigned verdict) {
  return verdict == NF_ACCEPT ? "NF_ACCEPT" : "NF_DROP";
}

std::uint64_t total(const series& series, std::uint64_t sample::*number) {
  std::uint64_t sum = 0;
  for (const auto& sample : series.samples) sum += sample.*number;
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

// The series of one scenario, next to each other in the whole.
std::vector<std::span<const series>> by_scenario(const std::vector<series>& runs) {
  std::vector<std::span<const series>> groups;
  for (std::size_t first = 0, end = 0; first < runs.size(); first = end) {
    while (end < runs.size() && runs[end].what.size == runs[first].what.size &&
           runs[end].what.verdict == runs[first].what.verdict) {
      ++end;
    }
    groups.emplace_back(runs.data() + first, end - first);
  }
  return groups;
}

void print_row(std::ostream& out, const std::string& label, std::span<const series> group,
               const std::function<std::string(const series&)>& cell) {
  out << text("%-*s", label_width, label.c_str());
  for (const auto& series : group) out << text("%*s", column_width, cell(series).c_str());
  out << '\n';
}

// How libipq compares with the loop of this column; empty in libipq's own.
std::string against(std::span<const series> group, const series& one,
                    const std::function<std::string(const summary&, const goal&)>& cell) {
  for (const auto& goal : goals) {
    if (one.contestant == goal.base) return cell(cpu_ratio(group[subject], one), goal);
  }
  return "";
}

void print_ratios(std::ostream& out, std::span<const series> group) {
  const auto row = [&](const char* label, const std::function<std::string(const summary&, const goal&)>& cell) {
    print_row(out, label, group, [&](const series& one) { return against(group, one, cell); });
  };
  row("  libipq's CPU / this one's", [](const summary& ratio, const goal&) { return text("%.3f", ratio.median); });
  row("    least .. most",
      [](const summary& ratio, const goal&) { return text("%.3f .. %.3f", ratio.least, ratio.most); });
  row("    goal: at most", [](const summary& ratio, const goal& goal) {
    return text("%.2f, %s", goal.most, is_met(ratio, goal) ? "met" : "missed");
  });
}

void print_group(std::ostream& out, std::span<const series> group) {
  const auto& what = group.front().what;
  out << text("%u bytes, %s\n", what.size, verdict_name(what.verdict));
  print_row(out, "  CPU per packet, ns", group,
            [](const series& one) { return text("%.0f", summarise(one, cpu_nanoseconds).median); });
  print_row(out, "    least .. most", group, [](const series& one) {
    const auto values = summarise(one, cpu_nanoseconds);
    return text("%.0f .. %.0f", values.least, values.most);
  });
  print_row(out, "  packets per second", group,
            [](const series& one) { return text("%.0f", summarise(one, packets_per_second).median); });
  if (is_complete(group)) print_ratios(out, group);
  print_row(out, "  heap allocations", group, [](const series& one) { return allocations(one, "not counted"); });
}

void print_verdict(std::ostream& out, const std::vector<std::span<const series>>& groups) {
  std::size_t met = 0, all = 0;
  for (const auto& group : groups) {
    if (!is_complete(group)) return;
    for (const auto& goal : goals) {
      met += is_met(cpu_ratio(group[subject], group[goal.base]), goal);
      ++all;
    }
  }
  out << "\nGoals met: " << met << " of " << all << '\n';
}

void warn(std::ostream& out, const std::vector<series>& runs) {
#ifndef __OPTIMIZE__
  out << "Not optimised: the numbers say little. Build the preset release.\n";
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  out << "Built with a sanitizer: the numbers say nothing. Build the preset release.\n";
#endif
  for (const auto& series : runs) {
    double thread = 0, process = 0;
    for (const auto& sample : series.samples) thread += sample.cpu_seconds, process += sample.process_seconds;
    if (process > thread * 1.01) {
      out << text("%u bytes, %s: other threads of %s take %.1f %% more CPU, which the table leaves out.\n",
                  series.what.size, verdict_name(series.what.verdict),
                  std::string(contestants[series.contestant].name).c_str(), (process / thread - 1) * 100);
    }
  }
}

std::string quoted(const std::string& plain) {
  std::string result = "\"";
  for (const char letter : plain) {
    if (letter == '"' || letter == '\\') result += '\\';
    if (static_cast<unsigned char>(letter) >= ' ') result += letter;
  }
  return result + '"';
}

std::string json_numbers(const series& series, double (*number)(const sample&)) {
  const auto values = summarise(series, number);
  auto result = text("{\"median\": %.1f, \"least\": %.1f, \"most\": %.1f, \"rounds\": [", values.median, values.least,
                     values.most);
  const char* separator = "";
  for (const auto& sample : series.samples) {
    result += separator + text("%.1f", number(sample));
    separator = ", ";
  }
  return result + "]}";
}

std::string json_ratio(const char* name, const series& one, const series& other) {
  const auto ratio = cpu_ratio(one, other);
  return text(", \"%s\": {\"median\": %.4f, \"least\": %.4f, \"most\": %.4f}", name, ratio.median, ratio.least,
              ratio.most);
}

}  // namespace

void print_table(std::ostream& out, const circumstances& around, const std::vector<series>& runs) {
  const auto groups = by_scenario(runs);
  out << "libipq beside libnetfilter_queue " NFQ_VERSION " and a bare recv/send loop: " << around.packets
      << " packets a run, median of " << around.rounds << " interleaved rounds\n"
      << "Linux " << around.kernel << ", CPU " << around.cpu << " (" << around.processor << "), load "
      << around.load_before << " before and " << around.load_after << " after\n\n";
  print_row(out, "", groups.front(), [](const series& one) { return std::string(contestants[one.contestant].name); });
  for (std::size_t index = 0; index < groups.size(); ++index) {
    print_group(out, groups[index]);
    if (around.packets_at_once[index] < around.packets) {
      out << text("  (queued %llu at a time, which is what the receive buffer holds)\n",
                  static_cast<unsigned long long>(around.packets_at_once[index]));
    }
  }
  print_verdict(out, groups);
  warn(out, runs);
}

void print_json(std::ostream& out, const circumstances& around, const std::vector<series>& runs) {
  const auto groups = by_scenario(runs);
  out << "{\n  \"packets\": " << around.packets << ", \"rounds\": " << around.rounds << ", \"cpu\": " << around.cpu
      << ",\n  \"kernel\": " << quoted(around.kernel) << ", \"processor\": " << quoted(around.processor)
      << ",\n  \"libnetfilter_queue\": \"" NFQ_VERSION "\",\n  \"load_before\": " << quoted(around.load_before)
      << ", \"load_after\": " << quoted(around.load_after) << ",\n"
      << text("  \"goals\": {\"libnetfilter_queue\": %.2f, \"bare\": %.2f},\n", goals[0].most, goals[1].most)
      << "  \"scenarios\": [";
  for (std::size_t index = 0; index < groups.size(); ++index) {
    const auto& group = groups[index];
    const auto& what = group.front().what;
    out << (index == 0 ? "\n" : ",\n")
        << text("    {\"size\": %u, \"verdict\": \"%s\", \"packets_at_once\": %llu, \"loops\": [", what.size,
                verdict_name(what.verdict), static_cast<unsigned long long>(around.packets_at_once[index]));
    const char* separator = "\n";
    for (const auto& series : group) {
      out << separator << "      {\"name\": \"" << contestants[series.contestant].name
          << "\", \"packets\": " << total(series, &sample::packets)
          << ", \"arrived\": " << total(series, &sample::arrived)
          << ",\n       \"cpu_ns_per_packet\": " << json_numbers(series, cpu_nanoseconds)
          << ",\n       \"packets_per_second\": " << json_numbers(series, packets_per_second)
          << ",\n       \"allocations\": " << allocations(series, "null");
      if (is_complete(group)) {
        out << json_ratio("cpu_ratio_to_libnetfilter_queue", series, group[peer])
            << json_ratio("cpu_ratio_to_bare", series, group[floor]);
      }
      out << '}';
      separator = ",\n";
    }
    out << "\n    ]}";
  }
  out << "\n  ]\n}\n";
}

}  // namespace bench
