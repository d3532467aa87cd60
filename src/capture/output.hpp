// SPDX-License-Identifier: MIT
// A file that is written in whole records: whatever ends the program, or fills the disk, it can be read up to there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "capture/descriptor.hpp"
#include "ipq/error.hpp"

namespace ipq::capture {

class output {
 public:
  /// That can be there before it is full, as none is smaller than 16 bytes. So many are noted without memory: a verdict
  /// that was given can't be refused any more.
  static constexpr std::size_t most_records = (256 << 10) / 16;

  /// "-" is standard output, which is not closed in the end. `not_this`: an open file that must not be the same, -1 for
  /// none. An ordinary file is emptied. Errors: EINVAL it is the same; EWOULDBLOCK another writer has it; those of
  /// open(2).
  [[nodiscard]] static result<output> open(const std::string& path, int not_this = -1);
  /// Only where there is nothing of that name: EEXIST.
  [[nodiscard]] static result<output> create(const std::string& path);

  /// One that is open; also an ordinary file with something in it, which is emptied. Errors: EWOULDBLOCK another writer
  /// has it; those of ftruncate(2).
  [[nodiscard]] static result<output> adopt(descriptor opened);

  /// Space behind what is to be written, for a whole record, or a part of one.
  [[nodiscard]] std::span<std::byte> grow(std::size_t size) {
    const std::size_t begin = used_;
    used_ += size;
    if (used_ > buffer_.size()) buffer_.resize(used_ + used_ / 2);
    return std::span(buffer_).subspan(begin, size);
  }
  void append(std::span<const std::byte> record) {
    if (!record.empty()) __builtin_memcpy(grow(record.size()).data(), record.data(), record.size());
  }
  /// What was added ends a record. What comes before the end of none belongs to the next.
  void end_record() { ends_.push_back(used_); }
  /// That ended and are not written.
  [[nodiscard]] std::size_t records() const noexcept { return ends_.size(); }
  [[nodiscard]] bool is_full() const noexcept { return used_ >= enough; }
  [[nodiscard]] std::uint64_t size() const noexcept { return written_ + used_; }
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }

  /// Writes what is there, and of it as many whole records as have room. Errors: EBADF the program closed its
  /// descriptor; those of write(2); nothing is lost then, the next call tries again.
  result<void> flush();

 private:
  static constexpr std::size_t enough = most_records * 16;
  explicit output(descriptor opened, bool regular) : file_(std::move(opened)), regular_(regular) {
    buffer_.resize(enough + enough / 2);
    ends_.reserve(most_records);
  }
  result<std::size_t> write(std::span<const std::byte> rest) const noexcept;
  void keep_whole_records() noexcept;

  unseen_descriptor file_;
  bool regular_;
  std::vector<std::byte> buffer_;
  std::size_t used_ = 0;           ///< of buffer_
  std::size_t sent_ = 0;           ///< of those, what a pipe has taken
  std::uint64_t written_ = 0;      ///< before buffer_
  std::vector<std::size_t> ends_;  ///< of records in buffer_
};

}  // namespace ipq::capture
