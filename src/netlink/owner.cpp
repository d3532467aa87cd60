// SPDX-License-Identifier: MIT
#include "netlink/owner.hpp"

#include <dirent.h>
#include <linux/netlink.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <memory>
#include <sstream>
#include <string>

#include "netlink/counters.hpp"
#include "netlink/proc.hpp"
#include "netlink/request.hpp"
#include "wire/config.hpp"

namespace ipq::netlink {
namespace {

std::optional<std::string> find_socket_inode(std::uint32_t port_id) {
  // Columns of /proc/net/netlink: sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode, below a line of headings.
  const auto text = read_proc_file("/proc/thread-self/net/netlink");
  if (!text) return std::nullopt;
  std::optional<std::string> found;
  for_each_line(*text, [&](std::string_view line) {
    std::istringstream columns{std::string(line)};
    std::string address, groups, rmem, wmem, dump, locks, drops, inode;
    int protocol = -1;
    std::uint32_t port = 0;
    if (columns >> address >> protocol >> port >> groups >> rmem >> wmem >> dump >> locks >> drops >> inode &&
        protocol == NETLINK_NETFILTER && port == port_id) {
      found = inode;
    }
  });
  return found;
}

struct directory_closer {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};
using directory = std::unique_ptr<DIR, directory_closer>;

bool holds(const std::string& pid, const std::string& link_wanted) {
  const std::string path = "/proc/" + pid + "/fd";
  const directory fds(::opendir(path.c_str()));
  if (!fds) return false;
  while (const dirent* entry = ::readdir(fds.get())) {
    char link[64];
    const std::string fd = path + "/" + entry->d_name;
    const ssize_t length = ::readlink(fd.c_str(), link, sizeof link);
    if (length > 0 && std::string_view(link, static_cast<std::size_t>(length)) == link_wanted) return true;
  }
  return false;
}

int find_process(const std::string& inode) {
  const std::string link = "socket:[" + inode + "]";
  const directory processes(::opendir("/proc"));
  if (!processes) return 0;
  while (const dirent* entry = ::readdir(processes.get())) {
    const std::string_view name = entry->d_name;
    int pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc{} || end != name.data() + name.size()) continue;
    if (holds(entry->d_name, link)) return pid;
  }
  return 0;
}

std::string command_of(int pid) {
  auto text = read_proc_file(("/proc/" + std::to_string(pid) + "/comm").c_str()).value_or("");
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace

result<void> probe_queue_access(const socket_source& source) {
  const auto opened = source.open(NETLINK_NETFILTER);
  if (!opened) return std::unexpected(opened.error());
  constexpr std::uint32_t sequence = 1;
  alignas(4) std::byte request[wire::max_config_size];
  const auto length = wire::encode_config(
      {.acknowledge = true, .sequence = sequence, .command = wire::config_command::pf_bind}, request);
  stash none;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  const auto answer =
      execute(*opened, std::span(request).first(length), sequence, "ask for access to queues", deadline, none);
  // nfnetlink.c: a subsystem that is not there, and can't be loaded, is EINVAL.
  if (!answer && answer.error().is(EINVAL)) return failed(answer.error().operation, ENOSYS);
  return answer;
}

std::optional<queue_owner> find_queue_owner(std::uint16_t queue) {
  const auto queues = read_queue_counters();
  if (!queues) return std::nullopt;
  for (const auto& counters : *queues) {
    if (counters.queue != queue) continue;
    queue_owner owner{.port_id = counters.port_id, .pid = 0, .command = {}};
    if (const auto inode = find_socket_inode(counters.port_id)) owner.pid = find_process(*inode);
    if (owner.pid != 0) owner.command = command_of(owner.pid);
    return owner;
  }
  return std::nullopt;
}

}  // namespace ipq::netlink
