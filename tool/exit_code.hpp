// SPDX-License-Identifier: MIT
// What the exit status of the ipq command says: part of its interface, as in ipq(1).
#pragma once

#include <cerrno>

#include "ipq/error.hpp"

namespace tool {

enum exit_code : int {
  done = 0,
  failed = 1,
  wrong_usage = 2,
  no_rights = 3,
  queue_taken = 4,
  kernel_lacks = 5,  ///< something that the command needs: nfnetlink_queue, a rule's match
};

[[nodiscard]] inline exit_code exit_code_of(const ipq::error& cause) noexcept {
  if (cause.is(EPERM) || cause.is(EACCES)) return no_rights;
  if (cause.is(EBUSY)) return queue_taken;
  if (cause.is(ENOSYS) || cause.is(EOPNOTSUPP) || cause.is(EPROTONOSUPPORT)) return kernel_lacks;
  return failed;
}

}  // namespace tool
