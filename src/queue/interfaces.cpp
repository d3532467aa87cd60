// SPDX-License-Identifier: MIT
#include "ipq/interfaces.hpp"

#include "netlink/interfaces.hpp"
#include "netlink/socket.hpp"

namespace ipq {

class interface_names::memory : public netlink::interfaces {
  using netlink::interfaces::interfaces;
  friend class interface_names;
};

interface_names::interface_names() : memory_(new memory(netlink::kernel())) {}
interface_names::interface_names(interface_names&&) noexcept = default;
interface_names& interface_names::operator=(interface_names&&) noexcept = default;
interface_names::~interface_names() = default;

interface interface_names::find(std::uint32_t index) const noexcept {
  const auto found = memory_->find(index);
  return {.name = found.name, .type = found.type};
}

}  // namespace ipq
