// SPDX-License-Identifier: MIT
#include "netlink/socket.hpp"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>

#include "netlink/cancellation.hpp"

namespace ipq::netlink {
namespace {

/// Options that may be refused leave no trace in errno: old programs read it after success.
class errno_keeper {
 public:
  errno_keeper() noexcept : kept_(errno) {}
  ~errno_keeper() { errno = kept_; }
  errno_keeper(const errno_keeper&) = delete;
  errno_keeper& operator=(const errno_keeper&) = delete;

 private:
  int kept_;
};

bool set_option(int fd, int level, int option, int value) noexcept {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/// All three are older than the kernels this runs on, and none is vital.
void set_netlink_options(int fd, bool silent_about_loss) noexcept {
  if (silent_about_loss) set_option(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1);
  set_option(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
  set_option(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
}

std::optional<int> get_option(int fd, int option) noexcept {
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(fd, SOL_SOCKET, option, &value, &size) != 0) return std::nullopt;
  return value;
}

std::size_t get_size(int fd, int option) noexcept {
  return static_cast<std::size_t>(std::max(get_option(fd, option).value_or(0), 0));
}

/// The kernel doubles what it is told, for its own bookkeeping, and stops at INT_MAX.
int half_of(std::size_t bytes) noexcept {
  return static_cast<int>(std::min<std::size_t>(bytes / 2, INT_MAX / 2));
}

std::size_t set_size(int fd, int forced, int permitted, std::size_t bytes) noexcept {
  const errno_keeper keep;
  const int half = half_of(bytes);
  if (!set_option(fd, SOL_SOCKET, forced, half)) set_option(fd, SOL_SOCKET, permitted, half);
  return get_size(fd, permitted);
}

/// With MSG_TRUNC recv returns the whole length of what it had to cut.
datagram cut_to(std::size_t room, ssize_t length) noexcept {
  const auto whole = static_cast<std::size_t>(length);
  return {std::min(whole, room), whole > room};
}

timespec time_until(std::chrono::steady_clock::time_point deadline) noexcept {
  using namespace std::chrono;
  const auto now = steady_clock::now();
  const auto left = deadline > now ? duration_cast<nanoseconds>(deadline - now) : nanoseconds::zero();
  return {static_cast<time_t>(left.count() / 1'000'000'000), static_cast<long>(left.count() % 1'000'000'000)};
}

/// The first socket of each protocol that asks for no port id gets the process id. The original's h->local.nl_pid was
/// that, but routing daemons bind a NETLINK_ROUTE socket to it, so ours of other protocols take ids that no process
/// has, each by the number that no other socket has.
result<void> bind_to_port_id(const socket& opened, int protocol, std::uint32_t groups) noexcept {
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  const auto bound = [&] {
    return ::bind(opened.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  };
  if (protocol != NETLINK_NETFILTER) {
    const errno_keeper keep;
    auto own = static_cast<std::uint32_t>(opened.identity());
    for (int tries = 0; tries < 8; ++tries, own += 0x1e37'79b9) {  // far from what others like it took
      address.nl_pid = 0x8000'0000 | (own & 0x3fff'ffff);
      if (bound()) return {};
      if (errno != EADDRINUSE) break;
    }
    address.nl_pid = 0;
  }
  if (!bound()) return failed("bind netlink socket", errno);
  return {};
}

class kernel_source final : public socket_source {
 public:
  [[nodiscard]] result<socket> open(int protocol, std::uint32_t groups) const noexcept override {
    socket opened(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
    if (!opened) return failed("open netlink socket", errno);
    if (const auto bound = bind_to_port_id(opened, protocol, groups); !bound) return std::unexpected(bound.error());
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    // Connected to the kernel, port id 0: what any other socket sends here is refused (af_netlink.c,
    // netlink_getsockbyportid), so nothing forged makes the descriptor readable or needs to be told apart.
    if (::connect(opened.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      return failed("connect netlink socket", errno);
    }
    const errno_keeper keep;
    while (groups == 0 && ::recv(opened.fd(), nullptr, 0, MSG_DONTWAIT) >= 0) {
      // What came between the two calls: nothing has been asked of the kernel yet.
    }
    set_netlink_options(opened.fd(), groups == 0);
    return opened;
  }
};

}  // namespace

const socket_source& kernel() noexcept {
  static const kernel_source source;
  return source;
}

result<socket> adopt(int fd, int protocol) noexcept {
  const errno_keeper keep;
  socket copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) return failed("adopt socket", errno);
  if (get_option(fd, SO_DOMAIN) != AF_NETLINK || get_option(fd, SO_PROTOCOL) != protocol) {
    return failed("adopt socket", EINVAL);
  }
  // What a filter rejects the kernel takes for received. ENOENT: there is none.
  if (!set_option(copy.fd(), SOL_SOCKET, SO_DETACH_FILTER, 0) && errno != ENOENT) {
    return failed("detach filter of socket", errno);
  }
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::connect(copy.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return failed("adopt socket", errno);
  }
  set_netlink_options(copy.fd(), true);
  return copy;
}

result<socket> socket::duplicate() const noexcept {
  socket copy(::fcntl(fd(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return failed("duplicate socket", errno);
  return copy;
}

result<void> socket::replace(socket&& other) noexcept {
  const socket used_up(std::move(other));
  const int flags = ::fcntl(fd(), F_GETFL);
  const bool signals = flags >= 0 && (flags & O_ASYNC) != 0;
  if (flags >= 0) ::fcntl(used_up.fd(), F_SETFL, flags & ~O_ASYNC);
  f_owner_ex owner{};
  if (::fcntl(fd(), F_GETOWN_EX, &owner) == 0 && owner.pid != 0) ::fcntl(used_up.fd(), F_SETOWN_EX, &owner);
  if (const int signal = ::fcntl(fd(), F_GETSIG); signal > 0) ::fcntl(used_up.fd(), F_SETSIG, signal);
  // Other descriptors of what was here until now are not the program's.
  if (signals) ::fcntl(fd(), F_SETFL, flags & ~O_ASYNC);
  while (::dup3(used_up.fd(), fd(), O_CLOEXEC) < 0) {
    if (errno == EINTR || errno == EBUSY) continue;
    auto kept = failed("replace socket", errno);
    if (signals) ::fcntl(fd(), F_SETFL, flags);
    return kept;
  }
  // Only now, as the signal tells the number of the descriptor that it was asked for on.
  if (signals) ::fcntl(fd(), F_SETFL, flags);
  return {};
}

std::uint64_t socket::identity() const noexcept {
  const errno_keeper keep;
  struct stat about {};
  return ::fstat(fd(), &about) == 0 && S_ISSOCK(about.st_mode) ? about.st_ino : 0;
}

std::uint32_t socket::port_id() const noexcept {
  sockaddr_nl address{};
  socklen_t size = sizeof address;
  const errno_keeper keep;
  if (::getsockname(fd(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return address.nl_family == AF_NETLINK ? address.nl_pid : 0;
}

std::uint64_t socket::network_namespace() const noexcept {
  constexpr int cookie_option = 71;  // SO_NETNS_COOKIE
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  const errno_keeper keep;
  return ::getsockopt(fd(), SOL_SOCKET, cookie_option, &cookie, &size) == 0 ? cookie : 0;
}

result<void> socket::send(std::span<const iovec> parts) const {
  msghdr header{};
  header.msg_name = const_cast<sockaddr_nl*>(&the_kernel);
  header.msg_namelen = sizeof the_kernel;
  header.msg_iov = const_cast<iovec*>(parts.data());
  header.msg_iovlen = parts.size();
  while (::sendmsg(fd(), &header, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return failed("send", errno);
  }
  return {};
}

result<void> socket::send_again(std::span<const std::byte> bytes) const {
  do {
    if (errno != EINTR) return failed("send", errno);
  } while (send_to_kernel(bytes) < 0);
  return {};
}

/// When a thread is cancelled its frames go without AddressSanitizer's knowledge: it must not mark those that wait.
[[gnu::no_sanitize_address]] result<datagram> socket::receive(std::span<std::byte> buffer, waiting how) const {
  const int flags = how == waiting::not_at_all ? MSG_TRUNC | MSG_DONTWAIT : MSG_TRUNC;
  const ssize_t length = ::recv(fd(), buffer.data(), buffer.size(), flags);
  if (length < 0) return failed("receive", errno);
  return cut_to(buffer.size(), length);
}

result<datagram> socket::peek(std::span<std::byte> buffer) const {
  const ssize_t length = ::recv(fd(), buffer.data(), buffer.size(), MSG_TRUNC | MSG_PEEK | MSG_DONTWAIT);
  if (length < 0) return failed("peek", errno);
  return cut_to(buffer.size(), length);
}

result<void> socket::let_signals_end_waits() const noexcept {
  // With any timeout the kernel does not restart the call (sock_intr_errno).
  const timeval day{.tv_sec = 86'400, .tv_usec = 0};
  if (::setsockopt(fd(), SOL_SOCKET, SO_RCVTIMEO, &day, sizeof day) != 0) return failed("set timeout", errno);
  return {};
}

bool socket::wake(std::uint32_t sequence) const noexcept {
  const errno_keeper keep;
  const cancellation_off whole;
  nlmsghdr nothing{sizeof nothing, NLMSG_NOOP, NLM_F_REQUEST | NLM_F_ACK, sequence, 0};
  // Without CAP_NET_ADMIN the answer is EPERM, which wakes as well.
  return ::send(fd(), &nothing, sizeof nothing, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

[[gnu::no_sanitize_address]] result<void> socket::wait_readable(std::chrono::steady_clock::time_point deadline) const {
  const timespec timeout = time_until(deadline);
  pollfd watched{fd(), POLLIN, 0};
  const int ready = ::ppoll(&watched, 1, &timeout, nullptr);
  if (ready < 0) return failed("wait", errno);
  if (ready == 0) return failed("wait", ETIMEDOUT);
  return {};
}

void socket::grow_receive_buffer(std::size_t bytes) const noexcept {
  if (bytes <= receive_buffer()) return;
  const errno_keeper keep;
  const int half = half_of(bytes);
  if (set_option(fd(), SOL_SOCKET, SO_RCVBUFFORCE, half)) return;
  // What is permitted may be less than what was granted before: another socket shows it.
  const socket another(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!another || !set_option(another.fd(), SOL_SOCKET, SO_RCVBUF, half)) return;
  if (another.receive_buffer() > receive_buffer()) set_option(fd(), SOL_SOCKET, SO_RCVBUF, half);
}

std::size_t socket::set_receive_buffer(std::size_t bytes) const noexcept {
  return set_size(fd(), SO_RCVBUFFORCE, SO_RCVBUF, bytes);
}

std::size_t socket::set_send_buffer(std::size_t bytes) const noexcept {
  return set_size(fd(), SO_SNDBUFFORCE, SO_SNDBUF, bytes);
}

std::size_t socket::receive_buffer() const noexcept {
  const errno_keeper keep;
  return get_size(fd(), SO_RCVBUF);
}

std::size_t socket::send_room() const noexcept {
  constexpr std::size_t kept_back = 32;  // netlink_sendmsg, unix_dgram_sendmsg
  const errno_keeper keep;
  return std::max(get_size(fd(), SO_SNDBUF), kept_back) - kept_back;
}

result<void> socket::set_timestamps(bool wanted) const noexcept {
  if (!set_option(fd(), SOL_SOCKET, SO_TIMESTAMP, wanted ? 1 : 0)) return failed("set timestamps", errno);
  return {};
}

std::uint32_t socket::drops() const noexcept {
  const errno_keeper keep;
  std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
  socklen_t size = sizeof memory;
  if (::getsockopt(fd(), SOL_SOCKET, SO_MEMINFO, memory.data(), &size) != 0) return 0;
  return memory[SK_MEMINFO_DROPS];
}

[[gnu::no_sanitize_address]] result<void> wait_for_either(
    int first, int second, std::optional<std::chrono::steady_clock::time_point> deadline) {
  const timespec timeout = deadline ? time_until(*deadline) : timespec{};
  pollfd watched[] = {{first, POLLIN, 0}, {second, POLLIN, 0}};
  const int ready = ::ppoll(watched, 2, deadline ? &timeout : nullptr, nullptr);
  if (ready < 0) return failed("wait", errno);
  if (ready == 0) return failed("wait", ETIMEDOUT);
  return {};
}

result<std::pair<socket, socket>> open_pair() noexcept {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) return failed("open socket pair", errno);
  return std::pair(socket(fds[0]), socket(fds[1]));
}

}  // namespace ipq::netlink
