// SPDX-License-Identifier: MIT
// The format of Wireshark: blocks, among them sections, interfaces and packets.
#pragma once

#include <memory>

#include "capture/format.hpp"

namespace ipq::capture {

[[nodiscard]] std::unique_ptr<format> make_pcapng();

}  // namespace ipq::capture
