// SPDX-License-Identifier: MIT
// Stands before the C library's getaddrinfo: no text, whatever it says, may make libpcap ask for a host.
#pragma once

#include <dlfcn.h>
#include <netdb.h>

#include "input.hpp"

extern "C" __attribute__((visibility("default"))) int getaddrinfo(const char* node, const char* service,
                                                                  const addrinfo* hints, addrinfo** found) {
  addrinfo numeric{};
  if (hints != nullptr) numeric = *hints;
  numeric.ai_flags |= AI_NUMERICHOST;
  static const auto real = reinterpret_cast<decltype(&getaddrinfo)>(dlsym(RTLD_NEXT, "getaddrinfo"));
  const int status = real(node, service, &numeric, found);
  fuzz::require(node == nullptr || status == 0 || (hints != nullptr && (hints->ai_flags & AI_NUMERICHOST) != 0));
  return status;
}
