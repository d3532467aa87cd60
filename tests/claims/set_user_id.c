/* SPDX-License-Identifier: MIT
 *
 * Says whether a handle can be made, with any argument one for IPv6: not if the library heeds a malformed environment
 * variable.
 */
#include <libipq/libipq.h>
#include <stdio.h>

int main(int argc, char** argv) {
  struct ipq_handle* h = ipq_create_handle(0, argc > 1 ? PF_INET6 : PF_INET);

  (void)argv;

  if (!h) {
    puts(ipq_errstr());
    return 1;
  }
  return ipq_destroy_handle(h) == 0 ? 0 : 2;
}
