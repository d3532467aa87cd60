// SPDX-License-Identifier: MIT
// Handles of libipq before a scripted kernel that sends anything: packets, refusals, plain bytes, answers about
// interfaces; and a program that reads into buffers of any size and gives any verdict.
#include <array>

#include "input.hpp"
#include "libipq_calls.hpp"
#include "netlink/scripted_kernel.hpp"
#include "wire/constants.hpp"

namespace {

using namespace ipq;
using fuzz::bytes;
using fuzz::input;
using fuzz::require;
using netlink::byte_vector;
using netlink::scripted_kernel;

constexpr int netlink_route = 0;

const char* no_environment(const char*) {
  return nullptr;
}

/// The bytes as the answer to whatever is asked about interfaces, under the number of the question: the library waits
/// for that one.
void answer_route_requests(scripted_kernel& kernel, bytes given) {
  kernel.set_handler([answer = byte_vector(given.begin(), given.end())](
                         const netlink::scripted_request& request) -> std::optional<scripted_kernel::answers> {
    if (request.protocol != netlink_route) return std::nullopt;
    byte_vector numbered = answer;
    if (numbered.size() >= wire::nlmsg_header_size) {
      std::memcpy(numbered.data() + 8, &request.sequence, sizeof request.sequence);
    }
    return scripted_kernel::answers{numbered};
  });
}

class program {
 public:
  /// By the size, as that leaves what the bytes say alone: one call for each packet and verdict, or batches.
  explicit program(input& from)
      : from_(from), flags_(from.rest().size() % 2 == 0 ? 0 : IPQ_CREATE_BATCH), members_{create(2), nullptr} {}

  void run() {
    while (!from_.empty()) step();
    read(65536 + 256);
    for (const auto& member : members_) {
      if (member == nullptr) continue;
      const auto seen = member->stats();
      require(seen.refused <= seen.received + given_ + delivered_);
      require(std::char_traits<char>::length(member->last().text()) < 256);
    }
  }

 private:
  fuzz::owned_handle create(std::uint32_t protocol) {
    return fuzz::owned_handle(compat::create_handle(flags_, protocol, kernel_, no_environment));
  }

  compat::handle& any_member() {
    const auto& second = members_[1];
    return second != nullptr && from_.flag() ? *second : *members_[0];
  }

  void step() {
    switch (from_.byte() % 9) {
      case 0:
        fuzz::set_mode(from_, any_member());
        return;
      case 1:
        queue_packet();
        return;
      case 2: {
        const bytes sent = from_.take(from_.byte());
        kernel_.deliver(sent);
        ++delivered_;
        return;
      }
      case 3:
      case 4:
        read(from_.take<std::uint16_t>());
        return;
      case 5:
        fuzz::give_verdict(from_, any_member(), last_id_);
        ++given_;
        return;
      case 6:
        if (members_[1] == nullptr && from_.byte() % 8 == 0) members_[1] = create(10);  // a relay's thread each
        return;
      case 7:
        answer_route_requests(kernel_, from_.take(from_.byte()));
        return;
      default: {
        // One after the other: compilers differ in the order of arguments.
        const std::uint32_t index = 1 + from_.byte() % 4;
        const std::size_t length = 1 + from_.byte() % 15;
        kernel_.set_interface(index, std::string(length, 'x'), from_.take<std::uint16_t>());
      }
    }
  }

  void queue_packet() {
    packet queued;
    queued.family = from_.flag() ? 2 : 10;
    queued.hook = from_.byte() % 6;
    queued.mark = from_.take<std::uint32_t>();
    queued.indev = from_.byte() % 5;
    queued.outdev = from_.byte() % 5;
    queued.payload = from_.take(from_.byte());
    const auto id = kernel_.queue_packet(queued);
    if (id) last_id_ = *id;
  }

  void read(std::size_t size) {
    kernel_.settle();
    if (const auto id = fuzz::read_message(any_member(), size)) last_id_ = *id;
  }

  input& from_;
  const std::uint32_t flags_;
  scripted_kernel kernel_;
  std::array<fuzz::owned_handle, 2> members_;  ///< IPv4, IPv6
  std::uint32_t last_id_ = 1;
  std::size_t given_ = 0, delivered_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input from(data, std::min<std::size_t>(size, 4096));
  program(from).run();
  return 0;
}
