/* SPDX-License-Identifier: MIT
 *
 * For programs that write <libipq.h>; the header is <libipq/libipq.h>.
 */
#include "libipq/libipq.h"
