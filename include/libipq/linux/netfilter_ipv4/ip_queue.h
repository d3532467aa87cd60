/* SPDX-License-Identifier: MIT
 *
 * The messages of ip_queue, the kernel interface that libipq(3) spoke until
 * Linux 3.5. libipq still hands packets to programs in this form; the layout
 * is part of the ABI and is checked in the tests.
 */
#ifndef _IP_QUEUE_H
#define _IP_QUEUE_H

#pragma GCC system_header /* programs of 2001 meet warnings of today */

#include <libipq/net_if.h>
#ifndef IF_NAMESIZE
#define IF_NAMESIZE 16
#endif
#include <stddef.h>

/* How many bytes of payload there are, nobody knows here. Programs put these
 * structures before room of their own, which C++ permits with [0] only.
 */
#ifdef __cplusplus
#define IPQ_ANY_LENGTH_ 0
#else
#define IPQ_ANY_LENGTH_
#endif

/* A queued packet, as ipq_read() stores it behind a struct nlmsghdr. */
typedef struct ipq_packet_msg {
  unsigned long packet_id;       /* id for ipq_set_verdict(); fits 32 bits */
  unsigned long mark;            /* netfilter mark, host byte order */
  long timestamp_sec;            /* time of reception, seconds; 0.0 for packets that ... */
  long timestamp_usec;           /* ... this machine sends, or received before the first ipq_set_mode() */
  unsigned int hook;             /* NF_INET_PRE_ROUTING (0) to NF_INET_POST_ROUTING (4) */
  char indev_name[IF_NAMESIZE];  /* input interface, "" where there is none */
  char outdev_name[IF_NAMESIZE]; /* output interface, "" where there is none */
  unsigned short hw_protocol;    /* ETH_P_*, network byte order */
  unsigned short hw_type;        /* ARPHRD_* of the input interface */
  unsigned char hw_addrlen;      /* bytes used in hw_addr */
  unsigned char hw_addr[8];      /* source address of the link header */
  size_t data_len;               /* bytes of the packet that follow */
  /* the packet from its IP header on */
  unsigned char payload[IPQ_ANY_LENGTH_];
} ipq_packet_msg_t;

/* What a program asks for with ipq_set_mode(). */
typedef struct ipq_mode_msg {
  unsigned char value; /* IPQ_COPY_* */
  size_t range;        /* bytes to copy in IPQ_COPY_PACKET; 0: all */
} ipq_mode_msg_t;

/* What a program answers with ipq_set_verdict(). */
typedef struct ipq_verdict_msg {
  unsigned int value; /* NF_DROP to NF_STOP */
  unsigned long id;   /* packet_id of the packet */
  size_t data_len;    /* bytes of replacement packet */
  unsigned char payload[IPQ_ANY_LENGTH_];
} ipq_verdict_msg_t;

/* As above, with a mark for the packet: ipq_set_vwmark(). */
typedef struct ipq_vwmark_msg {
  unsigned int value;
  unsigned long id;
  size_t data_len;
  unsigned long nfmark;
  unsigned char payload[IPQ_ANY_LENGTH_];
} ipq_vwmark_msg_t;

typedef struct ipq_peer_msg {
  union {
    ipq_verdict_msg_t verdict;
    ipq_mode_msg_t mode;
  } msg;
} ipq_peer_msg_t;

/* How much of each packet is copied to the program. */
enum {
  IPQ_COPY_NONE,  /* nothing: later packets are dropped */
  IPQ_COPY_META,  /* metadata only */
  IPQ_COPY_PACKET /* metadata and the packet */
};
#define IPQ_COPY_MAX IPQ_COPY_PACKET

/* Message types. */
#define IPQM_BASE 0x10
#define IPQM_MODE (IPQM_BASE + 1)
#define IPQM_VERDICT (IPQM_BASE + 2)
#define IPQM_PACKET (IPQM_BASE + 3)
#define IPQM_MAX (IPQM_BASE + 4)

#undef IPQ_ANY_LENGTH_

#endif /* _IP_QUEUE_H */
