// SPDX-License-Identifier: MIT
#include "netlink/scripted_kernel.hpp"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "netlink/scripted_message.hpp"
#include "wire/message.hpp"

namespace ipq::netlink {
namespace {

std::uint32_t port_id_of(std::size_t socket) {
  return static_cast<std::uint32_t>(0x5c0000 + socket);
}

/// Whether every attribute of this type is as long as the kernel's policy wants.
bool is_long_enough(const scripted_request& request, std::uint16_t type, std::size_t length) {
  const byte_vector* value = request.find(type);
  return value == nullptr || value->size() >= length;
}

}  // namespace

const byte_vector* scripted_request::find(std::uint16_t attribute_type) const {
  const byte_vector* found = nullptr;
  for (const auto& each : attributes) {
    if ((each.type & NLA_TYPE_MASK) == attribute_type) found = &each.value;
  }
  return found;
}

std::uint32_t scripted_request::number(std::uint16_t attribute_type, std::size_t offset) const {
  const byte_vector* value = find(attribute_type);
  if (value == nullptr || value->size() < offset + 4) {
    throw std::out_of_range("the request has no number in attribute " + std::to_string(attribute_type));
  }
  return wire::load_be<std::uint32_t>(value->data() + offset);
}

struct scripted_kernel::state {
  struct connection {
    socket end;
    int protocol;
    std::uint32_t groups;
    std::deque<byte_vector> backlog;  // what does not fit into the socket now
  };
  std::mutex mutex;
  std::condition_variable request_came;
  std::vector<connection> connections;  // by the number of the socket; without an end when closed
  std::map<std::uint16_t, scripted_queue> queues;
  std::map<std::uint32_t, scripted_link> links;
  std::map<std::uint16_t, std::uint32_t> next_ids;  // that the script asked for
  std::vector<scripted_request> requests;
  std::vector<scripted_verdict> verdicts;
  handler decides;
  byte_vector buffer = byte_vector(1 << 17);
  int open_error = 0;
  bool has_rights = true;
  bool has_queues = true;
  bool stopping = false;
  const socket wake{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::thread server;

  void run();
  void wait_for_work();
  void serve();
  bool serve_one(std::size_t number);
  void close(std::size_t number);
  void send(std::size_t number, byte_vector datagram);
  void flush(connection& to);
  void serve_datagram(std::size_t number, std::span<const std::byte> datagram);
  int carry_out(const scripted_request& request);
  int configure(const scripted_request& request);
  int judge(const scripted_request& request);
  std::optional<byte_vector> describe_link(const scripted_request& request) const;
  void announce(std::uint16_t type, std::uint32_t index, const scripted_link& what);
  void wake_server() const { ::eventfd_write(wake.fd(), 1); }
};

scripted_kernel::scripted_kernel() : state_(std::make_unique<state>()) {
  // Signals are for the threads of the test.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  state_->server = std::thread([this] { state_->run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

scripted_kernel::~scripted_kernel() {
  {
    const std::lock_guard locked(state_->mutex);
    state_->stopping = true;
    state_->wake_server();
  }
  state_->server.join();
}

result<socket> scripted_kernel::open(int protocol, std::uint32_t groups) const noexcept {
  const std::lock_guard locked(state_->mutex);
  if (state_->open_error != 0) return failed("open netlink socket", state_->open_error);
  auto ends = open_pair();
  if (!ends) return std::unexpected(ends.error());
  ::fcntl(ends->second.fd(), F_SETFL, O_NONBLOCK);
  state_->connections.push_back({std::move(ends->second), protocol, groups, {}});
  state_->wake_server();
  return std::move(ends->first);
}

void scripted_kernel::state::run() {
  for (;;) {
    wait_for_work();
    const std::lock_guard locked(mutex);
    if (stopping) return;
    serve();
  }
}

void scripted_kernel::state::wait_for_work() {
  std::vector<pollfd> watched{{wake.fd(), POLLIN, 0}};
  {
    const std::lock_guard locked(mutex);
    for (const auto& each : connections) {
      const int events = each.backlog.empty() ? POLLIN : POLLIN | POLLOUT;
      if (each.end) watched.push_back({each.end.fd(), static_cast<short>(events), 0});
    }
  }
  ::poll(watched.data(), watched.size(), -1);
  eventfd_t count;
  ::eventfd_read(wake.fd(), &count);
}

void scripted_kernel::state::serve() {
  for (std::size_t number = 0; number < connections.size(); ++number) {
    while (connections[number].end && serve_one(number)) {
    }
  }
}

bool scripted_kernel::state::serve_one(std::size_t number) {
  flush(connections[number]);
  const auto received = connections[number].end.receive(buffer, waiting::not_at_all);
  if (!received) return received.error().is(ECONNRESET);  // it closed with something unread; requests may follow
  if (received->length == 0) {
    close(number);
    return false;
  }
  serve_datagram(number, std::span(buffer).first(received->length));
  return true;
}

void scripted_kernel::state::close(std::size_t number) {
  connections[number] = {socket(), connections[number].protocol, 0, {}};
  std::erase_if(queues, [&](const auto& each) { return each.second.owner == number; });
}

void scripted_kernel::state::send(std::size_t number, byte_vector datagram) {
  if (!connections[number].end) return;
  connections[number].backlog.push_back(std::move(datagram));
  flush(connections[number]);
  wake_server();
}

void scripted_kernel::state::flush(connection& to) {
  while (!to.backlog.empty()) {
    const auto sent = to.end.send(to.backlog.front());
    if (!sent && sent.error().is(EAGAIN)) return;
    to.backlog.pop_front();  // sent, or nobody is there any more
  }
}

void scripted_kernel::state::serve_datagram(std::size_t number, std::span<const std::byte> datagram) {
  wire::bytes rest = datagram;
  while (!rest.empty()) {
    const wire::bytes from = rest;
    const auto message = wire::next_message(rest);
    if (!message) return;
    scripted_request request{.socket = number,
                             .protocol = connections[number].protocol,
                             .type = message->type,
                             .flags = message->flags,
                             .sequence = message->sequence,
                             .port_id = message->port_id,
                             .queue = 0,
                             .attributes = {},
                             .bytes = {from.begin(), from.end() - static_cast<std::ptrdiff_t>(rest.size())}};
    request.bytes.resize(wire::nlmsg_header_size + message->body.size());
    if (request.protocol == NETLINK_NETFILTER && message->body.size() >= wire::nfgen_size) {
      request.queue = wire::load_be<std::uint16_t>(message->body.data() + 2);
      for (auto left = message->body.subspan(wire::nfgen_size); !left.empty();) {
        const auto type = left.size() >= 4 ? wire::load<std::uint16_t>(left.data() + 2) : std::uint16_t{0};
        const auto found = wire::next_attribute(left);
        if (!found) break;
        request.attributes.push_back({type, {found->value.begin(), found->value.end()}});
      }
    }
    requests.push_back(request);
    request_came.notify_all();

    if (auto answers = decides ? decides(request) : std::nullopt) {
      for (auto& each : *answers) send(number, std::move(each));
      continue;
    }
    if (auto link = describe_link(request)) {
      send(number, *std::move(link));
      continue;
    }
    const int error = carry_out(request);
    if (error != 0 || request.flags & NLM_F_ACK) send(number, answer(request, error));
    if (error == EPERM && !has_rights) return;  // nfnetlink_rcv: asked once a datagram
  }
}

/// nfnetlink.c and rtnetlink.c: what is not understood. Returns an errno.
int scripted_kernel::state::carry_out(const scripted_request& request) {
  if (request.protocol == NETLINK_ROUTE) return request.type == RTM_GETLINK ? ENODEV : EOPNOTSUPP;
  if (!has_rights) return EPERM;
  if (!(request.flags & NLM_F_REQUEST) || request.type < NLMSG_MIN_TYPE) return 0;
  if (request.bytes.size() < wire::nlmsg_header_size + wire::nfgen_size) return 0;
  if (!has_queues) return EINVAL;
  switch (request.type) {
    case wire::message_packet:
      return 524;  // ENOTSUPP
    case wire::message_config:
      return configure(request);
    case wire::message_verdict:
    case wire::message_verdict_batch:
      return judge(request);
    default:
      return EINVAL;
  }
}

/// nfnetlink_queue.c, nfqnl_recv_config.
int scripted_kernel::state::configure(const scripted_request& request) {
  for (const auto& [type, length] : {std::pair{wire::config_cmd, 4u},
                                     {wire::config_params, 5u},
                                     {wire::config_queue_maxlen, 4u},
                                     {wire::config_mask, 4u},
                                     {wire::config_flags, 4u}}) {
    if (!is_long_enough(request, type, length)) return ERANGE;
  }
  std::optional<wire::config_command> command;
  if (const byte_vector* value = request.find(wire::config_cmd))
    command = static_cast<wire::config_command>((*value)[0]);
  if (command == wire::config_command::pf_bind || command == wire::config_command::pf_unbind) return 0;
  std::uint32_t flags = 0, mask = 0;
  if (request.find(wire::config_flags)) {
    if (!request.find(wire::config_mask)) return EINVAL;
    flags = request.number(wire::config_flags);
    mask = request.number(wire::config_mask);
    if (flags >= 32) return EOPNOTSUPP;
  }
  auto found = queues.find(request.queue);
  if (found != queues.end() && found->second.owner != request.socket) return EPERM;
  if (command == wire::config_command::bind) {
    if (found != queues.end()) return EBUSY;
    found = queues.emplace(request.queue, scripted_queue{.owner = request.socket, .waiting = {}}).first;
  } else if (command == wire::config_command::unbind) {
    return queues.erase(request.queue) == 0 ? ENODEV : 0;
  } else if (command) {
    return EOPNOTSUPP;
  }
  if (found == queues.end()) return ENODEV;
  scripted_queue& queue = found->second;
  if (const byte_vector* value = request.find(wire::config_params)) {
    const auto mode = std::to_integer<std::uint8_t>((*value)[4]);
    const std::uint32_t range = request.number(wire::config_params);
    if (mode <= 2) queue.copy_mode = mode;  // else silently ignored
    if (mode < 2) queue.copy_range = 0;
    if (mode == 2) queue.copy_range = range == 0 || range > wire::max_payload ? wire::max_payload : range;
  }
  if (request.find(wire::config_queue_maxlen)) queue.max_length = request.number(wire::config_queue_maxlen);
  queue.flags = (queue.flags & ~mask) | (flags & mask);
  return 0;
}

/// nfnetlink_queue.c, nfqnl_recv_verdict and nfqnl_recv_verdict_batch.
int scripted_kernel::state::judge(const scripted_request& request) {
  if (!is_long_enough(request, wire::attribute_verdict_hdr, 8)) return ERANGE;
  const auto found = queues.find(request.queue);
  if (found == queues.end()) return ENODEV;
  if (found->second.owner != request.socket) return EPERM;
  if (!request.find(wire::attribute_verdict_hdr)) return EINVAL;
  scripted_verdict given{.queue = request.queue,
                         .id = request.number(wire::attribute_verdict_hdr, 4),
                         .value = request.number(wire::attribute_verdict_hdr)};
  if ((given.value & 0xff) > 5 || (given.value & 0xff) == 2) return EINVAL;
  if (request.find(wire::attribute_mark)) given.mark = request.number(wire::attribute_mark);
  if (request.find(wire::attribute_priority)) given.priority = request.number(wire::attribute_priority);
  auto& waiting = found->second.waiting;
  if (request.type == wire::message_verdict) {
    if (const byte_vector* payload = request.find(wire::attribute_payload)) given.payload = *payload;
    if (std::erase(waiting, given.id) == 0) return ENOENT;
    verdicts.push_back(std::move(given));
    return 0;
  }
  const auto is_later = [last = given.id](std::uint32_t id) { return static_cast<std::int32_t>(id - last) > 0; };
  const auto end = std::ranges::find_if(waiting, is_later);
  if (end == waiting.begin()) return ENOENT;
  for (auto each = waiting.begin(); each != end; ++each) {
    given.id = *each;
    verdicts.push_back(given);
  }
  waiting.erase(waiting.begin(), end);
  return 0;
}

/// The answer to RTM_GETLINK, if the request is one and there is such an interface.
std::optional<byte_vector> scripted_kernel::state::describe_link(const scripted_request& request) const {
  if (request.protocol != NETLINK_ROUTE || request.type != RTM_GETLINK) return std::nullopt;
  if (request.bytes.size() < wire::nlmsg_header_size + sizeof(ifinfomsg)) return std::nullopt;
  const auto found = links.find(wire::load<std::uint32_t>(request.bytes.data() + 20));
  if (found == links.end()) return std::nullopt;
  return write_link(RTM_NEWLINK, request.sequence, port_id_of(request.socket), found->first, found->second);
}

void scripted_kernel::state::announce(std::uint16_t type, std::uint32_t index, const scripted_link& what) {
  for (std::size_t number = 0; number < connections.size(); ++number) {
    if (connections[number].protocol != NETLINK_ROUTE || !(connections[number].groups & RTMGRP_LINK)) continue;
    send(number, write_link(type, 0, 0, index, what));
  }
}

byte_vector scripted_kernel::answer(const scripted_request& request, int error) {
  return write_answer(request, port_id_of(request.socket), error);
}

void scripted_kernel::set_handler(handler decides) {
  const std::lock_guard locked(state_->mutex);
  state_->decides = std::move(decides);
}

void scripted_kernel::refuse_sockets(int error) {
  const std::lock_guard locked(state_->mutex);
  state_->open_error = error;
}

void scripted_kernel::set_rights(bool has_them) {
  const std::lock_guard locked(state_->mutex);
  state_->has_rights = has_them;
}

void scripted_kernel::set_queues(bool are_there) {
  const std::lock_guard locked(state_->mutex);
  state_->has_queues = are_there;
}

void scripted_kernel::set_interface(std::uint32_t index, std::string_view name, std::uint16_t type) {
  const std::lock_guard locked(state_->mutex);
  state_->links[index] = {std::string(name), type};
  state_->announce(RTM_NEWLINK, index, state_->links[index]);
}

void scripted_kernel::remove_interface(std::uint32_t index) {
  const std::lock_guard locked(state_->mutex);
  if (const auto removed = state_->links.extract(index)) state_->announce(RTM_DELLINK, index, removed.mapped());
}

void scripted_kernel::set_next_id(std::uint16_t queue, std::uint32_t id) {
  const std::lock_guard locked(state_->mutex);
  state_->next_ids[queue] = id;
}

std::optional<std::uint32_t> scripted_kernel::queue_packet(const packet& described) {
  const std::lock_guard locked(state_->mutex);
  state_->serve();
  const auto found = state_->queues.find(described.queue);
  if (found == state_->queues.end() || found->second.copy_mode == 0) return std::nullopt;
  scripted_queue& queue = found->second;
  if (queue.waiting.size() >= queue.max_length) {
    if (!(queue.flags & wire::queue_fail_open)) ++queue.dropped;
    return std::nullopt;
  }
  const auto asked = state_->next_ids.extract(described.queue);
  queue.last_id = asked ? asked.mapped() : queue.last_id + 1;
  queue.waiting.push_back(queue.last_id);
  state_->send(queue.owner, write_packet(described, queue.last_id, queue));
  return queue.last_id;
}

void scripted_kernel::deliver(std::span<const std::byte> datagram, int protocol) {
  const std::lock_guard locked(state_->mutex);
  const auto found = std::ranges::find_if(state_->connections,
                                          [&](const auto& each) { return each.end && each.protocol == protocol; });
  if (found == state_->connections.end()) throw std::logic_error("no socket to deliver to");
  state_->send(static_cast<std::size_t>(found - state_->connections.begin()), {datagram.begin(), datagram.end()});
}

void scripted_kernel::settle() {
  const std::lock_guard locked(state_->mutex);
  state_->serve();
}

bool scripted_kernel::wait_for_requests(std::size_t count, std::chrono::milliseconds patience) {
  std::unique_lock locked(state_->mutex);
  state_->serve();
  return state_->request_came.wait_for(locked, patience, [&] { return state_->requests.size() >= count; });
}

std::vector<scripted_request> scripted_kernel::requests() {
  const std::lock_guard locked(state_->mutex);
  state_->serve();
  return state_->requests;
}

std::vector<scripted_verdict> scripted_kernel::verdicts() {
  const std::lock_guard locked(state_->mutex);
  state_->serve();
  return state_->verdicts;
}

std::optional<scripted_queue> scripted_kernel::find_queue(std::uint16_t number) {
  const std::lock_guard locked(state_->mutex);
  state_->serve();
  const auto found = state_->queues.find(number);
  return found == state_->queues.end() ? std::nullopt : std::optional(found->second);
}

std::size_t scripted_kernel::open_sockets(int protocol) {
  const std::lock_guard locked(state_->mutex);
  state_->serve();
  return static_cast<std::size_t>(std::ranges::count_if(
      state_->connections, [&](const auto& each) { return each.end && each.protocol == protocol; }));
}

}  // namespace ipq::netlink
