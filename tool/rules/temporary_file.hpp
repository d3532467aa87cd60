// SPDX-License-Identifier: MIT
// A file that a test needs and that goes with it.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace ipq::tool::rules {

class temporary_file {
 public:
  explicit temporary_file(std::string_view text) {
    std::string name = (std::filesystem::temp_directory_path() / "ipq_rules_XXXXXX").string();
    const int fd = mkstemp(name.data());
    if (fd < 0) throw std::system_error(errno, std::generic_category(), name);
    path_ = name;
    while (!text.empty()) {
      const ssize_t written = write(fd, text.data(), text.size());
      if (written < 0) throw std::system_error(errno, std::generic_category(), name);
      text.remove_prefix(static_cast<std::size_t>(written));
    }
    close(fd);
  }
  ~temporary_file() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  temporary_file(const temporary_file&) = delete;
  temporary_file& operator=(const temporary_file&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace ipq::tool::rules
