/* SPDX-License-Identifier: MIT
 *
 * <net/if.h>, so that <linux/if.h> goes before it and behind it. The kernel's
 * header leaves out what <linux/libc-compat.h> says is there; but another one
 * of the kernel's may have asked that before <net/if.h> was.
 */
#ifndef LIBIPQ_NET_IF_H
#define LIBIPQ_NET_IF_H

#pragma GCC system_header

/* If it came first, it has it all. */
#ifndef _LINUX_IF_H
#include <net/if.h>

#ifdef __USE_MISC /* else it has little of that itself */
#include <linux/libc-compat.h>
#undef __UAPI_DEF_IF_IFCONF
#define __UAPI_DEF_IF_IFCONF 0
#undef __UAPI_DEF_IF_IFMAP
#define __UAPI_DEF_IF_IFMAP 0
#undef __UAPI_DEF_IF_IFNAMSIZ
#define __UAPI_DEF_IF_IFNAMSIZ 0
#undef __UAPI_DEF_IF_IFREQ
#define __UAPI_DEF_IF_IFREQ 0
#undef __UAPI_DEF_IF_NET_DEVICE_FLAGS
#define __UAPI_DEF_IF_NET_DEVICE_FLAGS 0
#endif
#endif

#endif
