/* SPDX-License-Identifier: MIT
 *
 * Stands for the library file that an old system has: the eleven functions under the soname libipq.so.0, without a
 * kernel that would answer.
 */
#include "old_interface.h"

#include <stdio.h>

struct old_handle* ipq_create_handle(uint32_t flags, uint32_t protocol) {
  (void)flags;
  (void)protocol;
  return NULL;
}

int ipq_destroy_handle(struct old_handle* h) {
  (void)h;
  return -1;
}

ssize_t ipq_read(const struct old_handle* h, unsigned char* buf, size_t len, int timeout) {
  (void)h;
  (void)buf;
  (void)len;
  (void)timeout;
  return -1;
}

int ipq_set_mode(const struct old_handle* h, uint8_t mode, size_t len) {
  (void)h;
  (void)mode;
  (void)len;
  return -1;
}

struct old_packet* ipq_get_packet(const unsigned char* buf) {
  (void)buf;
  return NULL;
}

int ipq_message_type(const unsigned char* buf) {
  (void)buf;
  return -1;
}

int ipq_get_msgerr(const unsigned char* buf) {
  (void)buf;
  return -1;
}

int ipq_set_verdict(const struct old_handle* h, unsigned long id, unsigned int verdict, size_t data_len,
                    unsigned char* buf) {
  (void)h;
  (void)id;
  (void)verdict;
  (void)data_len;
  (void)buf;
  return -1;
}

int ipq_ctl(const struct old_handle* h, int request, ...) {
  (void)h;
  (void)request;
  return -1;
}

char* ipq_errstr(void) {
  static char text[] = "the old library";
  return text;
}

void ipq_perror(const char* s) {
  fprintf(stderr, "%s: the old library\n", s);
}
