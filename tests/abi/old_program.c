/* SPDX-License-Identifier: MIT
 *
 * A program that was compiled and linked against the old library: it queues its own packets in a private network
 * namespace, where the rule has been set already, reads them, and prints what it sees.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "old_interface.h"

enum { copy_packet = 2, accept_it = 1, drop_it = 0, message_error = 2, message_packet = 19 };

static int complain(const char* where) {
  printf("%s: %s\n", where, ipq_errstr());
  ipq_perror(where);
  return 1;
}

static void send_datagram(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (sendto(fd, "old", 3, 0, (struct sockaddr*)&to, sizeof to) != 3) perror("sendto");
  close(fd);
}

int main(void) {
  static unsigned char buf[4096];
  struct old_packet* packet;
  struct old_handle* h = ipq_create_handle(0, PF_INET);

  if (!h) return complain("create");
  if (h->fd < 0 || h->local.family != AF_NETLINK || h->peer.family != AF_NETLINK) return complain("handle");
  if (ipq_set_mode(h, copy_packet, sizeof buf) < 0) return complain("set mode");
  if (ipq_read(h, buf, sizeof buf, 1000) != 0) return complain("read too early");
  printf("nothing waits: %s\n", ipq_errstr());

  send_datagram();
  if (ipq_read(h, buf, sizeof buf, 5000000) <= 0 || ipq_message_type(buf) != message_packet) return complain("read");
  packet = ipq_get_packet(buf);
  printf("hook %u out %s, %lu bytes, the last three: %.3s\n", packet->hook, packet->outdev_name,
         (unsigned long)packet->data_len, (const char*)packet->payload + packet->data_len - 3);
  if (ipq_set_verdict(h, packet->packet_id, drop_it, 0, NULL) < 0) return complain("set verdict");

  /* Nobody waits under this id any more. */
  if (ipq_set_verdict(h, packet->packet_id, accept_it, 0, NULL) < 0) return complain("set verdict again");
  if (ipq_read(h, buf, sizeof buf, 5000000) <= 0 || ipq_message_type(buf) != message_error) return complain("refusal");
  printf("refused: %s\n", strerror(ipq_get_msgerr(buf)));
  printf("ctl: %d\n", ipq_ctl(h, 0));
  return ipq_destroy_handle(h) == 0 ? 0 : complain("destroy");
}
