// SPDX-License-Identifier: MIT
#include "netlink/owner.hpp"

#include <dirent.h>
#include <linux/netlink.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "netlink/counters.hpp"
#include "netlink/proc.hpp"
#include "netlink/request.hpp"
#include "wire/config.hpp"

namespace ipq::netlink {
namespace {

struct directory_closer {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};
using directory = std::unique_ptr<DIR, directory_closer>;

/// Calls `use` with what each descriptor of the process links to.
template <class Use>
void for_each_descriptor(const char* pid, Use&& use) {
  const std::string path = std::string("/proc/") + pid + "/fd";
  const directory fds(::opendir(path.c_str()));
  if (!fds) return;
  while (const dirent* entry = ::readdir(fds.get())) {
    char link[64];
    const std::string fd = path + "/" + entry->d_name;
    const ssize_t length = ::readlink(fd.c_str(), link, sizeof link);
    if (length > 0) use(std::string_view(link, static_cast<std::size_t>(length)));
  }
}

/// Calls `use` with the number of each process, as text and as number.
template <class Use>
void for_each_process(Use&& use) {
  const directory processes(::opendir("/proc"));
  if (!processes) return;
  while (const dirent* entry = ::readdir(processes.get())) {
    const std::string_view name = entry->d_name;
    int pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc{} && end == name.data() + name.size()) use(entry->d_name, pid);
  }
}

std::string command_of(int pid) {
  auto text = read_proc_file(("/proc/" + std::to_string(pid) + "/comm").c_str()).value_or("");
  if (text.ends_with('\n')) text.pop_back();
  // A process names itself, also one of another user, and its name ends up on terminals.
  for (char& each : text) {
    if (each < ' ' || each > '~') each = '?';
  }
  return text;
}

}  // namespace

std::vector<std::string> parse_socket_links(std::string_view text, std::span<const std::uint32_t> port_ids) {
  std::vector<std::string> links(port_ids.size());
  // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode, below a line of headings (netlink_native_seq_show).
  for_each_line(text, [&](std::string_view line) {
    std::istringstream columns{std::string(line)};
    std::string address, groups, rmem, wmem, dump, locks, drops, inode;
    int protocol = -1;
    std::uint32_t port = 0;
    if (!(columns >> address >> protocol >> port >> groups >> rmem >> wmem >> dump >> locks >> drops >> inode) ||
        protocol != NETLINK_NETFILTER) {
      return;
    }
    for (std::size_t i = 0; i < port_ids.size(); ++i) {
      if (port_ids[i] == port) links[i] = "socket:[" + inode + "]";
    }
  });
  return links;
}

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

std::vector<queue_owner> find_socket_owners(std::span<const std::uint32_t> port_ids) {
  std::vector<queue_owner> owners;
  for (const auto port_id : port_ids) owners.push_back({.port_id = port_id, .pid = 0, .command = {}});
  if (port_ids.empty()) return owners;
  const auto sockets = read_proc_file("/proc/thread-self/net/netlink");
  const auto links = parse_socket_links(sockets ? std::string_view(*sockets) : std::string_view(), port_ids);
  for_each_process([&](const char* name, int pid) {
    for_each_descriptor(name, [&](std::string_view link) {
      for (std::size_t i = 0; i < links.size(); ++i) {
        if (owners[i].pid == 0 && link == links[i]) owners[i].pid = pid;
      }
    });
  });
  for (auto& owner : owners) {
    if (owner.pid != 0) owner.command = command_of(owner.pid);
  }
  return owners;
}

std::optional<queue_owner> find_queue_owner(std::uint16_t queue) {
  const auto queues = read_queue_counters();
  if (!queues) return std::nullopt;
  for (const auto& counters : *queues) {
    if (counters.queue == queue) return find_socket_owners(std::span(&counters.port_id, 1)).front();
  }
  return std::nullopt;
}

}  // namespace ipq::netlink
