// SPDX-License-Identifier: MIT
#include "memory.hpp"

#include <cstdlib>
#include <new>

namespace fault_tests {

thread_local long granted_allocations = -1;

}  // namespace fault_tests

void* operator new(std::size_t size) {
  using fault_tests::granted_allocations;
  if (granted_allocations == 0) throw std::bad_alloc();
  if (granted_allocations > 0) --granted_allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
