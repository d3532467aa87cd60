// SPDX-License-Identifier: MIT
// Capture files of any bytes: the packets lie in what was read, and what passes is a capture with as many packets, each
// of the interface that it was of, also those that were held and changed.
#include "ipq/capture.hpp"

#include <cerrno>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "input.hpp"
#include "ipq/decode.hpp"
#include "memory_file.hpp"

namespace {

using namespace ipq;
using fuzz::memory_file;
using fuzz::require;

void look_at(const capture_reader& from, const packet& each) {
  unsigned sum = 0;
  for (const auto part : {each.payload, each.l2_header}) {
    for (const std::byte byte : part) sum += std::to_integer<unsigned>(byte);
  }
  require(sum <= 255 * (each.payload.size() + each.l2_header.size()));
  require(each.payload.size() <= each.original_length);
  require(each.truncated == (each.payload.size() < each.original_length));
  static_cast<void>(decode(each.payload));
  const auto* about = from.frame_of(each);
  require(about != nullptr);
  if (about->recorded) {
    for (const std::byte byte : about->recorded->given.payload()) sum += std::to_integer<unsigned>(byte);
  }
}

// What a reader's packets were, and became.
struct counts {
  std::uint64_t packets = 0;
  std::map<std::string, std::uint64_t> passing;  // by interface
  bool recorded = false;                         // some have an interface that a recording says
  bool whole = false;                            // to its end, without a fault
};

// Accepts all; or drops every second one, and of each three holds one until those behind it are there, and replaces
// every other of those.
class judge {
 public:
  judge(capture_reader& from, bool all, counts& to) : from_(from), all_(all), to_(to) {}

  void take_batch(std::span<const packet> packets) {
    auto before = std::exchange(held_, {});
    for (const packet& each : packets) take(each);
    for (waiting& each : before) {
      if (each.replacement.empty()) {
        require(std::move(each.packet).set_verdict(each.given).has_value());
        continue;
      }
      require(std::move(each.packet).set_verdict(each.given.with_payload(std::span(each.replacement))).has_value());
    }
  }

 private:
  struct waiting {
    held_packet packet;
    verdict given = verdict::accept();
    std::vector<std::byte> replacement;
  };

  void take(const packet& each) {
    look_at(from_, each);
    const std::uint64_t number = ++to_.packets;
    const bool drop = !all_ && number % 2 == 0;
    if (!drop) ++to_.passing[std::string(from_.interface_name(each.indev))];
    to_.recorded |= from_.frame_of(each)->recorded.has_value();
    const verdict given = drop ? verdict::drop() : verdict::accept();
    if (all_ || number % 3 != 0) return require(from_.set_verdict(each, given).has_value());
    auto held = from_.hold(each);
    if (!held) {
      require(held.error().is(ENOMEM));
      return require(from_.set_verdict(each, given).has_value());
    }
    waiting one{*std::move(held), given, {}};
    // Still IP: what is behind the length that it says does not count.
    const bool has_room = !drop && !each.truncated && each.payload.size() + 5 <= verdict::max_payload;
    if (number % 4 == 3 && has_room) {
      one.replacement.assign(each.payload.begin(), each.payload.end());
      one.replacement.resize(each.payload.size() + 5);
    }
    held_.push_back(std::move(one));
  }

  capture_reader& from_;
  const bool all_;
  counts& to_;
  std::vector<waiting> held_;
};

counts read(const std::string& path, const capture_options& options, bool all) {
  counts read;
  auto opened = capture_reader::open(path, options);
  if (!opened) {
    require(opened.error().code.value() != 0 && !opened.error().message().empty());
    return read;
  }
  judge judges(*opened, all, read);
  auto received = opened->receive();
  for (; received; received = opened->receive()) judges.take_batch({received->begin(), received->end()});
  const auto& why = received.error();
  require(why.is(ENODATA) || why.is(EBADMSG) || why.is(EPROTONOSUPPORT) || why.is(EIO));
  judges.take_batch({});
  const auto s = opened->stats();
  std::uint64_t passing = 0;
  for (const auto& [name, count] : read.passing) passing += count;
  require(s.received == read.packets && s.accepted == passing && s.undecided == 0);
  read.whole = why.is(ENODATA) && opened->flush().has_value();
  return read;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const memory_file capture(std::as_bytes(std::span(data, size)));
  const memory_file passed({});
  const auto before = read(capture.path(), {.passed = passed.path()}, false);
  if (!before.whole || before.passing.empty()) return 0;
  const auto after = read(passed.path(), {}, true);
  std::uint64_t passing = 0;
  for (const auto& [name, count] : before.passing) passing += count;
  // What a recording says was judged is a packet, whatever it carries, and passes without what says so.
  require(after.whole && (before.recorded ? after.packets <= passing : after.packets == passing));
  require(before.recorded || after.passing == before.passing);
  return 0;
}
