// SPDX-License-Identifier: MIT
// Handles of libipq before a scripted kernel that sends anything: packets, refusals, plain bytes, answers about
// interfaces; and a program that reads into buffers of any size and gives any verdict.
#include "compat/handle.hpp"

#include <array>
#include <memory>
#include <vector>

#include "compat/registry.hpp"
#include "compat/translate.hpp"
#include "input.hpp"
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
constexpr int at_once = -1;

const char* no_environment(const char*) {
  return nullptr;
}

struct destroyer {
  void operator()(compat::handle* h) const { compat::destroy_handle(h); }
};

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
  explicit program(input& from) : from_(from), members_{create(2), nullptr} {}

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
  using owned_handle = std::unique_ptr<compat::handle, destroyer>;

  owned_handle create(std::uint32_t protocol) {
    return owned_handle(compat::create_handle(0, protocol, kernel_, no_environment));
  }

  compat::handle& any_member() {
    const auto& second = members_[1];
    return second != nullptr && from_.flag() ? *second : *members_[0];
  }

  void step() {
    switch (from_.byte() % 9) {
      case 0:
        require(any_member().set_mode(from_.byte() % 4, from_.take<std::uint16_t>()) == 56);
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
        give_verdict();
        return;
      case 6:
        if (members_[1] == nullptr && from_.byte() % 8 == 0) members_[1] = create(10);  // a relay's thread each
        return;
      case 7:
        answer_route_requests(kernel_, from_.take(from_.byte()));
        return;
      default:
        kernel_.set_interface(1 + from_.byte() % 4, std::string(1 + from_.byte() % 15, 'x'),
                              from_.take<std::uint16_t>());
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
    constexpr unsigned char untouched = 0xa5;
    std::vector<unsigned char> buffer(size + 16, untouched);
    auto& reader = any_member();
    const ssize_t length = reader.read(std::span(buffer).first(size), at_once);
    for (std::size_t at = size; at < buffer.size(); ++at) require(buffer[at] == untouched);
    if (size < compat::min_read_buffer) require(length == -1);
    if (length <= 0) return;
    require(static_cast<std::size_t>(length) <= size);
    nlmsghdr header;
    std::memcpy(&header, buffer.data(), sizeof header);
    require(header.nlmsg_len == static_cast<std::uint32_t>(length));
    if (ipq_message_type(buffer.data()) == NLMSG_ERROR) {
      require(ipq_get_msgerr(buffer.data()) >= 0 && ipq_get_msgerr(buffer.data()) <= 4095);
      return;
    }
    require(ipq_message_type(buffer.data()) == IPQM_PACKET);
    const ipq_packet_msg_t& got = *ipq_get_packet(buffer.data());
    require(sizeof header + sizeof got + got.data_len <= static_cast<std::size_t>(length));
    require(got.hw_addrlen <= sizeof got.hw_addr);
    last_id_ = static_cast<std::uint32_t>(got.packet_id);
  }

  void give_verdict() {
    const std::uint32_t id = from_.flag() ? last_id_ : from_.take<std::uint32_t>();
    const unsigned value = from_.flag() ? from_.byte() % 6 : from_.take<std::uint32_t>();
    const std::optional<std::uint32_t> mark = from_.flag() ? std::optional(from_.take<std::uint32_t>()) : std::nullopt;
    const bytes data = from_.take(from_.byte());
    const auto* raw = reinterpret_cast<const unsigned char*>(data.data());
    const int sent = any_member().set_verdict(id, value, mark, data.size(), data.empty() ? nullptr : raw);
    require(sent == static_cast<int>(40 + data.size()));
    ++given_;
  }

  input& from_;
  scripted_kernel kernel_;
  std::array<owned_handle, 2> members_;  ///< IPv4, IPv6
  std::uint32_t last_id_ = 1;
  std::size_t given_ = 0, delivered_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input from(data, std::min<std::size_t>(size, 4096));
  program(from).run();
  return 0;
}
