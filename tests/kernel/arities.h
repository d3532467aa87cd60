/* SPDX-License-Identifier: MIT
 *
 * ipq_create_handle as C programs of different ages call it.
 */
#ifndef ARITIES_H
#define ARITIES_H

#include <libipq.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ipq_handle* create_as_in_2001(void);
struct ipq_handle* create_with_protocol(uint32_t protocol);
struct ipq_handle* create_through_pointer(uint32_t protocol);

#ifdef __cplusplus
}
#endif

#endif /* ARITIES_H */
