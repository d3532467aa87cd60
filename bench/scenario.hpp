// SPDX-License-Identifier: MIT
// A row of the benchmark: something that several loops do, what is measured about it, and what is hoped for.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "loop.hpp"
#include "measurement.hpp"
#include "traffic.hpp"

namespace bench {

// A number that each run yields.
struct figure {
  std::string label;  // with its unit
  std::string key;    // in JSON
  int digits = 0;     // behind the point
};

// How a figure of one loop compares with that of another in the same round.
struct goal {
  std::size_t figure;
  std::size_t subject;              // index of the contestant
  std::optional<std::size_t> base;  // of the other; none: the figure itself
  // at_most, at_least: the quotient. no_more_than: the difference.
  enum class kind { at_most, at_least, no_more_than } what;
  double bound;
};

struct description {
  std::string table;  // "libipq", "libipq++" or "ipq"
  std::string name;
  std::vector<std::string> contestants = {};
  std::vector<figure> figures = {};
  std::vector<goal> goals = {};
  bool counts_allocations = false;
  unsigned most_rounds = 0;  // of a scenario whose runs take seconds, which are not warmed up for; 0: all rounds
};

class scenario {
 public:
  explicit scenario(description what) : what_(std::move(what)) {}
  scenario(const scenario&) = delete;
  scenario& operator=(const scenario&) = delete;
  virtual ~scenario() = default;

  const description& what() const { return what_; }

  // Once, before the rounds: what has to be known about these contestants.
  virtual void prepare(const std::vector<std::size_t>& contestants) { static_cast<void>(contestants); }
  // Throws failure when a packet is missing, left over or in the wrong place.
  virtual sample run(std::size_t contestant) = 0;
  // What a reader of the numbers has to know; often nothing.
  virtual std::string note() const { return {}; }

 private:
  const description what_;
};

// Where and with how much the scenarios are run.
struct ground {
  const bench::sink& sink;  // behind the rule that feeds queue 0
  bench::sender& sender;    // to there
  std::uint64_t packets;
  int cpu;        // of the reader, where the calling thread is
  int other_cpu;  // of who sends; -1: there is none
};

using scenarios = std::vector<std::unique_ptr<scenario>>;

// Each appends its own; those that this machine can't run are left out, with a reason.
void add_drains_of_libipq(scenarios& to, const ground& on, const std::vector<unsigned>& sizes);
void add_drains(scenarios& to, const ground& on);
void add_held(scenarios& to, const ground& on);
void add_workers(scenarios& to, const ground& on);
void add_flood(scenarios& to, const ground& on);
void add_exchange(scenarios& to, const ground& on);
void add_bulk(scenarios& to, const ground& on, const std::vector<int>& cpus);
void add_decode(scenarios& to, const ground& on);
// Of the ipq command, where it is built.
void add_command(scenarios& to, const ground& on);
void add_delay(scenarios& to, const ground& on);
void add_rules(scenarios& to, const ground& on);
// On the pcap file `capture`; "": on one that is made.
void add_captures(scenarios& to, const ground& on, const std::string& capture);

// What this program does when `apart` is its first word: it judges a capture with the library, and has no memory but
// for that. The words are a capture, where what passes goes or "", how many frames there are, and "accept" or "filter".
// Returns the exit status.
constexpr const char* apart = "--apart";
int judge_apart(std::span<char* const> words);

}  // namespace bench
