// SPDX-License-Identifier: MIT
// The C functions. What they promise stands in their manual pages; what they do stands in handle.cpp.
#include <libipq/libipq.h>
#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>

#include "compat/error.hpp"
#include "compat/handle.hpp"
#include "compat/registry.hpp"
#include "compat/settings.hpp"
#include "netlink/cancellation.hpp"

#define IPQ_EXPORT extern "C" [[gnu::visibility("default")]]
// What every packet goes through lies together: between two system calls it has to come back into the cache.
#define IPQ_EXPORT_HOT extern "C" [[gnu::visibility("default"), gnu::hot]]

namespace {

using namespace ipq;
using compat::handle;

const nlmsghdr* header_of(const unsigned char* buf) {
  return reinterpret_cast<const nlmsghdr*>(buf);
}

// A thread of type PTHREAD_CANCEL_ASYNCHRONOUS can be cancelled at any instruction, and would leave a lock locked, or a
// function that must not throw. In here it is cancelled where it waits, or behind the call. The functions that do this
// have nothing to clean up, or C++ would end the program (the personality routine knows calls only), so that nothing
// with a destructor may be inlined into them.
int defer_cancellation() {
  int before = PTHREAD_CANCEL_DEFERRED;
  ::pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &before);
  return before;
}

void allow_cancellation(int before) {
  if (before != PTHREAD_CANCEL_DEFERRED) [[unlikely]]
    ::pthread_setcanceltype(before, &before);
}

template <class Body>
[[gnu::noinline]] auto run_apart(Body& body) {
  return body();
}

template <class Body>
auto deferred(Body body) {
  const int before = defer_cancellation();
  const auto returned = run_apart(body);
  allow_cancellation(before);
  return returned;
}

template <class Facts, class Get>
int get_facts(const char* operation, handle& from, Facts* into, std::size_t size, Get get) {
  const netlink::cancellation_off uninterrupted;
  if (into == nullptr || size == 0) return from.refuse_setting(operation, EINVAL, "nowhere to write to");
  const int errno_before = errno;
  try {
    const Facts facts = get(from);
    std::memset(into, 0, size);
    std::memcpy(into, &facts, std::min(size, sizeof facts));
  } catch (const std::bad_alloc&) {
    return from.refuse_setting(operation, ENOMEM, "out of memory");
  }
  errno = errno_before;
  return 0;
}

}  // namespace

IPQ_EXPORT ipq_handle* ipq_create_handle(std::uint32_t flags, std::uint32_t protocol) {
  return deferred([=]() -> ipq_handle* {
    const netlink::cancellation_off uninterrupted;
    return compat::create_handle(flags, protocol, netlink::kernel(), compat::process_environment);
  });
}

IPQ_EXPORT int ipq_destroy_handle(ipq_handle* h) {
  return deferred([=] {
    const netlink::cancellation_off uninterrupted;
    if (h != nullptr) compat::destroy_handle(&handle::of(h));
    return 0;
  });
}

IPQ_EXPORT_HOT ssize_t ipq_read(const ipq_handle* h, unsigned char* buf, std::size_t len, int timeout) {
  const int before = defer_cancellation();
  const ssize_t length = handle::of(h).read(std::span(buf, len), timeout);
  allow_cancellation(before);
  return length;
}

IPQ_EXPORT int ipq_set_mode(const ipq_handle* h, std::uint8_t mode, std::size_t range) {
  return deferred([=] {
    const netlink::cancellation_off uninterrupted;
    return handle::of(h).set_mode(mode, range);
  });
}

IPQ_EXPORT_HOT ipq_packet_msg_t* ipq_get_packet(const unsigned char* buf) {
  return reinterpret_cast<ipq_packet_msg_t*>(const_cast<unsigned char*>(buf) + sizeof(nlmsghdr));
}

IPQ_EXPORT_HOT int ipq_message_type(const unsigned char* buf) {
  return header_of(buf)->nlmsg_type;
}

IPQ_EXPORT int ipq_get_msgerr(const unsigned char* buf) {
  return -reinterpret_cast<const nlmsgerr*>(buf + sizeof(nlmsghdr))->error;
}

IPQ_EXPORT_HOT int ipq_set_verdict(const ipq_handle* h, ipq_id_t id, unsigned int verdict, std::size_t data_len,
                                   unsigned char* buf) {
  const int before = defer_cancellation();
  const int sent = handle::of(h).set_verdict(id, verdict, std::nullopt, data_len, buf);
  allow_cancellation(before);
  return sent;
}

IPQ_EXPORT int ipq_set_vwmark(const ipq_handle* h, ipq_id_t id, unsigned int verdict, ipq_id_t nfmark,
                              std::size_t data_len, unsigned char* buf) {
  const int before = defer_cancellation();
  const int sent = handle::of(h).set_verdict(id, verdict, static_cast<std::uint32_t>(nfmark), data_len, buf);
  allow_cancellation(before);
  return sent;
}

IPQ_EXPORT int ipq_ctl(const ipq_handle* /*h*/, int /*request*/, ...) {
  return 1;
}

IPQ_EXPORT char* ipq_errstr() {
  return deferred([] { return compat::thread_error_text(); });
}

IPQ_EXPORT void ipq_perror(const char* s) {
  deferred([=] {
    const int system_error = errno;
    std::fputs(s != nullptr ? s : "ERROR", stderr);
    const char* const text = compat::thread_error() != IPQ_ERR_NONE ? compat::thread_error_text() : "";
    if (*text != '\0') std::fprintf(stderr, ": %s", text);
    // The text about a setting may say it already.
    const char* const cause = system_error != 0 ? std::strerror(system_error) : "";
    if (*cause != '\0' && std::strstr(text, cause) == nullptr) std::fprintf(stderr, ": %s", cause);
    return std::fputc('\n', stderr);
  });
}

IPQ_EXPORT int ipq_set_queue(ipq_handle* h, unsigned int number) {
  return deferred([=] {
    const netlink::cancellation_off uninterrupted;
    try {
      return compat::set_queue(handle::of(h), number);
    } catch (const std::bad_alloc&) {
      return handle::of(h).refuse_setting("set queue", ENOMEM, "out of memory");
    }
  });
}

IPQ_EXPORT int ipq_set_max_length(ipq_handle* h, unsigned int packets) {
  return deferred([=] { return handle::of(h).set_max_length(packets); });
}

IPQ_EXPORT int ipq_set_fail_open(ipq_handle* h, int on) {
  return deferred([=] { return handle::of(h).set_fail_open(on); });
}

IPQ_EXPORT int ipq_set_debug(ipq_handle* h, int on) {
  return deferred([=] { return handle::of(h).set_debug(on); });
}

IPQ_EXPORT int ipq_handle_errno(const ipq_handle* h) {
  return handle::of(h).last().number();
}

IPQ_EXPORT const char* ipq_handle_errstr(const ipq_handle* h) {
  return deferred([=] {
    const auto& last = handle::of(h).last();
    return last.number() == IPQ_ERR_NONE ? compat::error_text(IPQ_ERR_NONE) : last.text();
  });
}

IPQ_EXPORT int ipq_get_status(const ipq_handle* h, ipq_status* status, std::size_t size) {
  return deferred([=] {
    return get_facts("get status", handle::of(h), status, size, [](const handle& of) { return of.status(); });
  });
}

IPQ_EXPORT int ipq_get_stats(const ipq_handle* h, ipq_stats* stats, std::size_t size) {
  return deferred(
      [=] { return get_facts("get stats", handle::of(h), stats, size, [](const handle& of) { return of.stats(); }); });
}
