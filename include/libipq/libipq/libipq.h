/* SPDX-License-Identifier: MIT
 *
 * libipq(3): queued packets for user space, as programs have known it since
 * Linux 2.4, on the kernels of today. Each function has a manual page.
 */
#ifndef _LIBIPQ_H
#define _LIBIPQ_H

#pragma GCC system_header

/* Old programs rely on all of these coming with libipq.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter_ipv4/ip_queue.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef unsigned long ipq_id_t;

/* Only the members below belong to programs; the library keeps more behind
 * them. fd is readable when ipq_read() has something to return, and only then
 * (or while it has a packet to discard that nobody listens to). */
struct ipq_handle {
  int fd;
  uint8_t blocking;
  struct sockaddr_nl local;
  struct sockaddr_nl peer;
};

/* ---- the functions of libipq ------------------------------------------- */

/* protocol is NFPROTO_IPV4 (2, as PF_INET) or NFPROTO_IPV6 (10, as PF_INET6).
 * The call of 2001, with flags alone, means IPv4. Returns NULL on error. */
#ifdef __cplusplus
struct ipq_handle* ipq_create_handle(uint32_t flags, uint32_t protocol = 2 /* NFPROTO_IPV4 */);
#else
struct ipq_handle* ipq_create_handle(uint32_t flags, uint32_t protocol);
#define IPQ_CREATE_HANDLE_(flags, protocol, ...) (ipq_create_handle)(flags, protocol)
#define ipq_create_handle(...) IPQ_CREATE_HANDLE_(__VA_ARGS__, 2 /* NFPROTO_IPV4 */, 0)
#endif

int ipq_destroy_handle(struct ipq_handle* h);

/* timeout in microseconds: 0 waits for ever, negative looks once.
 * Returns the length of the message in buf, 0 on timeout, and where there is one
 * after a signal handler, -1 on error. */
ssize_t ipq_read(const struct ipq_handle* h, unsigned char* buf, size_t len, int timeout);

/* mode is IPQ_COPY_*, range in bytes, 0 all. Returns 56, or -1. It only asks:
 * a refusal is read with ipq_read(). */
int ipq_set_mode(const struct ipq_handle* h, uint8_t mode, size_t range);

ipq_packet_msg_t* ipq_get_packet(const unsigned char* buf);
int ipq_message_type(const unsigned char* buf);
int ipq_get_msgerr(const unsigned char* buf);

/* verdict is NF_*; buf has data_len bytes that replace the packet, NULL none,
 * and may be used again at once. Returns 40 + data_len, or -1. A refusal is read
 * with ipq_read(). */
int ipq_set_verdict(const struct ipq_handle* h, ipq_id_t id, unsigned int verdict, size_t data_len, unsigned char* buf);
int ipq_set_vwmark(const struct ipq_handle* h, ipq_id_t id, unsigned int verdict, ipq_id_t nfmark, size_t data_len,
                   unsigned char* buf);

int ipq_ctl(const struct ipq_handle* h, int request, ...);

char* ipq_errstr(void);
void ipq_perror(const char* s);

/* ---- extensions: what libipq could not say ------------------------------ */

/* Defined where the extensions exist; grows when functions are added. */
#define IPQ_EXTENSIONS 1

/* A flag for ipq_create_handle(): reads ahead and sends plain verdicts
 * together, which costs half the time. h->fd stays readable as long as a packet
 * waits in the program, and a verdict waits only as long as one does. Signal
 * handlers must not leave ipq_read() by longjmp() then. */
#define IPQ_CREATE_BATCH 0x40000000u

/* Settings of a handle, before its first ipq_set_mode(). The environment
 * variables LIBIPQ_QUEUE, LIBIPQ_QUEUE_IPV6, LIBIPQ_MAX_LENGTH,
 * LIBIPQ_FAIL_OPEN and LIBIPQ_DEBUG say the same from outside the program;
 * LIBIPQ_BATCH=1 is the flag above, and LIBIPQ_SOURCE=capture:FILE lets the
 * program run on a capture file: libipq(3).
 * Return 0, or -1 with errno EINVAL (value) or EBUSY (too late), of
 * ipq_set_queue() also those of socket(2). */
