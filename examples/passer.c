/* SPDX-License-Identifier: MIT
 *
 * The classic libipq program: it reads each queued packet, lets it pass and prints a line about it.
 * Run it as root beside a rule such as `iptables -A OUTPUT -p icmp -j QUEUE`; SIGINT or SIGTERM ends it.
 */
#include <arpa/inet.h>
#include <libipq.h>
#include <linux/netfilter.h>
#include <netinet/ip.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RANGE 1500   /* bytes of each packet that we ask for */
#define BUFSIZE 2048 /* RANGE and the message around it */

static volatile sig_atomic_t stop;

static void on_signal(int number) {
  (void)number;
  stop = 1;
}

static void die(struct ipq_handle* h) {
  ipq_perror("passer");
  ipq_destroy_handle(h);
  exit(EXIT_FAILURE);
}

static void print_packet(const ipq_packet_msg_t* m, const char* verdict) {
  static const char* const hooks[] = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"};
  const struct iphdr* ip = (const struct iphdr*)m->payload;
  char src[INET_ADDRSTRLEN], dst[INET_ADDRSTRLEN];

  inet_ntop(AF_INET, &ip->saddr, src, sizeof src);
  inet_ntop(AF_INET, &ip->daddr, dst, sizeof dst);
  printf("%-11s in %-6s out %-6s %s > %s protocol %d, %d bytes: %s\n", hooks[m->hook],
         m->indev_name[0] ? m->indev_name : "-", m->outdev_name[0] ? m->outdev_name : "-", src, dst, ip->protocol,
         ntohs(ip->tot_len), verdict);
}

int main(void) {
  unsigned char buf[BUFSIZE];
  struct ipq_handle* h;
  ipq_packet_msg_t* m;

  setvbuf(stdout, NULL, _IOLBF, 0);
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);

  h = ipq_create_handle(0, PF_INET);
  if (!h) die(h);
  if (ipq_set_mode(h, IPQ_COPY_PACKET, RANGE) < 0) die(h);
  puts("passer: waiting for packets");

  while (!stop) {
    ssize_t n = ipq_read(h, buf, sizeof buf, 1000000);
    if (n < 0) die(h);
    if (n == 0) continue; /* a second without packets, or a signal */

    switch (ipq_message_type(buf)) {
      case NLMSG_ERROR:
        if (ipq_get_msgerr(buf) == ENOENT) break; /* the packet is gone: its interface went down */
        fprintf(stderr, "passer: refused by the kernel: %s\n", strerror(ipq_get_msgerr(buf)));
        ipq_destroy_handle(h);
        return EXIT_FAILURE;
      case IPQM_PACKET:
        m = ipq_get_packet(buf);
        if (ipq_set_verdict(h, m->packet_id, NF_ACCEPT, 0, NULL) < 0) die(h);
        print_packet(m, "ACCEPT");
        break;
    }
  }
  return ipq_destroy_handle(h) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
