// SPDX-License-Identifier: MIT
// A network of one's own, in which nothing of the machine can be harmed.
#pragma once

#include "failure.hpp"

namespace tool {

/// Moves the process, which must have one thread, to a new network namespace in which lo is up: as root directly, as an
/// ordinary user within a user namespace. The kernel takes it away with the last process in it. Failures: no_rights,
/// and what to do.
[[nodiscard]] outcome<void> enter_private_network();

}  // namespace tool