int ipq_set_queue(struct ipq_handle* h, unsigned int number);       /* 0 to 65535 */
int ipq_set_max_length(struct ipq_handle* h, unsigned int packets); /* 1 to 1048576 */
int ipq_set_fail_open(struct ipq_handle* h, int on);                /* 0 or 1 */

/* A line on standard error per event, at any time; 0 or 1. */
int ipq_set_debug(struct ipq_handle* h, int on);

/* What went wrong last on this handle, in any thread: the number of the
 * message (0 nothing yet, else an IPQ_ERR_* below) and a text that says what
 * was tried, what went wrong and what to do. The text belongs to the calling
 * thread and holds until its next call. */
int ipq_handle_errno(const struct ipq_handle* h);
const char* ipq_handle_errstr(const struct ipq_handle* h);

enum {
  IPQ_ERR_NONE = 0,
  IPQ_ERR_IMPL,
  IPQ_ERR_HANDLE,
  IPQ_ERR_SOCKET,
  IPQ_ERR_BIND,
  IPQ_ERR_BUFFER,
  IPQ_ERR_RECV,
  IPQ_ERR_NLEOF,
  IPQ_ERR_ADDRLEN,
  IPQ_ERR_STRUNC,
  IPQ_ERR_RTRUNC,
  IPQ_ERR_NLRECV, /* also: the kernel refused a mode or a verdict */
  IPQ_ERR_SEND,
  IPQ_ERR_SUPP,
  IPQ_ERR_RECVBUF,
  IPQ_ERR_TIMEOUT,
  IPQ_ERR_PROTOCOL,
  IPQ_ERR_SETTING /* new: a setting or environment variable is invalid */
};

#define IPQ_UNKNOWN UINT64_MAX /* a number the kernel does not tell us */

/* What /proc/net/ip_queue used to show. */
struct ipq_status {
  uint32_t queue;          /* queue number */
  uint32_t peer_portid;    /* netlink port id that owns the queue; 0: nobody or unknown */
  uint32_t copy_mode;      /* IPQ_COPY_*, as last set on this handle */
  uint32_t copy_range;     /* bytes; 0 in IPQ_COPY_META and IPQ_COPY_NONE */
  uint32_t max_length;     /* packets that may wait for a verdict (of both families) */
  uint32_t fail_open;      /* 1: a full queue accepts instead of dropping */
  uint64_t length;         /* packets that wait now, or IPQ_UNKNOWN */
  uint64_t receive_buffer; /* bytes the kernel may keep for the socket */
};

/* Counters since the handle was created. Of the packets received, those not
 * accepted, dropped or given another verdict are still waiting. */
struct ipq_stats {
  uint64_t received;        /* packets returned by ipq_read() */
  uint64_t accepted;        /* NF_ACCEPT sent, and not refused */
  uint64_t dropped;         /* NF_DROP and NF_STOLEN, and replacements too long to apply */
  uint64_t other_verdicts;  /* NF_QUEUE, NF_REPEAT, NF_STOP */
  uint64_t refused;         /* verdicts that the kernel refused */
  uint64_t wrong_family;    /* packets of a family nobody here listens to: dropped */
  uint64_t lost_queue_full; /* dropped by the kernel, max_length reached; or IPQ_UNKNOWN */
  uint64_t lost_no_buffer;  /* lost because the receive buffer was full; or IPQ_UNKNOWN */
};

/* Fill at most size bytes, so that the structures can grow: pass sizeof *status,
 * sizeof *stats. Return 0, or -1 with errno EINVAL or ENOMEM. */
int ipq_get_status(const struct ipq_handle* h, struct ipq_status* status, size_t size);
int ipq_get_stats(const struct ipq_handle* h, struct ipq_stats* stats, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* _LIBIPQ_H */
