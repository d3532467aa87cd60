/* SPDX-License-Identifier: MIT
 *
 * Says whether a handle can be made: not if the library heeds a malformed environment variable.
 */
#include <libipq/libipq.h>
#include <stdio.h>

int main(void) {
  struct ipq_handle* h = ipq_create_handle(0, PF_INET);

  if (!h) {
    puts(ipq_errstr());
    return 1;
  }
  return ipq_destroy_handle(h) == 0 ? 0 : 2;
}
