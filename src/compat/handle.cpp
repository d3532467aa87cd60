// SPDX-License-Identifier: MIT
#include "compat/handle.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "netlink/cancellation.hpp"
#include "wire/constants.hpp"

namespace ipq::compat {

line write(const char* format, ...) noexcept {
  line written{};
  std::va_list values;
  va_start(values, format);
  std::vsnprintf(written.data(), written.size(), format, values);
  va_end(values);
  return written;
}

const char* describe(int system_error) noexcept {
  const char* const known = ::strerrordesc_np(system_error);
  return known != nullptr ? known : "unknown error";
}

line describe_refused_mode(unsigned mode) noexcept {
  return write("set mode: %u is no mode: expected IPQ_COPY_NONE (0), IPQ_COPY_META (1) or IPQ_COPY_PACKET (2)", mode);
}

copy_parameters parameters_of(std::uint8_t mode, std::size_t range) noexcept {
  constexpr std::size_t whole_packet = 0xffff;
  copy_parameters copies{mode, 0};
  if (mode == IPQ_COPY_PACKET) {
    copies.range = static_cast<std::uint32_t>(range == 0 ? whole_packet : std::min(range, whole_packet));
  }
  return copies;
}

handle::handle(bool ipv6, const settings& initial)
    : ipq_handle{}, options_(initial), ipv6_(ipv6), debug_(initial.debug) {
  fd = -1;
  blocking = 1;
  local.nl_family = peer.nl_family = AF_NETLINK;
}

int handle::fail(int number, const char* operation, const char* cause) noexcept {
  const int system_error = errno;
  set_thread_error(number);
  const bool has_errno = number == IPQ_ERR_RECV || number == IPQ_ERR_SEND;
  if (cause == nullptr && has_errno) cause = describe(system_error);
  last_.set(number, cause != nullptr ? write("%s: %s: %s", operation, error_text(number), cause).data()
                                     : write("%s: %s", operation, error_text(number)).data());
  debug("%s", last_.text());
  errno = system_error;
  return -1;
}

void handle::set_refusal(std::string_view said) noexcept {
  last_.set(IPQ_ERR_NLRECV, said);
  debug("refused: %.*s", static_cast<int>(said.size()), said.data());
}

void handle::describe_refused_verdict(std::uint32_t id, std::uint32_t value, int code) noexcept {
  if (code == ENOENT) {
    set_refusal(write("verdict on packet %u: no such packet waits: it had its verdict, or its interface, its rules or "
                      "the queue went away",
                      id)
                    .data());
  } else if (code == EINVAL) {
    set_refusal(
        write("verdict on packet %u: 0x%x is no verdict: expected NF_DROP (0) to NF_STOP (5)", id, value).data());
  } else {
    set_refusal(write("verdict on packet %u: %s", id, describe(code)).data());
  }
}

void handle::debug(const char* format, ...) const noexcept {
  if (!debugging()) return;
  const int kept = errno;
  const netlink::cancellation_off uninterrupted;
  line event{};
  std::va_list values;
  va_start(values, format);
  std::vsnprintf(event.data(), event.size(), format, values);
  va_end(values);
  // One write a line, so that the lines of several threads do not mix.
  ::dprintf(STDERR_FILENO, "libipq: queue %u %s: %s\n", options_.queue, ipv6_ ? "IPv6" : "IPv4", event.data());
  errno = kept;
}

counter& handle::counter_of(std::uint32_t value, std::size_t data_len) noexcept {
  if (value == verdict_drop || value == verdict_stolen || data_len > wire::max_payload) return counters_.dropped;
  return value == verdict_accept ? counters_.accepted : counters_.other_verdicts;
}

ipq_stats handle::counted() const noexcept {
  ipq_stats now{};
  now.received = counters_.received.value();
  now.accepted = counters_.accepted.value();
  now.dropped = counters_.dropped.value();
  now.other_verdicts = counters_.other_verdicts.value();
  now.refused = counters_.refused.value();
  now.wrong_family = counters_.wrong_family.value();
  return now;
}

int handle::refuse_setting(const char* operation, int error, std::string_view why) noexcept {
  errno = error;
  const auto said = write("%s: %.*s", operation, static_cast<int>(why.size()), why.data());
  set_thread_error(std::string_view(said.data()));
  last_.set(IPQ_ERR_SETTING, said.data());
  debug("%s", said.data());
  return -1;
}

bool handle::may_change_settings(const char* operation) noexcept {
  if (!mode_set_) return true;
  refuse_setting(operation, EBUSY, "must come before the first ipq_set_mode()");
  return false;
}

int handle::set_max_length(unsigned int packets) {
  if (!may_change_settings("set max length")) return -1;
  if (packets == 0 || packets > max_max_length) {
    return refuse_setting("set max length", EINVAL, write("%u: expected a number from 1 to 1048576", packets).data());
  }
  options_.max_length = packets;
  max_length_changed();
  return 0;
}

int handle::set_fail_open(int on) {
  if (!may_change_settings("set fail open")) return -1;
  if (on != 0 && on != 1) return refuse_setting("set fail open", EINVAL, write("%d: expected 0 or 1", on).data());
  options_.fail_open = on == 1;
  return 0;
}

int handle::set_debug(int on) {
  if (on != 0 && on != 1) return refuse_setting("set debug", EINVAL, write("%d: expected 0 or 1", on).data());
  debug_ = on == 1;
  return 0;
}

}  // namespace ipq::compat
