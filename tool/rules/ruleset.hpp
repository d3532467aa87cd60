// SPDX-License-Identifier: MIT
// Compiled rules: made from text once, then only read, by as many engines and threads as like.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "diagnostic.hpp"
#include "source.hpp"

namespace ipq::tool::rules {

struct compiled;  // compiled.hpp, for the engine

/// Rules in order, as ipq-rules(5) describes them. Copies are cheap and share everything. An empty one has no rules.
class ruleset {
 public:
  /// A rule as it was written.
  struct origin {
    std::string file;
    std::size_t line;
    std::string text;  ///< without white space and comment around it
  };

  /// Compiles the texts in their order, as if they were one. Opens the files of @FILE, and no other. Host names are
  /// never looked up. On failure every fault that was found, at least one, at most 20.
  [[nodiscard]] static std::expected<ruleset, std::vector<diagnostic>> compile(std::span<const source> sources);
  [[nodiscard]] static std::expected<ruleset, std::vector<diagnostic>> compile(const source& one) {
    return compile(std::span(&one, 1));
  }

  ruleset();

  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] const origin& operator[](std::size_t rule) const noexcept;

  /// The files of `record FILE`, each once, in order of appearance, as they were written; nobody has
  /// opened them. decision::records are indices into it.
  [[nodiscard]] std::span<const std::filesystem::path> record_files() const noexcept;
  /// The names of `count NAME`, each once, in order of appearance.
  [[nodiscard]] std::span<const std::string> count_names() const noexcept;

  /// What the driver has to provide.
  [[nodiscard]] bool tests_owner() const noexcept;  ///< uid or gid: the queue has to ask for them
  [[nodiscard]] bool delays() const noexcept;       ///< delay, reorder or rate: packets have to be held
  [[nodiscard]] bool duplicates() const noexcept;   ///< duplicate: packets have to be sent

  /// Whether a seed has a say: loss, jitter, duplicate, corrupt or reorder.
  [[nodiscard]] bool uses_chance() const noexcept;

  /// Where a rule says something: for faults that depend on more than the rules.
  struct place {
    std::size_t rule = 0;
    std::size_t column = 0;  ///< in the line, as diagnostic::column
  };
  /// A fault there, with the line.
  [[nodiscard]] diagnostic fault_at(const place& where, std::string message) const;

  /// The first set, replace or corrupt; the first duplicate; the first `record` of one of record_files().
  [[nodiscard]] std::optional<place> first_change() const;
  [[nodiscard]] std::optional<place> first_duplicate() const;
  [[nodiscard]] std::optional<place> first_record(std::size_t file) const;

  /// Each `queue N`.
  struct queue_use {
    std::uint16_t number;
    place where;
  };
  [[nodiscard]] std::vector<queue_use> queues() const;
  /// Each `repeat`, with the mark that its line gives.
  struct repeat_use {
    std::uint32_t mark, mask;
    bool connmark;  ///< it gives its connection one, too
    place where;
  };
  [[nodiscard]] std::vector<repeat_use> all_repeats() const;

  /// The names of interfaces that rules test, but for those that end with '*'.
  [[nodiscard]] std::vector<std::string> interfaces() const;

  [[nodiscard]] const compiled& rules() const noexcept { return *compiled_; }

 private:
  explicit ruleset(std::shared_ptr<const compiled> made) noexcept : compiled_(std::move(made)) {}

  std::shared_ptr<const compiled> compiled_;
};

}  // namespace ipq::tool::rules
