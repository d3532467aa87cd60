// SPDX-License-Identifier: MIT
// Tests of what the kernel says beside the packet's bytes: `[indev=eth0 hook=output mark=0x1/0xff uid=1000]`.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipq/packet.hpp"

namespace ipq::tool::rules {

class scanner;

/// The name of an interface, "" if there is none with this index. Asked only if a rule tests an interface, possibly
/// often for one packet; the name is not kept.
using interface_names = std::function<std::string_view(std::uint32_t index)>;

enum class metadata_key : std::uint8_t {
  indev,
  outdev,
  physindev,
  physoutdev,
  hook,
  family,
  queue,
  mark,
  uid,
  gid,
};

/// One test. Of a packet that lacks what is tested, as the uid of a received one, `=` is false and `!=` true.
struct metadata_test {
  metadata_key key;
  bool negated = false;
  std::uint32_t value = 0;
  std::uint32_t mask = 0xffffffff;
  std::string name = {};   ///< of an interface
  bool is_prefix = false;  ///< the name ended with '*'

  [[nodiscard]] bool matches(const packet& which, const interface_names& names) const;
};

/// Appends the names of interfaces that are tested, but for those that end with '*'.
void add_interfaces(std::span<const metadata_test> tests, std::vector<std::string>& to);

/// The tests between brackets, whose opening one comes next. Throws fault.
[[nodiscard]] std::vector<metadata_test> read_metadata(scanner& from);

}  // namespace ipq::tool::rules
