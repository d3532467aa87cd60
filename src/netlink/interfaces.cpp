// SPDX-License-Identifier: MIT
#include "netlink/interfaces.hpp"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>

#include "netlink/cancellation.hpp"
#include "netlink/signals_off.hpp"
#include "wire/message.hpp"

namespace ipq::netlink {
namespace {

std::optional<interface> parse_link(const wire::message& link) noexcept {
  if (link.type != RTM_NEWLINK || link.body.size() < sizeof(ifinfomsg)) return std::nullopt;
  ifinfomsg header;
  std::memcpy(&header, link.body.data(), sizeof header);
  interface parsed;
  parsed.type = header.ifi_type;
  auto attributes = link.body.subspan(sizeof header);
  while (const auto found = wire::next_attribute(attributes)) {
    if (found->type != IFLA_IFNAME) continue;
    const std::size_t length = std::min(found->value.size(), parsed.name.size() - 1);
    std::memcpy(parsed.name.data(), found->value.data(), length);
  }
  return parsed;
}

/// The answer to the request of this sequence number; others are of questions that were given up.
interface ask(const socket& kernel, std::uint32_t index, std::uint32_t sequence) {
  struct {
    nlmsghdr header;
    ifinfomsg body;
  } request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = RTM_GETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.header.nlmsg_seq = sequence;
  request.body.ifi_index = static_cast<int>(index);
  if (!kernel.send(std::as_bytes(std::span(&request, 1)))) return {};
  // The kernel has answered when send returns, and so nothing is waited for, but for a script's answer; it is a page at
  // most (NLMSG_GOODSIZE) unless VFs are asked for. No signal ends this, so it must not last, whatever is there.
  std::optional<std::chrono::steady_clock::time_point> deadline;
  std::byte buffer[8192];
  for (;;) {
    const auto received = kernel.receive(buffer, waiting::not_at_all);
    if (!received && received.error().is(EAGAIN)) {
      if (!deadline) deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
      if (!kernel.wait_readable(*deadline)) return {};
      continue;
    }
    if (!received || received->length == 0) return {};
    wire::bytes datagram(buffer, received->length);
    const auto answer = wire::next_message(datagram);
    if (!answer) return {};
    if (answer->sequence == sequence) return parse_link(*answer).value_or(interface{});
  }
}

interface ask_once(const socket_source& source, std::uint32_t index) {
  const auto opened = source.open(NETLINK_ROUTE);
  return opened ? ask(*opened, index, 1) : interface {};
}

}  // namespace

void interfaces::open(const socket_source& source) {
  source_ = &source;
  opened_by_ = 0;
  open_sockets();
}

interface interfaces::look_up(std::uint32_t index) {
  const cancellation_off uninterrupted;
  const signals_off no_handlers;  // one that never returned would leave the memory in use for ever
  const int kept = errno;
  interface found;
  if (in_use_.test_and_set(std::memory_order_acquire)) {
    found = ask_once(*source_, index);
  } else {
    found = look_up_alone(index);
    in_use_.clear(std::memory_order_release);
  }
  errno = kept;
  return found;
}

interface interfaces::look_up_alone(std::uint32_t index) {
  if (!open_sockets()) return ask_once(*source_, index);
  // The time is taken first: what changes while we look counts as not looked at.
  const std::uint64_t now = count_cycles();
  constexpr std::uint64_t half_a_second = 1 << 30;  // less where the counter is faster
  const bool are_there = now - seen_ < half_a_second || (announcements_.is_there() && questions_.is_there());
  if (now - seen_ >= half_a_second) seen_ = now;
  if (!are_there || !forget_what_changed()) {
    if (!open_sockets_again()) return ask_once(*source_, index);
  }
  looked_.store(now, std::memory_order_release);
  interface found;
  if (const auto type = place_of(index).load(index, found.name)) return {found.name, *type};
  if (!questions_.is_there() && !open_sockets_again()) return ask_once(*source_, index);
  const socket& kernel = *questions_;
  if (!kernel) return {};  // it is there: said for clang's analyzer
  const interface asked = ask(kernel, index, ++questions_asked_);
  if (asked.name[0] != '\0') place_of(index).store(index, asked);
  return asked;
}

bool interfaces::open_sockets() {
  // A child of fork(2) that used its parent's sockets would take the parent's announcements and answers from it.
  if (const pid_t process = ::getpid(); opened_by_ != process) {
    auto announcements = source_->open(NETLINK_ROUTE, RTMGRP_LINK);
    auto questions = source_->open(NETLINK_ROUTE);
    if (!announcements || !questions) return false;
    forget_all();
    announcements_ = unseen_socket(*std::move(announcements));
    questions_ = unseen_socket(*std::move(questions));
    opened_by_ = process;
  }
  return true;
}

bool interfaces::open_sockets_again() {
  opened_by_ = 0;
  return open_sockets();
}

bool interfaces::forget_what_changed() {
  // Which interface changed does not matter: asking again is cheap and announcements are rare. An overrun (ENOBUFS)
  // means that some were lost, so it counts as one.
  for (;;) {
    std::byte beginning[16];
    // Only a look: it may be the program's own connection by now.
    const auto first = announcements_->peek(beginning);
    if (!first && first.error().is(EAGAIN)) return true;
    if (!announcements_.is_there()) return false;
    if (first ? first->length == 0 : !first.error().is(ENOBUFS)) return true;
    forget_all();
    if (first) static_cast<void>(announcements_->receive(beginning, waiting::not_at_all));
  }
}

void interfaces::forget_all() noexcept {
  for (auto& each : remembered_) each.forget();
}

}  // namespace ipq::netlink
