// SPDX-License-Identifier: MIT
#include "memory.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace fault_tests {

thread_local long granted_allocations = -1;

namespace {

void* allocate(std::size_t size, std::size_t alignment = sizeof(void*)) noexcept {
  if (granted_allocations == 0) return nullptr;
  if (granted_allocations > 0) --granted_allocations;
  if (alignment <= alignof(std::max_align_t)) return std::malloc(std::max<std::size_t>(size, 1));
  return std::aligned_alloc(alignment, (size + alignment) / alignment * alignment);
}

void* must_allocate(std::size_t size, std::size_t alignment = sizeof(void*)) {
  if (void* memory = allocate(size, alignment)) return memory;
  throw std::bad_alloc();
}

}  // namespace
}  // namespace fault_tests

// All of them: a sanitizer's own would not ask those here.
using namespace fault_tests;
using std::align_val_t, std::nothrow_t, std::size_t;

void* operator new(size_t size) {
  return must_allocate(size);
}
void* operator new[](size_t size) {
  return must_allocate(size);
}
void* operator new(size_t size, const nothrow_t&) noexcept {
  return allocate(size);
}
void* operator new[](size_t size, const nothrow_t&) noexcept {
  return allocate(size);
}
void* operator new(size_t size, align_val_t to) {
  return must_allocate(size, static_cast<size_t>(to));
}
void* operator new[](size_t size, align_val_t to) {
  return must_allocate(size, static_cast<size_t>(to));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, const nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, const nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete(void* memory, align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t, align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t, align_val_t) noexcept {
  std::free(memory);
}
