// SPDX-License-Identifier: MIT
// The bytes of a capture file, or of standard input, unpacked where they are packed. Reads are plain reads and not a
// mapping: a file that shrinks meanwhile is a short file then, and not a SIGBUS.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "capture/descriptor.hpp"
#include "ipq/error.hpp"

namespace ipq::capture {

/// Unpacks a stream piece by piece.
class unpacker {
 public:
  virtual ~unpacker() = default;
  struct progress {
    std::size_t taken = 0;  ///< of the packed bytes
    std::size_t given = 0;  ///< unpacked bytes
  };
  /// Both 0: it needs more than it was given. Errors: EBADMSG, EOPNOTSUPP, ENOMEM.
  [[nodiscard]] virtual result<progress> unpack(std::span<const std::byte> packed, std::span<std::byte> to) = 0;
  /// Whether the stream may end here.
  [[nodiscard]] virtual bool complete() const noexcept = 0;
};
/// Null if it begins with the magic number of neither gzip nor Zstandard.
[[nodiscard]] result<std::unique_ptr<unpacker>> find_unpacker(std::span<const std::byte> beginning);

class input {
 public:
  /// "-" is standard input, which is not closed in the end. Errors: those of open(2).
  [[nodiscard]] static result<input> open(const std::string& path);

  /// Up to to.size() bytes, 0 at the end. Errors: EAGAIN nothing is there yet; EBADMSG the packed data is damaged or
  /// cut; EBADF the program closed its descriptor; those of read(2).
  [[nodiscard]] result<std::size_t> read(std::span<std::byte> to);

  [[nodiscard]] int fd() const noexcept { return file_.fd(); }
  /// Whether a read may have to wait: pipes, sockets and terminals.
  [[nodiscard]] bool waits() const noexcept { return waits_; }
  /// Whether the next read may give something that the file has given already, or tell of damage in it.
  [[nodiscard]] bool has_more() const noexcept { return has_more_; }
  /// Bytes of the file, 0 where that is not known; and how many of them have been read. Packed, if it is packed.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }

 private:
  input(descriptor opened, bool waits, std::uint64_t size) noexcept
      : file_(std::move(opened)), waits_(waits), size_(size) {}
  result<std::size_t> read_file(std::span<std::byte> to);
  result<bool> look_at_beginning();
  result<std::size_t> read_packed(std::span<std::byte> to);

  unseen_descriptor file_;
  bool waits_;
  std::uint64_t size_;
  std::uint64_t position_ = 0;
  bool looked_ = false;  ///< whether it is packed is known
  bool at_end_ = false;
  std::unique_ptr<unpacker> unpacker_;
  std::vector<std::byte> packed_;  ///< read and not yet unpacked or handed out: [packed_at_, packed_.size())
  std::size_t packed_at_ = 0;
  bool has_more_ = false;
};

}  // namespace ipq::capture
