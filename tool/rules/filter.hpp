// SPDX-License-Identifier: MIT
// A filter on its own, for commands that take one as an argument: what may stand behind the colon of a rule.
#pragma once

#include <expected>
#include <memory>
#include <vector>

#include "diagnostic.hpp"
#include "ipq/packet.hpp"
#include "metadata.hpp"
#include "source.hpp"

namespace ipq::tool::rules {

struct condition;  // condition.hpp

/// Says of packets whether they match. Copies are cheap; any number of threads may ask.
class filter {
 public:
  /// Compiles the text of one filter, as `[indev=eth0] udp port 53 and not src @FILE`. One that is empty matches
  /// everything.
  [[nodiscard]] static std::expected<filter, std::vector<diagnostic>> compile(const source& from);

  [[nodiscard]] bool matches(const packet& which, const interface_names& names = {}) const;
  [[nodiscard]] bool tests_owner() const noexcept;  ///< uid or gid: the queue has to ask for them
  /// The names of interfaces that are tested, but for those that end with '*'.
  [[nodiscard]] std::vector<std::string> interfaces() const;

 private:
  explicit filter(std::shared_ptr<const condition> made) noexcept : condition_(std::move(made)) {}

  std::shared_ptr<const condition> condition_;
};

}  // namespace ipq::tool::rules
