// SPDX-License-Identifier: MIT
// Whether this process is the one that set the mark, or a child of fork() with a copy of its memory: without a system
// call.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <new>

namespace ipq::queues {

/// In a child of fork() it is not set until the child sets it.
class fork_mark {
 public:
  /// Throws std::bad_alloc.
  explicit fork_mark(bool set) {
    void* const page = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) throw std::bad_alloc();
    ::madvise(page, size, MADV_WIPEONFORK);  // Linux 4.14; before, a child takes itself for its parent
    flag_ = new (page) std::atomic<bool>(set);
  }
  fork_mark(const fork_mark&) = delete;
  fork_mark& operator=(const fork_mark&) = delete;
  ~fork_mark() { ::munmap(flag_, size); }

  void set() noexcept { flag_->store(true, std::memory_order_relaxed); }
  [[nodiscard]] bool is_set() const noexcept { return flag_->load(std::memory_order_relaxed); }

 private:
  static constexpr std::size_t size = 4096;  // rounded up to a page
  std::atomic<bool>* flag_;
};

}  // namespace ipq::queues
