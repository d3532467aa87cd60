// SPDX-License-Identifier: MIT
// In which order packets leave a handler that delays some of them.
#include "rule_handler.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "rules/test_packets.hpp"

namespace tool {
namespace {

using namespace std::chrono_literals;

// Keeps the ids of packets in the order in which they are decided.
class decided final : public ipq::source {
 public:
  ipq::batch_result receive(clock::time_point) & override { return ipq::failed("receive", ENODATA); }
  ipq::batch_result try_receive() & override { return ipq::failed("receive", ENODATA); }
  ipq::result<void> set_verdict(const ipq::packet& which, const ipq::verdict&) override {
    to_->ids.push_back(which.id);
    return {};
  }
  ipq::result<ipq::held_packet> hold(const ipq::packet& which) override {
    return ipq::held_packet(to_, which.id, false);
  }
  ipq::result<void> flush() override { return {}; }
  void stop() noexcept override {}
  [[nodiscard]] int fd() const noexcept override { return -1; }
  [[nodiscard]] ipq::statistics stats() const override { return {}; }

  [[nodiscard]] const std::vector<std::uint32_t>& ids() const noexcept { return to_->ids; }

 private:
  struct list final : ipq::held_packet::keeper {
    std::vector<std::uint32_t> ids;
    ipq::result<void> set_held_verdict(std::uint32_t id, const ipq::verdict&) override {
      ids.push_back(id);
      return {};
    }
    void give_up_held(std::uint32_t) noexcept override {}
  };
  std::shared_ptr<list> to_ = std::make_shared<list>();
};

// Its worker is late: what came later must not pass by because it may go at once.
TEST(rule_handler, what_is_due_goes_before_what_comes) {
  const std::vector<rules::source> text{{.name = "rules", .text = "rate 1000/s within 1s"}};
  auto made = rules::ruleset::compile(text);
  ASSERT_TRUE(made);
  rule_job job;
  job.limits = {.packets = 10, .bytes = 1 << 20};
  rule_handler handler(job, {*std::move(made), {}}, 0);
  decided packets;
  const auto bytes = rules::make_bytes({});
  std::vector<ipq::packet> batch(2, rules::make_packet(bytes));
  batch[0].id = 1;
  batch[1].id = 2;
  ASSERT_TRUE(handler.take(packets, batch));
  EXPECT_EQ(packets.ids(), std::vector<std::uint32_t>{1});
  std::this_thread::sleep_for(5ms);
  batch.resize(1);
  batch[0].id = 3;
  ASSERT_TRUE(handler.take(packets, batch));
  EXPECT_EQ(packets.ids(), (std::vector<std::uint32_t>{1, 2, 3}));
}

// ThreadSanitizer sees what they share unlocked.
TEST(rule_handler, other_rules_come_while_the_worker_looks_up_interfaces) {
  const std::vector<rules::source> text{{.name = "rules", .text = "log : [outdev=lo]\nlog, drop"}};
  auto made = rules::ruleset::compile(text);
  ASSERT_TRUE(made);
  rule_job job;
  rule_handler handler(job, {*made, {}}, 0);
  std::atomic<int> done = 0;
  std::jthread reloads([&](const std::stop_token& end) {
    rule_handler* const handlers[] = {&handler};
    for (; !end.stop_requested(); ++done) rule_handler::replace(handlers, {*made, {}});
  });
  decided packets;
  const auto bytes = rules::make_bytes({});
  std::vector<ipq::packet> batch(1, rules::make_packet(bytes));
  batch[0].outdev = 1;
  for (int i = 0; i < 1000 || done < 1000; ++i) ASSERT_TRUE(handler.take(packets, batch));
}

}  // namespace
}  // namespace tool
