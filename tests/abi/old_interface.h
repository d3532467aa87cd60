/* SPDX-License-Identifier: MIT
 *
 * The binary interface of libipq 1.2, as a program of its time was compiled against it. Facts, put down anew: the
 * project's own headers have no part in this test.
 */
#ifndef OLD_INTERFACE_H
#define OLD_INTERFACE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct old_address {
  unsigned short family, pad;
  uint32_t port_id, groups;
};

struct old_handle {
  int fd;
  uint8_t blocking;
  struct old_address local, peer;
};

struct old_packet {
  unsigned long packet_id, mark;
  long timestamp_sec, timestamp_usec;
  unsigned int hook;
  char indev_name[16], outdev_name[16];
  uint16_t hw_protocol;
  unsigned short hw_type;
  unsigned char hw_addrlen, hw_addr[8];
  size_t data_len;
  unsigned char payload[];
};

struct old_handle* ipq_create_handle(uint32_t flags, uint32_t protocol);
int ipq_destroy_handle(struct old_handle* h);
ssize_t ipq_read(const struct old_handle* h, unsigned char* buf, size_t len, int timeout);
int ipq_set_mode(const struct old_handle* h, uint8_t mode, size_t len);
struct old_packet* ipq_get_packet(const unsigned char* buf);
int ipq_message_type(const unsigned char* buf);
int ipq_get_msgerr(const unsigned char* buf);
int ipq_set_verdict(const struct old_handle* h, unsigned long id, unsigned int verdict, size_t data_len,
                    unsigned char* buf);
int ipq_ctl(const struct old_handle* h, int request, ...);
char* ipq_errstr(void);
void ipq_perror(const char* s);

#endif
