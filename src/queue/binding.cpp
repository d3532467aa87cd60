// SPDX-License-Identifier: MIT
#include "queue/binding.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <new>
#include <span>
#include <utility>

#include "netlink/network_namespace.hpp"
#include "netlink/owner.hpp"
#include "wire/bytes.hpp"
#include "wire/config.hpp"
#include "wire/message.hpp"

namespace ipq::queues {
namespace {

static_assert(verdict::max_payload == wire::max_payload);
constexpr std::uint32_t bind_sequence = 1;
constexpr int netfilter_protocol = 12;  // NETLINK_NETFILTER

std::size_t packet_range(const queue_options& options) noexcept {
  if (options.metadata_only) return 0;
  return options.copy_range == 0 ? wire::max_payload : options.copy_range;
}

std::size_t needed_receive_buffer(const queue_options& options, std::uint32_t max_length) noexcept {
  if (options.receive_buffer != 0) return options.receive_buffer;
  // What a packet costs is the memory behind its message, at least some 800 bytes, and half of the buffer is the
  // kernel's bookkeeping.
  constexpr std::size_t most = 64 << 20;
  const std::size_t each = 1024 + packet_range(options);
  return std::min(most, 2 * each * max_length);
}

std::uint32_t flags_of(const queue_options& options) noexcept {
  return (options.fail_open ? wire::queue_fail_open : 0u) | (options.conntrack ? wire::queue_conntrack : 0u) |
         (options.gso ? wire::queue_gso : 0u) | (options.uid_gid ? wire::queue_uid_gid : 0u) |
         (options.security_context ? wire::queue_secctx : 0u);
}

wire::config configuration(const queue_options& options) noexcept {
  wire::config wanted{.queue = options.number, .sequence = bind_sequence};
  wanted.copy = {options.metadata_only ? wire::copy_mode::meta : wire::copy_mode::packet, options.copy_range};
  wanted.max_length = options.max_length;
  if (const auto flags = flags_of(options); flags != 0) wanted.flags = {flags, flags};
  return wanted;
}

error about(error what, const queue_options& options, const char* advice = "") noexcept {
  what.operation = "bind queue";
  what.queue = options.number;
  if (*advice != '\0') what.advice = advice;
  return what;
}

/// What the kernel's errno means in the network namespace of this thread.
error explain(int code, const queue_options& options) {
  error made = about(failed("", code).error(), options);
  const auto replace = [&](int with) { made.code = std::error_code(with, std::system_category()); };
  if (code == EPERM) {
    const auto access = netlink::probe_queue_access(netlink::kernel());
    if (!access) {
      made.advice = "needs CAP_NET_ADMIN in this network namespace, as root has";
      return made;
    }
    replace(EBUSY);
    made.advice = "another process has it";
    if (const auto owner = netlink::find_queue_owner(options.number); owner && owner->pid != 0) {
      made.owner = owner->pid;
      owner->command.copy(made.owner_name.data(), made.owner_name.size() - 1);
    }
  } else if (code == EINVAL || code == EPROTONOSUPPORT) {
    // nfnetlink.c: a subsystem that is not there; af_netlink.c: nor is nfnetlink itself.
    replace(ENOSYS);
    made.advice = "the kernel has no nfnetlink_queue (CONFIG_NETFILTER_NETLINK_QUEUE)";
  } else if (code == EOPNOTSUPP) {
    made.advice = options.conntrack
                      ? "conntrack needs nf_conntrack_netlink in the kernel (CONFIG_NETFILTER_NETLINK_GLUE_CT)"
                      : "the kernel does not know one of the flags asked for";
  }
  return made;
}

/// Whether the bind was refused. If it was, that is all the socket has; if not, packets may be there, and they stay
/// where they are.
result<void> take_refusal(const netlink::socket& connection) {
  std::byte buffer[256];
  const auto first = connection.peek(buffer);
  if (!first) return first.error().is(EAGAIN) ? result<void>{} : std::unexpected(first.error());
  wire::bytes rest(buffer, first->length);
  if (first->length < 20 || wire::load<std::uint16_t>(buffer + 4) != wire::message_error) return {};
  if (const auto taken = connection.receive(buffer, netlink::waiting::not_at_all); !taken) {
    return std::unexpected(taken.error());
  }
  const auto message = wire::next_message(rest);
  const auto reply = message ? wire::parse_error(*message) : std::nullopt;
  if (reply && reply->sequence == bind_sequence && reply->code != 0) return failed("bind queue", reply->code);
  return {};
}

const char* fault_of(const queue_options& options) noexcept {
  if (options.copy_range > wire::max_payload) return "copy_range is at most 65531 bytes";
  if (options.max_length == 0) return "max_length is at least 1";
  if (options.metadata_only && options.copy_range != 0) return "metadata_only excludes copy_range";
  if (!options.unanswered.payload().empty()) return "unanswered can't have a payload";
  if (options.verdict_delay.count() < 0) return "verdict_delay can't be negative";
  if (!options.network_namespace.empty() && options.network_namespace_fd >= 0) {
    return "the network namespace is given twice, by name and by descriptor";
  }
  return "";
}

result<void> prepare(const netlink::socket& connection, const queue_options& options, bool adopted) {
  const std::size_t needed = needed_receive_buffer(options, options.max_length);
  // What the one before could have, with more rights, may be more than we could.
  if (adopted && options.receive_buffer == 0) {
    connection.grow_receive_buffer(needed);
  } else {
    connection.set_receive_buffer(needed);
  }
  connection.set_send_buffer(std::size_t{1} << 20);
  return adopted || options.timestamps ? connection.set_timestamps(options.timestamps) : result<void>{};
}

bool has_another_queue(const binding& adopted, std::uint16_t number) {
  if (!adopted.counters) return false;
  const auto queues = adopted.counters->read();
  return queues && std::ranges::any_of(*queues, [&](const netlink::queue_counters& each) {
           return each.port_id == adopted.socket.port_id() && each.queue != number;
         });
}

void open_counters(binding& of) {
  if (auto opened = netlink::counters_file::open()) of.counters = *std::move(opened);
}

/// In the network namespace of this thread.
result<binding> bind_here(const queue_options& options) {
  auto opened = netlink::kernel().open(netfilter_protocol);
  if (!opened) return std::unexpected(explain(opened.error().code.value(), options));
  binding made{.socket = *std::move(opened)};
  if (const auto prepared = prepare(made.socket, options, false); !prepared) {
    return std::unexpected(about(prepared.error(), options));
  }
  wire::config wanted = configuration(options);
  wanted.command = wire::config_command::bind;
  alignas(4) std::byte request[wire::max_config_size];
  const std::size_t length = wire::encode_config(wanted, request);
  if (const auto sent = made.socket.send(std::span<const std::byte>(request, length)); !sent) {
    return std::unexpected(about(sent.error(), options));
  }
  if (const auto bound = take_refusal(made.socket); !bound) {
    return std::unexpected(explain(bound.error().code.value(), options));
  }
  open_counters(made);
  return made;
}

error about_namespace(const error& what, const queue_options& options) noexcept {
  const char* advice = what.is(ENOENT)   ? "there is no such network namespace"
                       : what.is(EINVAL) ? "that is no network namespace"
                       : what.is(EPERM)  ? "entering another network namespace needs CAP_SYS_ADMIN"
                                         : "";
  return about(what, options, advice);
}

/// Sends the configuration to a queue that the socket may have already, and waits for the answer.
result<void> configure(binding& adopted, wire::config wanted) {
  // Where the receive buffer is full the answer is lost; but asking makes room.
  constexpr int attempts = 5;
  wanted.acknowledge = true;
  for (int attempt = 1;; ++attempt) {
    alignas(4) std::byte request[wire::max_config_size];
    const std::size_t length = wire::encode_config(wanted, request);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
    const auto answer = netlink::execute(adopted.socket, std::span<const std::byte>(request, length), wanted.sequence,
                                         "bind queue", deadline, adopted.unread);
    if (answer || !answer.error().is(ETIMEDOUT) || attempt == attempts) return answer;
    ++wanted.sequence;
  }
}

}  // namespace

std::size_t largest_message(const queue_options& options) noexcept {
  constexpr std::size_t attributes = 1024, page = 4096;  // as wire::max_datagram
  return packet_range(options) + attributes + (options.conntrack ? page : 0) + (options.security_context ? page : 0);
}

result<void> change_max_length(const netlink::socket& connection, const netlink::net_admin_right& right,
                               const queue_options& options, std::uint32_t packets) {
  const auto refuse = [&](int code, const char* advice) {
    auto refused = failed("set length of queue", code);
    refused.error().queue = options.number;
    refused.error().advice = advice;
    return refused;
  };
  if (packets == 0) return refuse(EINVAL, "it is at least 1");
  // The kernel's answer would come behind all that is unread. A scripted one needs no right.
  if (connection.port_id() != 0 && !right.is_there()) return refuse(EPERM, "this thread lacks CAP_NET_ADMIN");
  // Never less: what it holds now would be lost.
  if (options.receive_buffer == 0) connection.grow_receive_buffer(needed_receive_buffer(options, packets));
  // No answer to number 0 is taken for one to a bind.
  const wire::config wanted{.queue = options.number, .sequence = 0, .max_length = packets};
  alignas(4) std::byte request[wire::max_config_size];
  const std::size_t length = wire::encode_config(wanted, request);
  if (const auto sent = connection.send(std::span<const std::byte>(request, length)); !sent) {
    error wrong = sent.error();
    wrong.operation = "set length of queue";
    wrong.queue = options.number;
    return std::unexpected(wrong);
  }
  return {};
}

result<void> let_all_pass(const netlink::socket& connection, std::uint16_t queue) {
  alignas(4) std::byte requests[2 * wire::max_config_size];
  const std::span<std::byte> room(requests);
  // Two messages: within one the kernel sets the length first, and for a moment would drop what comes.
  std::size_t length =
      wire::encode_config({.queue = queue, .sequence = 0, .flags = {{wire::queue_fail_open, wire::queue_fail_open}}},
                          room.first<wire::max_config_size>());
  length += wire::encode_config({.queue = queue, .sequence = 0, .max_length = 0},
                                room.subspan(length).first<wire::max_config_size>());
  return connection.send(std::span<const std::byte>(requests, length));
}

result<binding> bind_queue(const queue_options& options) try {
  if (const char* fault = fault_of(options); *fault != '\0') {
    return std::unexpected(about(failed("", EINVAL).error(), options, fault));
  }
  if (options.network_namespace.empty() && options.network_namespace_fd < 0) return bind_here(options);
  const auto where = options.network_namespace.empty()
                         ? netlink::duplicate_network_namespace(options.network_namespace_fd)
                         : netlink::open_network_namespace(options.network_namespace);
  if (!where) return std::unexpected(about_namespace(where.error(), options));
  result<binding> made = failed("bind queue", ENOMEM);
  const auto entered = netlink::run_inside(*where, [&] {
    try {
      made = bind_here(options);
    } catch (const std::bad_alloc&) {  // it is ENOMEM already
    }
  });
  if (!entered) return std::unexpected(about_namespace(entered.error(), options));
  return made;
} catch (const std::bad_alloc&) {
  return std::unexpected(about(failed("", ENOMEM).error(), options));
}

result<binding> adopt_queue(int fd, const queue_options& options) try {
  const auto refuse = [&](const char* advice) {
    return std::unexpected(about(failed("", EINVAL).error(), options, advice));
  };
  if (const char* fault = fault_of(options); *fault != '\0') return refuse(fault);
  if (!options.network_namespace.empty() || options.network_namespace_fd >= 0) {
    return refuse("an adopted socket is in a network namespace already");
  }
  auto passed = netlink::adopt(fd, netfilter_protocol);
  if (!passed && passed.error().is(EPERM)) return refuse("the socket's filter is locked (SO_LOCK_FILTER)");
  if (!passed) {
    return std::unexpected(about(passed.error(), options,
                                 passed.error().is(EINVAL) ? "the descriptor is no socket of NETLINK_NETFILTER" : ""));
  }
  binding made{.socket = *std::move(passed), .had_owner = true};
  const auto where = netlink::network_namespace_of(made.socket);
  if (where) static_cast<void>(netlink::run_inside(*where, [&] { open_counters(made); }));
  // Ids of both would come by one way, and errors about both.
  if (has_another_queue(made, options.number)) return refuse("the socket has another queue");
  if (const auto prepared = prepare(made.socket, options, true); !prepared) {
    return std::unexpected(about(prepared.error(), options));
  }
  wire::config wanted = configuration(options);
  // What the queue had before and is not wanted any more is taken back.
  wanted.flags = {flags_of(options), wire::all_queue_flags};
  auto configured = configure(made, wanted);
  if (!configured && configured.error().is(ENODEV)) {
    made.had_owner = false;
    made.unread.clear();  // of a queue that is gone: its ids are given anew
    wanted = configuration(options);
    wanted.command = wire::config_command::bind;
    configured = configure(made, wanted);
  }
  if (!configured) {
    error explained = about(configured.error(), options);
    const auto look = [&] {
      try {
        explained = explain(configured.error().code.value(), options);
      } catch (const std::bad_alloc&) {  // the errno says enough
      }
    };
    if (!where || !netlink::run_inside(*where, look)) look();
    return std::unexpected(explained);
  }
  return made;
} catch (const std::bad_alloc&) {
  return std::unexpected(about(failed("", ENOMEM).error(), options));
}

}  // namespace ipq::queues
