// SPDX-License-Identifier: MIT
// Memory that a process and its children of fork(2) have in common: what one writes the others see.
#pragma once

#include <sys/mman.h>

#include <new>
#include <type_traits>

namespace ipq::netlink {

/// One T, which is there until the last of the processes has let go of it or has ended.
template <class T>
class in_common {
  static_assert(std::is_trivially_destructible_v<T>, "no process knows that it is the last one");

 public:
  /// Throws std::bad_alloc.
  in_common() {
    void* const page = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) throw std::bad_alloc();
    object_ = new (page) T;
  }
  ~in_common() { ::munmap(object_, sizeof(T)); }
  in_common(const in_common&) = delete;
  in_common& operator=(const in_common&) = delete;

  T& operator*() const noexcept { return *object_; }
  T* operator->() const noexcept { return object_; }

 private:
  T* object_;
};

}  // namespace ipq::netlink
