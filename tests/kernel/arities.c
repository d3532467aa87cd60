/* SPDX-License-Identifier: MIT
 *
 * ipq_create_handle as C programs of different ages call it.
 */
#include "arities.h"

struct ipq_handle* create_as_in_2001(void) {
  return ipq_create_handle(0);
}

struct ipq_handle* create_with_protocol(uint32_t protocol) {
  return ipq_create_handle(0, protocol);
}

struct ipq_handle* create_through_pointer(uint32_t protocol) {
  struct ipq_handle* (*create)(uint32_t, uint32_t) = ipq_create_handle;

  return create(0, protocol);
}
