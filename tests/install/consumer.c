/* SPDX-License-Identifier: MIT
 *
 * A program as users have, compiled in each dialect against an installation. The test puts one more include in front,
 * a spelling of the header; the program creates a handle in the arity of 2001 and in the present one.
 */
#include <libipq.h>
#include <stdio.h>
#include <string.h>

/* As programs lay out a buffer; -pedantic never liked it. */
#if defined(__cplusplus) && !defined(WITHOUT_ROOM)
struct message {
  struct nlmsghdr header;
  ipq_packet_msg_t packet;
  unsigned char room[2048];
};
#endif

int main(void) {
  ipq_packet_msg_t message;
  struct ipq_handle* h;

  h = ipq_create_handle(0);
  if (!h || h->fd < 0 || ipq_destroy_handle(h) != 0) {
    ipq_perror("(flags)");
    return 1;
  }
  h = ipq_create_handle(0, PF_INET);
  if (!h || ipq_destroy_handle(h) != 0) {
    ipq_perror("(flags, protocol)");
    return 1;
  }
  if (ipq_create_handle(0, 17) || strcmp(ipq_errstr(), "Invalid protocol specified") != 0) {
    fprintf(stderr, "protocol 17: %s\n", ipq_errstr());
    return 1;
  }
#if defined(__cplusplus) && !defined(WITHOUT_ROOM)
  if (sizeof(struct message) != sizeof(struct nlmsghdr) + sizeof(ipq_packet_msg_t) + 2048) {
    return 1;
  }
#endif
  memset(&message, 0, sizeof message);
  return message.data_len == 0 ? 0 : 1;
}
