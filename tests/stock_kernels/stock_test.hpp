// SPDX-License-Identifier: MIT
// What the tests of stock kernels share: rules of nftables, an open queue of the C++ library, and its next packets.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "ipq/owned_packet.hpp"
#include "ipq/queue.hpp"
#include "kernel/command.hpp"
#include "kernel/flow.hpp"

namespace stock_kernels {

constexpr std::uint16_t number = 3;

template <class T>
T must(ipq::result<T>&& outcome) {
  if (!outcome) throw std::runtime_error(outcome.error().message());
  if constexpr (!std::is_void_v<T>) return *std::move(outcome);
}

// Rules in the namespace that the thread is in.
inline void nft(const std::string& rules) {
  kernel_tests::must_run("nft -f -", rules);
}

// Whether the kernel takes rules, which are not kept.
inline bool takes(const std::string& rules) {
  return kernel_tests::run({"nft", "-c", "-f", "-"}, rules).status == 0;
}

// Some tests change the whole machine, and are for a virtual one alone.
inline bool may_change_the_machine() {
  return getenv("IPQ_STOCK_KERNEL") != nullptr;
}

inline ipq::queue must_open(ipq::queue_options options = {}) {
  if (options.number == 0) options.number = number;
  return must(ipq::queue::open(options));
}

// The next packet, decided and copied; throws when none comes within `patience`.
inline ipq::owned_packet take(ipq::queue& from, const ipq::verdict& answer = ipq::verdict::accept()) {
  const ipq::batch got = must(from.receive(ipq::queue::clock::now() + kernel_tests::patience));
  if (got.size() != 1) throw std::runtime_error(std::to_string(got.size()) + " packets instead of one");
  ipq::owned_packet copy{got[0]};
  must(from.set_verdict(got[0], answer));
  return copy;
}

inline bool nothing_to_read(ipq::queue& from) {
  const auto got = from.try_receive();
  return !got && got.error().is(ETIMEDOUT);
}

inline bool ends_with(const ipq::packet& queued, std::string_view text) {
  const std::string_view payload(reinterpret_cast<const char*>(queued.payload.data()), queued.payload.size());
  return payload.ends_with(text);
}

}  // namespace stock_kernels
