// SPDX-License-Identifier: MIT
// What every source gives: serve() on one that is no queue, and held packets that know only their keeper.
#include "ipq/source.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

namespace ipq {
namespace {

struct ledger final : held_packet::keeper {
  result<void> set_held_verdict(std::uint32_t id, const verdict& given) override {
    if (fails_with != 0) return failed("set verdict", fails_with);
    decided.emplace_back(id, given.what());
    return {};
  }
  void give_up_held(std::uint32_t id) noexcept override { given_up.push_back(id); }

  std::vector<std::pair<std::uint32_t, verdict::action>> decided;
  std::vector<std::vector<std::byte>> replacements;
  std::vector<std::uint32_t> given_up;
  int fails_with = 0;
};

/// Hands out packets in batches of two, interrupted once, and ends.
class numbers final : public source {
 public:
  explicit numbers(std::uint32_t count, int ends_with = ENODATA) : left_(count), ends_with_(ends_with) {}

  batch_result receive(clock::time_point) & override {
    if (!std::exchange(interrupted_, true)) return failed("receive", EINTR);
    if (left_ == 0) return failed("receive", ends_with_);
    packets_.clear();
    for (int i = 0; i < 2 && left_ > 0; ++i, --left_) packets_.push_back({.id = ++last_});
    return batch(packets_, {});
  }
  batch_result try_receive() & override { return receive({}); }
  result<void> set_verdict(const packet& which, const verdict& given) override {
    if (refuses_ != 0) return failed("set verdict", refuses_);
    kept->decided.emplace_back(which.id, given.what());
    kept->replacements.emplace_back(given.payload().begin(), given.payload().end());
    return {};
  }
  result<held_packet> hold(const packet& which) override { return held_packet(kept, which.id, which.truncated); }
  result<void> flush() override { return {}; }
  void stop() noexcept override { ends_with_ = ECANCELED; }
  int fd() const noexcept override { return -1; }
  statistics stats() const override { return {}; }
  void refuse_with(int code) { refuses_ = code; }

  std::shared_ptr<ledger> kept = std::make_shared<ledger>();

 private:
  std::uint32_t left_, last_ = 0;
  int ends_with_;
  int refuses_ = 0;
  bool interrupted_ = false;
  std::vector<packet> packets_;
};

verdict drop_even(const packet& which) {
  return which.id % 2 == 0 ? verdict::drop() : verdict::accept();
}

TEST(source, is_served_to_its_end_whatever_its_kind) {
  numbers from(3);
  source& any = from;
  ASSERT_TRUE(serve(any, drop_even));
  using enum verdict::action;
  const std::vector<std::pair<std::uint32_t, verdict::action>> expected{{1, accept}, {2, drop}, {3, accept}};
  EXPECT_EQ(from.kept->decided, expected);
}

TEST(source, replacement_in_the_buffer_of_serve_is_there_when_the_verdict_is_given) {
  numbers from(3);
  ASSERT_TRUE(serve(from, [](const packet& p, std::vector<std::byte>& buffer) {
    buffer.assign(p.id, static_cast<std::byte>(p.id));
    return verdict::accept().with_payload(buffer);
  }));
  ASSERT_EQ(from.kept->replacements.size(), 3u);
  for (std::uint32_t id = 1; id <= 3; ++id) {
    EXPECT_EQ(from.kept->replacements[id - 1], std::vector<std::byte>(id, static_cast<std::byte>(id)));
  }
}

TEST(source, serving_ends_well_after_stop) {
  numbers from(0, ECANCELED);
  EXPECT_TRUE(serve(from, drop_even));
}

TEST(source, serving_ends_with_the_errors_of_reading) {
  numbers from(2, EIO);
  const auto ended = serve(from, drop_even);
  ASSERT_FALSE(ended);
  EXPECT_TRUE(ended.error().is(EIO));
  EXPECT_EQ(from.kept->decided.size(), 2u);
}

TEST(source, serving_goes_on_after_a_replacement_that_cant_be_used_and_ends_with_other_errors) {
  for (const int routine : {EINVAL, EMSGSIZE}) {
    numbers from(2);
    from.refuse_with(routine);
    EXPECT_TRUE(serve(from, drop_even)) << routine;
  }
  numbers from(2);
  from.refuse_with(EPERM);
  const auto ended = serve(from, drop_even);
  ASSERT_FALSE(ended);
  EXPECT_TRUE(ended.error().is(EPERM));
}

TEST(source, handler_may_hold_or_decide_the_packet_itself) {
  numbers from(3);
  from.refuse_with(EALREADY);  // as sources do then
  std::vector<held_packet> later;
  EXPECT_TRUE(serve(from, [&](const packet& p) {
    later.push_back(from.hold(p).value());
    return verdict::drop();
  }));
  EXPECT_EQ(later.size(), 3u);
}

TEST(held_packet, is_decided_once) {
  numbers from(1);
  auto held = from.hold({.id = 7});
  ASSERT_TRUE(held);
  EXPECT_TRUE(std::move(*held).set_verdict(verdict::stop()));
  EXPECT_TRUE(std::move(*held).set_verdict(verdict::drop()).error().is(EALREADY));
  ASSERT_EQ(from.kept->decided.size(), 1u);
  EXPECT_EQ(from.kept->decided[0].second, verdict::action::stop);
  EXPECT_TRUE(from.kept->given_up.empty());
}

TEST(held_packet, forgotten_is_given_up_once) {
  numbers from(1);
  {
    auto first = from.hold({.id = 1});
    auto second = from.hold({.id = 2});
    *first = std::move(*second);  // gives up 1
    EXPECT_EQ(from.kept->given_up, std::vector<std::uint32_t>{1});
  }
  EXPECT_EQ(from.kept->given_up, (std::vector<std::uint32_t>{1, 2}));
}

TEST(held_packet, refuses_replacements_that_would_lose_bytes) {
  numbers from(1);
  const std::array<std::byte, 65532> bytes{};
  auto cut = from.hold({.id = 1, .truncated = true});
  EXPECT_TRUE(
      std::move(*cut).set_verdict(verdict::accept().with_payload(std::span(bytes).first(20))).error().is(EMSGSIZE));
  EXPECT_TRUE(std::move(*cut).set_verdict(verdict::accept().with_payload(bytes)).error().is(EINVAL));
  EXPECT_TRUE(std::move(*cut).set_verdict(verdict::accept())) << "it still is to be decided";
}

TEST(held_packet, stays_undecided_only_if_its_replacement_was_not_sent) {
  numbers from(1);
  from.kept->fails_with = ENOBUFS;
  const std::array<std::byte, 20> bytes{};
  auto with_bytes = from.hold({.id = 1});
  EXPECT_TRUE(std::move(*with_bytes).set_verdict(verdict::accept().with_payload(bytes)).error().is(ENOBUFS));
  auto without = from.hold({.id = 2});
  EXPECT_TRUE(std::move(*without).set_verdict(verdict::accept()).error().is(ENOBUFS));  // kept for the next flush
  EXPECT_TRUE(std::move(*without).set_verdict(verdict::accept()).error().is(EALREADY));
  from.kept->fails_with = 0;
  EXPECT_TRUE(std::move(*with_bytes).set_verdict(verdict::accept()));
}

}  // namespace
}  // namespace ipq
