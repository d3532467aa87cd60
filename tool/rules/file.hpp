// SPDX-License-Identifier: MIT
// A regular file, open for reading from its beginning to its end.
#pragma once

#include <cstddef>
#include <expected>
#include <filesystem>
#include <span>
#include <string>

#include "ipq/error.hpp"

namespace ipq::tool::rules {

/// What an errno of open, read or write says about a file and what to do: "No such file or directory: check the name".
/// The reason alone where nothing better than it can be said.
[[nodiscard]] std::string file_reason(int error);
/// The whole message of a failure at a file, with what to do where it does not say so itself.
[[nodiscard]] std::string file_reason(const ipq::error& what);

struct file_error {
  std::string text;        ///< "cannot open: No such file or directory: check the name"
  bool forbidden = false;  ///< the file may not be read: EACCES
};

/// Owns the descriptor.
class input_file {
 public:
  /// Refuses what is no regular file: a pipe or a device might never end, and could not be read again for a reload.
  [[nodiscard]] static std::expected<input_file, file_error> open(const std::filesystem::path& name);
  input_file(input_file&& other) noexcept;
  input_file& operator=(input_file&& other) noexcept;
  ~input_file();

  /// As many bytes as are there; 0 at the end.
  [[nodiscard]] std::expected<std::size_t, file_error> read(std::span<char> into);

 private:
  explicit input_file(int fd) noexcept : fd_(fd) {}

  int fd_;
};

}  // namespace ipq::tool::rules
