// SPDX-License-Identifier: MIT
// Faults of what a program may do: a capability is dropped and comes back.
#include <optional>

#include "ground.hpp"
#include "kernel/reader.hpp"
#include "unit/without_capability.hpp"

namespace fault_tests {
namespace {

using ipq::queue;
using ipq::verdict;

class rights_faults : public faults {
 protected:
  // Accepts at least so many packets, in whole batches, so that their verdicts are on their way when it returns.
  // Refusals that are told meanwhile are added to `refused`.
  static std::uint64_t accept(queue& q, std::uint64_t least, std::uint64_t& refused) {
    std::uint64_t seen = 0;
    while (seen < least) seen += accept_what_is_there(q, refused);
    return seen;
  }
  static std::uint64_t accept_what_is_there(queue& q, std::uint64_t& refused) {
    const auto got = must(q.receive(soon()));
    count(got, refused);
    for (const ipq::packet& p : got) must(q.set_verdict(p, verdict::accept()));
    return got.size();
  }
  static void count(const ipq::batch& got, std::uint64_t& refused) {
    for (const auto& each : got.events()) {
      EXPECT_EQ(each.what, ipq::event::kind::refused);
      EXPECT_EQ(each.code.value(), EPERM);
      refused += each.count;
    }
  }
};

// What is decided meanwhile is told as refused and waits on, whatever is decided when it is back; what comes before and
// behind passes.
TEST_F(rights_faults, capability_dropped_under_load) {
  for (const auto delay : {0ms, 5ms}) {
    SCOPED_TRACE(testing::Message() << "verdict_delay " << delay.count());
    rule();
    std::optional<queue> q = must_open(
        {.max_length = 4096, .verdict_delay = delay, .at_close = ipq::queue_options::closing::accept_waiting});
    load traffic(near_ns(), far_ns());
    std::uint64_t told = 0, accepted = accept(*q, 300, told), refused = 0;
    EXPECT_EQ(told, 0u);
    {
      const unit_tests::without_net_admin powerless;
      refused = accept(*q, 100, told);
      traffic.pause();
      while (told < refused) refused += accept_what_is_there(*q, told);
    }
    traffic.go_on();
    accepted += accept(*q, 300, told);
    traffic.stop();
    while (accepted + refused < traffic.sent()) accepted += accept_what_is_there(*q, told);
    EXPECT_EQ(told, refused);
    const auto s = q->stats();
    EXPECT_EQ(s.in_kernel->queued, traffic.sent());
    EXPECT_EQ(s.in_kernel->waiting, refused);
    EXPECT_EQ(s.in_kernel->lost_queue_full + s.in_kernel->lost_no_buffer, 0u);
    EXPECT_EQ(s.received, traffic.sent());
    EXPECT_EQ(s.accepted, accepted);
    EXPECT_EQ(s.refused, refused);
    EXPECT_EQ(s.gone + s.dropped + s.undecided + s.malformed, 0u);
    wait_until("what was accepted arrives", [&] { return traffic.arrived() >= accepted; });
    EXPECT_EQ(traffic.arrived(), accepted);
    q.reset();  // accepts what waits
    const auto found = traffic.settle(traffic.sent());
    EXPECT_EQ(found.missing, std::vector<std::uint32_t>());
    EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
    tell("refused", refused);
    remove_rule();
  }
}

// The same with libipq, of which each verdict is a message. What waits is dropped when the handle goes.
TEST_F(rights_faults, capability_dropped_under_load_in_c) {
  const libipq_environment of_libipq;
  rule();
  kernel_tests::handle h(kernel_tests::ipv4, IPQ_COPY_PACKET);
  load traffic(near_ns(), far_ns());
  std::uint64_t accepted = 0, refused = 0, told = 0;
  // Takes one message, and decides if it is a packet.
  const auto go_on = [&](std::uint64_t& decided) {
    const auto next = kernel_tests::read_message(h);
    if (next.type() == IPQM_PACKET) {
      kernel_tests::set_verdict(h, next.id());
      ++decided;
    } else {
      EXPECT_EQ(next.error(), EPERM);
      ++told;
    }
  };
  while (accepted < 300) go_on(accepted);
  EXPECT_EQ(told, 0u);
  {
    const unit_tests::without_net_admin powerless;
    while (refused < 100) go_on(refused);
    traffic.pause();
    while (told < refused || accepted + refused < traffic.sent()) go_on(refused);
  }
  traffic.go_on();
  const std::uint64_t before = accepted;
  while (accepted < before + 300) go_on(accepted);
  traffic.stop();
  while (accepted + refused < traffic.sent()) go_on(accepted);
  EXPECT_EQ(told, refused);
  EXPECT_EQ(status().waiting, refused);
  EXPECT_EQ(lost_by_the_kernel(), 0u);
  const auto s = kernel_tests::stats_of(h);
  EXPECT_EQ(s.accepted, accepted);
  EXPECT_EQ(s.refused, refused);
  h.destroy();
  const auto found = traffic.settle(accepted);
  EXPECT_EQ(found.missing.size(), refused);
  EXPECT_TRUE(found.in_one_piece());
  EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
  tell("refused", refused);
}

}  // namespace
}  // namespace fault_tests
