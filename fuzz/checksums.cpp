// SPDX-License-Identifier: MIT
// Sums and checksums, whole, in pieces and incrementally, against a sum word by word.
#include <vector>

#include "input.hpp"
#include "ipq/checksum.hpp"

namespace {

using namespace ipq;
using fuzz::bytes;
using fuzz::input;
using fuzz::plain_sum;
using fuzz::require;

template <class Address>
void check_pseudo_header(input from) {
  std::vector<std::byte> plain;
  Address source, destination;
  for (Address* const address : {&source, &destination}) {
    const bytes taken = from.take(address->bytes.size());
    if (!taken.empty()) std::memcpy(address->bytes.data(), taken.data(), taken.size());
    const auto added = std::as_bytes(std::span(address->bytes));
    plain.insert(plain.end(), added.begin(), added.end());
  }
  const std::uint8_t protocol = from.byte();
  const auto length = from.take<std::uint32_t>();
  plain.insert(plain.end(), {std::byte{0}, std::byte{protocol}});
  for (const unsigned shift : {24u, 16u, 8u, 0u}) plain.push_back(static_cast<std::byte>(length >> shift));
  require(pseudo_header_sum(source, destination, static_cast<ip_protocol>(protocol), length) == plain_sum(plain));
}

/// Words at `at` become others: the checksum kept up incrementally is the one computed anew, where it was right.
void check_update(bytes all, std::size_t at, bytes fresh) {
  at = at / 2 * 2;
  if (at + fresh.size() > all.size()) return;
  std::vector<std::byte> changed(all.begin(), all.end());
  const auto before = sum_bytes(all.subspan(at, fresh.size()));
  std::ranges::copy(fresh, changed.begin() + static_cast<std::ptrdiff_t>(at));
  const std::uint16_t kept = update_checksum(checksum_of(all), before, sum_bytes(fresh));
  const auto anew = static_cast<std::uint16_t>(~plain_sum(changed));
  // The two zeros of ones' complement: a sum of nothing but zeros can't be told from one of ones.
  require(kept == anew || ((kept == 0 || kept == 0xffff) && (anew == 0 || anew == 0xffff)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input from(data, size);
  const std::size_t skipped = from.byte() % 16, cut = from.byte(), at = from.byte();
  const bytes fresh = from.take(from.byte() % 32);
  check_pseudo_header<ipv4_address>(from);
  check_pseudo_header<ipv6_address>(from);
  const bytes all = from.rest().subspan(std::min(skipped, from.rest().size()));
  require(sum_bytes(all) == plain_sum(all));
  require(checksum_of(all) == static_cast<std::uint16_t>(~plain_sum(all)));
  const bytes first = all.first(std::min(cut, all.size())), second = all.subspan(first.size());
  require(combine_sums(sum_bytes(first), first.size(), sum_bytes(second)) == plain_sum(all));
  check_update(all, at, fresh);
  return 0;
}
