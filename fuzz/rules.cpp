// SPDX-License-Identifier: MIT
// Rules of any text, and the judgement of a packet of any bytes by those that are understood.
#include <string>

#include "input.hpp"
#include "lookups.hpp"
#include "rules/engine.hpp"
#include "rules/ruleset.hpp"

namespace {

using namespace ipq;
using fuzz::input;
using fuzz::require;
namespace rules = ipq::tool::rules;

void look_at(const rules::decision& made, const rules::ruleset& of) {
  std::size_t sum = 0;
  for (const std::byte each : made.verdict.payload()) sum += std::to_integer<std::size_t>(each);
  for (const std::byte each : made.duplicate) sum += std::to_integer<std::size_t>(each);
  require(sum <= 255 * (made.verdict.payload().size() + made.duplicate.size()));
  require(made.rule == rules::decision::no_rule || made.rule < of.size());
  for (const std::size_t each : made.records) require(each < of.record_files().size());
  require(made.delay.count() >= 0 && (made.duplicates == 0) == made.duplicate.empty());
}

}  // namespace

// The length of the text in two bytes, the text, flags, the packet.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input from(data, size);
  const fuzz::bytes text = from.take(from.take<std::uint16_t>());
  const std::string written(reinterpret_cast<const char*>(text.data()), text.size());
  // Its folder has no files for @FILE.
  const auto made = rules::ruleset::compile(rules::source{"rules", written, "/proc/self/fdinfo"});
  if (!made) {
    require(!made.error().empty() && made.error().size() <= 20);
    for (const rules::diagnostic& each : made.error()) {
      require(!each.message.empty() && each.column <= each.text.size() + 1);
      for (const char c : each.render()) require(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
    }
    return 0;
  }
  const std::uint8_t flags = from.byte();
  packet which;
  which.hook = flags % 5;
  which.checksum_not_ready = (flags & 0x10) != 0;
  which.gso = (flags & 0x20) != 0;
  which.truncated = (flags & 0x40) != 0;
  which.payload = from.rest();
  which.original_length = static_cast<std::uint32_t>(which.payload.size() + (which.truncated ? 100 : 0));
  rules::engine judge(*made, {.seed = flags});
  for (int moment = 0; moment < 3; ++moment) look_at(judge.judge(which, std::chrono::milliseconds(moment)), *made);
  return 0;
}
