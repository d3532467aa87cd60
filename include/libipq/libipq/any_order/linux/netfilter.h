/* SPDX-License-Identifier: MIT
 *
 * The kernel's header of that name, in any order with the C library's: today
 * it has struct in_addr, which <netinet/in.h> has, too, and they go together
 * only if that one is first. Programs of 2001 have it behind, or <netdb.h>,
 * <arpa/inet.h>, <netinet/ip.h> that include it. With <net/if.h> it is the
 * same: what other headers of the kernel include of <linux/if.h> comes behind.
 *
 * pkg-config and the CMake package name this folder before the system's.
 */
#ifndef LIBIPQ_ANY_ORDER_LINUX_NETFILTER_H
#define LIBIPQ_ANY_ORDER_LINUX_NETFILTER_H

#pragma GCC system_header /* #include_next is no ISO C */

#include <libipq/net_if.h>

/* Else it is too late. */
#ifndef _LINUX_IN_H
#include <netinet/in.h>

/* What <linux/libc-compat.h> says of the same, but says once: <linux/if.h>
 * may have asked it before <netinet/in.h> was there.
 */
#include <linux/libc-compat.h>
#undef __UAPI_DEF_IN_ADDR
#define __UAPI_DEF_IN_ADDR 0
#undef __UAPI_DEF_IN_IPPROTO
#define __UAPI_DEF_IN_IPPROTO 0
#undef __UAPI_DEF_IN_PKTINFO
#define __UAPI_DEF_IN_PKTINFO 0
#undef __UAPI_DEF_IP_MREQ
#define __UAPI_DEF_IP_MREQ 0
#undef __UAPI_DEF_SOCKADDR_IN
#define __UAPI_DEF_SOCKADDR_IN 0
#undef __UAPI_DEF_IN_CLASS
#define __UAPI_DEF_IN_CLASS 0
#undef __UAPI_DEF_IN6_ADDR
#define __UAPI_DEF_IN6_ADDR 0
#undef __UAPI_DEF_IN6_ADDR_ALT
#define __UAPI_DEF_IN6_ADDR_ALT 0
#undef __UAPI_DEF_SOCKADDR_IN6
#define __UAPI_DEF_SOCKADDR_IN6 0
#undef __UAPI_DEF_IPV6_MREQ
#define __UAPI_DEF_IPV6_MREQ 0
#undef __UAPI_DEF_IPPROTO_V6
#define __UAPI_DEF_IPPROTO_V6 0
#undef __UAPI_DEF_IPV6_OPTIONS
#define __UAPI_DEF_IPV6_OPTIONS 0
#undef __UAPI_DEF_IN6_PKTINFO
#define __UAPI_DEF_IN6_PKTINFO 0
#undef __UAPI_DEF_IP6_MTUINFO
#define __UAPI_DEF_IP6_MTUINFO 0
#endif

#include_next <linux/netfilter.h>

#endif
