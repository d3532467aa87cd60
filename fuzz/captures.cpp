// SPDX-License-Identifier: MIT
// Capture files of any bytes: the packets lie in what was read, and what passes is a capture with as many packets.
#include "ipq/capture.hpp"

#include <cerrno>
#include <string>

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

// How many packets it has; every second one is dropped, if so wanted.
struct counts {
  std::uint64_t packets = 0, accepted = 0;
  bool whole = false;  // to its end, without a fault
};
counts read(const std::string& path, const capture_options& options, bool drops) {
  counts read;
  auto opened = capture_reader::open(path, options);
  if (!opened) {
    require(opened.error().code.value() != 0 && !opened.error().message().empty());
    return read;
  }
  const auto served = serve(*opened, [&](const packet& each) {
    look_at(*opened, each);
    const bool drop = drops && ++read.packets % 2 == 0;
    if (!drops) ++read.packets;
    read.accepted += !drop;
    return drop ? verdict::drop() : verdict::accept();
  });
  require(served || served.error().is(EBADMSG) || served.error().is(EPROTONOSUPPORT) || served.error().is(EIO));
  const auto s = opened->stats();
  require(s.received == read.packets && s.accepted == read.accepted);
  read.whole = served.has_value() && opened->flush().has_value();
  return read;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const memory_file capture(std::as_bytes(std::span(data, size)));
  const memory_file passed({});
  const auto before = read(capture.path(), {.passed = passed.path()}, true);
  if (!before.whole || before.accepted == 0) return 0;
  const auto after = read(passed.path(), {}, false);
  require(after.whole && after.packets == before.accepted);
  return 0;
}
