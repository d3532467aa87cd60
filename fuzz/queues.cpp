// SPDX-License-Identifier: MIT
// The C++ library's queue before a scripted kernel, and a program that decides, holds and forgets packets in any order.
// An honest kernel gets for each packet the verdict that the program gave, once; from one that lies come any bytes.
#include "ipq/queue.hpp"

#include <array>
#include <cerrno>
#include <map>
#include <vector>

#include "input.hpp"
#include "netlink/scripted_kernel.hpp"
#include "queue/binding.hpp"
#include "wire/config.hpp"

namespace {

using namespace ipq;
using fuzz::bytes;
using fuzz::input;
using fuzz::require;
using netlink::scripted_kernel;

constexpr std::uint16_t number = 3;
constexpr int netfilter_protocol = 12;

netlink::socket bound_socket(scripted_kernel& kernel) {
  auto opened = kernel.open(netfilter_protocol);
  require(opened.has_value());
  alignas(4) std::byte request[wire::max_config_size];
  const auto length = wire::encode_config({.queue = number,
                                           .command = wire::config_command::bind,
                                           .copy = {{wire::copy_mode::packet, 0xffff}},
                                           .max_length = 1u << 20},
                                          request);
  require(opened->send(std::span<const std::byte>(request, length)).has_value());
  kernel.settle();
  return *std::move(opened);
}

queue make_queue(scripted_kernel& kernel, const queue_options& options) {
  auto made = queues::maker::make({.socket = bound_socket(kernel)}, options);
  require(made.has_value());
  return *std::move(made);
}

class program {
 public:
  explicit program(input& from)
      : from_(from),
        honest_(from.byte() % 4 != 0),
        unanswered_(verdict::accept().with_mark(99)),
        queue_(make_queue(kernel_, {.number = number,
                                    .unanswered = unanswered_,
                                    .verdict_delay = std::chrono::milliseconds(from.flag() ? 0 : 1'000'000)})) {
    kernel_.set_next_id(number, from.take<std::uint32_t>());
  }

  void run() {
    while (!from_.empty()) step();
    receive();
    receive();
    forget();
    for (held_packet& each : held_) wanted_.insert_or_assign(each.id(), unanswered_);
    held_.clear();
    require(queue_.flush().has_value());
    const auto s = queue_.stats();
    require(s.received >= s.undecided);
    if (!honest_) return;
    require(s.received == s.accepted + s.dropped + s.repeated + s.stopped + s.requeued + s.undecided);
    require(s.undecided == 0 && s.gone + s.refused + s.malformed == 0);
    const auto given = kernel_.verdicts();
    require(given.size() == wanted_.size() && given.size() == arrived_);
    for (const auto& each : given) {
      const auto found = wanted_.find(each.id);
      require(found != wanted_.end());
      require(each.value == found->second.value() && each.mark == found->second.mark());
      require(each.priority == found->second.priority());
      require(each.payload.has_value() == !found->second.payload().empty());
      if (each.payload) require(fuzz::equal(*each.payload, found->second.payload()));
    }
  }

 private:
  void step() {
    switch (from_.byte() % 8) {
      case 0:
      case 1:
        arrive();
        return;
      case 2:
        receive();
        return;
      case 3:
        decide();
        return;
      case 4:
        hold();
        return;
      case 5:
        release_one();
        return;
      case 6:
        require(queue_.flush().has_value());
        return;
      default:
        if (!honest_) kernel_.deliver(from_.take(from_.byte()));
    }
  }

  void arrive() {
    packet described;
    described.queue = number;
    described.family = from_.flag() ? 2 : 10;
    described.hook = from_.byte() % 5;
    described.payload = from_.take(1 + from_.byte() % 64);
    arrived_ += kernel_.queue_packet(described).has_value();
  }

  // What of the batch is open gets the queue's own verdict.
  void forget() {
    for (const packet& each : open_) wanted_.insert_or_assign(each.id, unanswered_);
    open_.clear();
  }

  void receive() {
    kernel_.settle();
    const auto got = queue_.try_receive();
    forget();
    if (!got) return require(got.error().is(ETIMEDOUT));
    require(got->size() <= 64);
    open_.assign(got->begin(), got->end());
    std::size_t read = 0;
    for (const packet& each : open_)
      read += std::to_integer<std::size_t>(each.payload.empty() ? std::byte{} : each.payload.back());
    require(read <= 255 * 64);
  }

  verdict any_verdict() {
    switch (from_.byte() % 8) {
      case 0:
        return verdict::drop();
      case 1:
        return verdict::accept().with_mark(from_.byte() % 2u);
      case 2:
        return verdict::accept().with_priority(from_.byte());
      case 3:
        return verdict::stop();
      case 4:
        return verdict::accept().with_payload(std::span(replacement_).first(1 + from_.byte() % 39));
      default:
        return verdict::accept();
    }
  }

  std::size_t any_open() { return from_.byte() % open_.size(); }
  void close(std::size_t which) { open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(which)); }

  void decide() {
    if (open_.empty()) return;
    const std::size_t which = any_open();
    const verdict given = any_verdict();
    const auto set = queue_.set_verdict(open_[which], given);
    if (!set) {
      // A copy is found by its id; a kernel that lies may give two the same.
      require(!honest_ || (set.error().is(EMSGSIZE) && open_[which].truncated));
      return;
    }
    wanted_.insert_or_assign(open_[which].id, given);
    close(which);
  }

  void hold() {
    if (open_.empty()) return;
    const std::size_t which = any_open();
    auto kept = queue_.hold(open_[which]);
    require(kept.has_value() || !honest_);
    if (!kept) return;
    held_.push_back(*std::move(kept));
    close(which);
  }

  void release_one() {
    if (held_.empty()) return;
    const std::size_t which = from_.byte() % held_.size();
    const std::uint32_t id = held_[which].id();
    if (from_.flag()) {
      const verdict given = any_verdict();
      const auto set = std::move(held_[which]).set_verdict(given);
      require(set.has_value() || !honest_);
      wanted_.insert_or_assign(id, given);
    } else {
      wanted_.insert_or_assign(id, unanswered_);
    }
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(which));
  }

  input& from_;
  const bool honest_;
  const verdict unanswered_;
  const std::array<std::byte, 40> replacement_{std::byte{0x45}};
  scripted_kernel kernel_;
  queue queue_;
  std::vector<packet> open_;  // copies of what the batch has undecided
  std::vector<held_packet> held_;
  std::map<std::uint32_t, verdict> wanted_;
  std::size_t arrived_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input from(data, std::min<std::size_t>(size, 2048));
  program(from).run();
  return 0;
}
