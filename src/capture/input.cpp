// SPDX-License-Identifier: MIT
#include "capture/input.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ipq::capture {
namespace {

constexpr std::size_t packed_size = 128 << 10;
constexpr std::size_t longest_magic = 4;

}  // namespace

result<input> input::open(const std::string& path) {
  descriptor opened =
      path == "-" ? descriptor(STDIN_FILENO, false) : descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat about {};
  if (!opened || ::fstat(opened.fd(), &about) != 0) return failed("open capture", errno);
  if (S_ISDIR(about.st_mode)) return failed("open capture", EISDIR);
  const bool whole = S_ISREG(about.st_mode) || S_ISBLK(about.st_mode);
  return input(std::move(opened), !whole, S_ISREG(about.st_mode) ? static_cast<std::uint64_t>(about.st_size) : 0);
}

result<std::size_t> input::read_file(std::span<std::byte> to) {
  if (!file_.is_there()) return closed_unseen("read capture");
  if (waits_) {
    // Not O_NONBLOCK: that would be a change for everybody who shares the pipe.
    pollfd asked{file_.fd(), POLLIN, 0};
    if (::poll(&asked, 1, 0) == 0) return failed("read capture", EAGAIN);
  }
  for (;;) {
    const ssize_t count = ::read(file_.fd(), to.data(), to.size());
    if (count >= 0) {
      position_ += static_cast<std::size_t>(count);
      return static_cast<std::size_t>(count);
    }
    if (errno != EINTR) return failed("read capture", errno);
  }
}

result<bool> input::look_at_beginning() {
  packed_.resize(packed_size);
  while (packed_at_ < longest_magic && !at_end_) {
    const auto count = read_file(std::span(packed_).subspan(packed_at_));
    if (!count) return std::unexpected(count.error());
    packed_at_ += *count;
    at_end_ = *count == 0;
  }
  packed_.resize(std::exchange(packed_at_, 0));
  auto found = find_unpacker(packed_);
  if (!found) return std::unexpected(found.error());
  unpacker_ = std::move(*found);
  looked_ = true;
  return true;
}

result<std::size_t> input::read(std::span<std::byte> to) {
  if (!looked_) {
    if (const auto looked = look_at_beginning(); !looked) return std::unexpected(looked.error());
  }
  if (unpacker_) return read_packed(to);
  if (packed_at_ < packed_.size()) {
    const std::size_t count = std::min(to.size(), packed_.size() - packed_at_);
    std::memcpy(to.data(), packed_.data() + packed_at_, count);
    packed_at_ += count;
    has_more_ = packed_at_ < packed_.size();
    return count;
  }
  return read_file(to);
}

result<std::size_t> input::read_packed(std::span<std::byte> to) {
  has_more_ = false;
  for (;;) {
    const auto done = unpacker_->unpack(std::span(packed_).subspan(packed_at_), to);
    if (!done) return std::unexpected(done.error());
    packed_at_ += done->taken;
    if (done->given != 0) {
      // What had no room stays in the unpacker.
      has_more_ = packed_at_ < packed_.size() || done->given == to.size();
      return done->given;
    }
    if (done->taken != 0) continue;
    if (at_end_) {
      if (unpacker_->complete() && packed_at_ == packed_.size()) return 0;
      auto cut = failed("read capture", EBADMSG);
      cut.error().advice = "the packed data is cut";
      return cut;
    }
    // What is left, at most a few bytes, goes in front of what comes.
    packed_.erase(packed_.begin(), packed_.begin() + static_cast<std::ptrdiff_t>(std::exchange(packed_at_, 0)));
    const std::size_t kept = packed_.size();
    packed_.resize(kept + packed_size);
    const auto count = read_file(std::span(packed_).subspan(kept));
    packed_.resize(kept + count.value_or(0));
    if (!count) return std::unexpected(count.error());
    at_end_ = *count == 0;
  }
}

}  // namespace ipq::capture
