// SPDX-License-Identifier: MIT
// Handles of libipq on a capture file of any bytes, and a program that reads into buffers of any size and gives any
// verdict. The input is a byte, so many bytes of the program, and the file.
#include <array>
#include <string>

#include "input.hpp"
#include "ipq/capture.hpp"
#include "libipq_calls.hpp"
#include "memory_file.hpp"
#include "netlink/scripted_kernel.hpp"

namespace {

using namespace ipq;
using fuzz::input;
using fuzz::memory_file;
using fuzz::require;

std::string capture_source;

const char* environment(const char* name) {
  return std::string_view(name) == "LIBIPQ_SOURCE" ? capture_source.c_str() : nullptr;
}

class program {
 public:
  explicit program(input& from) : from_(from), members_{create(2), nullptr} {}

  void run() {
    if (members_[0] == nullptr) return;
    while (!from_.empty()) step();
    read(65536 + 256);
  }

  /// Packets that got a verdict with which they may pass.
  [[nodiscard]] std::uint64_t may_pass() const {
    std::uint64_t sum = 0;
    for (const auto& member : members_) {
      if (member == nullptr) continue;
      const auto seen = member->stats();
      require(seen.refused <= given_ && seen.received <= read_);
      sum += seen.accepted + seen.other_verdicts;
    }
    return sum;
  }

 private:
  fuzz::owned_handle create(std::uint32_t protocol) {
    return fuzz::owned_handle(compat::create_handle(0, protocol, kernel_, environment));
  }

  compat::handle& any_member() {
    const auto& second = members_[1];
    return second != nullptr && from_.flag() ? *second : *members_[0];
  }

  void step() {
    switch (from_.byte() % 6) {
      case 0:
        fuzz::set_mode(from_, any_member());
        return;
      case 1:
      case 2:
        read(from_.take<std::uint16_t>());
        return;
      case 3:
      case 4:
        fuzz::give_verdict(from_, any_member(), last_id_);
        ++given_;
        return;
      default:
        if (members_[1] == nullptr) members_[1] = create(10);
    }
  }

  void read(std::size_t size) {
    auto& reader = any_member();
    ++read_;
    if (const auto id = fuzz::read_message(reader, size)) last_id_ = *id;
  }

  input& from_;
  netlink::scripted_kernel kernel_;            ///< which nobody asks for packets
  std::array<fuzz::owned_handle, 2> members_;  ///< IPv4, IPv6
  std::uint32_t last_id_ = 1;
  std::uint64_t given_ = 0, read_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input whole(data, size);
  const auto script = whole.take(whole.byte());
  input calls(reinterpret_cast<const std::uint8_t*>(script.data()), script.size());
  const memory_file capture(whole.rest()), passed({});
  capture_source = "capture:" + capture.path() + "," + passed.path() + (size % 2 == 0 ? "" : ",then=wait");
  std::uint64_t may_pass = 0;
  {
    program made(calls);
    made.run();
    may_pass = made.may_pass();
  }
  // What passed is a capture, with no more packets than that.
  if (passed.content().empty()) return 0;
  auto opened = capture_reader::open(passed.path());
  require(opened.has_value());
  std::uint64_t count = 0;
  require(serve(*opened, [&](const packet&) { return ++count, verdict::accept(); }).has_value());
  require(count <= may_pass);
  return 0;
}
