// SPDX-License-Identifier: MIT
// Tests of what the kernel says beside the packet's bytes: `[indev=eth0 hook=output mark=0x1/0xff uid=1000]`.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace ipq::tool::rules {

/// The name of an interface, "" if there is none with this index. Asked only if a rule tests an interface, possibly
/// often for one packet; the name is not kept.
using interface_names = std::function<std::string_view(std::uint32_t index)>;

}  // namespace ipq::tool::rules
