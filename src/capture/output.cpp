// SPDX-License-Identifier: MIT
#include "capture/output.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <ctime>
#include <iterator>

namespace ipq::capture {
namespace {

/// No signals of write(2) while it exists: a pipe that closes (SIGPIPE) and a file that may not grow (SIGXFSZ) are
/// errors, and not the end of the program.
class without_write_signals {
 public:
  without_write_signals() noexcept {
    sigset_t pending, both;
    ::sigpending(&pending);
    ::sigemptyset(&both);
    ::sigemptyset(&ours_);
    for (const int each : {SIGPIPE, SIGXFSZ}) {
      ::sigaddset(&both, each);
      if (::sigismember(&pending, each) != 1) ::sigaddset(&ours_, each);
    }
    ::pthread_sigmask(SIG_BLOCK, &both, &before_);
  }
  without_write_signals(const without_write_signals&) = delete;
  without_write_signals& operator=(const without_write_signals&) = delete;
  ~without_write_signals() {
    const int kept = errno;
    constexpr timespec not_at_all{};
    ::sigtimedwait(&ours_, nullptr, &not_at_all);  // one write raises one of them
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = kept;
  }

 private:
  sigset_t ours_;  ///< those that came while this existed
  sigset_t before_;
};

/// Two who write one file would make of it what is neither's. Only who opens it anew is refused: a child has this very
/// lock. File systems that have no locks let all in.
result<void> lock(const descriptor& opened) {
  if (::flock(opened.fd(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return {};
  auto taken = failed("open output", EWOULDBLOCK);
  taken.error().advice = "another writer has it open: write to another place";
  return taken;
}

}  // namespace

result<output> output::open(const std::string& path, int not_this) {
  // Not O_TRUNC: it may be what must not be touched.
  descriptor opened = path == "-" ? descriptor(STDOUT_FILENO, false)
                                  : descriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
  struct stat about {};
  if (!opened || ::fstat(opened.fd(), &about) != 0) return failed("open output", errno);
  struct stat other {};
  const bool regular = S_ISREG(about.st_mode);
  if (regular && not_this >= 0 && ::fstat(not_this, &other) == 0 && other.st_dev == about.st_dev &&
      other.st_ino == about.st_ino) {
    auto same = failed("open output", EINVAL);
    same.error().advice = "it is the file that is read";
    return same;
  }
  // Standard output is whoever's that started the program.
  if (regular && path != "-") {
    if (const auto locked = lock(opened); !locked) return std::unexpected(locked.error());
    if (::ftruncate(opened.fd(), 0) != 0) return failed("open output", errno);
  }
  return output(std::move(opened), regular);
}

result<output> output::create(const std::string& path) {
  descriptor opened(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!opened) return failed("open output", errno);
  return adopt(std::move(opened));
}

result<output> output::adopt(descriptor opened) {
  struct stat about {};
  if (::fstat(opened.fd(), &about) != 0) return failed("open output", errno);
  const bool regular = S_ISREG(about.st_mode);
  if (regular) {
    if (const auto locked = lock(opened); !locked) return std::unexpected(locked.error());
  }
  if (regular && (::ftruncate(opened.fd(), 0) != 0 || ::lseek(opened.fd(), 0, SEEK_SET) != 0))
    return failed("open output", errno);
  return output(std::move(opened), regular);
}

result<std::size_t> output::write(std::span<const std::byte> rest) const noexcept {
  if (!file_.is_there()) return closed_unseen("write output");
  const without_write_signals quiet;
  for (;;) {
    const ssize_t count = ::write(file_.fd(), rest.data(), rest.size());
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EAGAIN) {  // whoever shares the pipe wants it so
      pollfd watched{file_.fd(), POLLOUT, 0};
      ::poll(&watched, 1, -1);
    } else if (errno != EINTR) {
      return failed("write output", errno);
    }
  }
}

result<void> output::flush() {
  while (sent_ < used_) {
    const auto count = write(std::span(buffer_).subspan(sent_, used_ - sent_));
    if (!count) {
      if (regular_ && file_.is_there()) keep_whole_records();
      return std::unexpected(count.error());
    }
    sent_ += *count;
  }
  written_ += used_;
  used_ = sent_ = 0;
  ends_.clear();
  return {};
}

/// A full disk takes a part: a record that is cut is taken back, and written again by the next flush.
void output::keep_whole_records() noexcept {
  const auto cut = std::ranges::upper_bound(ends_, sent_);
  const std::size_t kept = cut == ends_.begin() ? 0 : *std::prev(cut);
  if (sent_ != kept) {
    const off_t whole = ::lseek(file_.fd(), 0, SEEK_CUR) - static_cast<off_t>(sent_ - kept);
    if (whole < 0 || ::ftruncate(file_.fd(), whole) != 0 || ::lseek(file_.fd(), whole, SEEK_SET) != whole) return;
  }
  ends_.erase(ends_.begin(), cut);
  for (std::size_t& each : ends_) each -= kept;
  std::memmove(buffer_.data(), buffer_.data() + kept, used_ - kept);
  used_ -= kept;
  written_ += kept;
  sent_ = 0;
}

}  // namespace ipq::capture
