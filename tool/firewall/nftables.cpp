// SPDX-License-Identifier: MIT
#include "firewall/nftables.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>

namespace tool::firewall {
namespace {

/// libnftables leaves its socket open for programs that the process starts: one of them would keep the table alive.
void close_sockets_on_exec() {
  DIR* const descriptors = ::opendir("/proc/self/fd");
  if (descriptors == nullptr) return;
  while (const dirent* entry = ::readdir(descriptors)) {
    const int fd = std::atoi(entry->d_name);
    int domain = 0, protocol = 0;
    socklen_t size = sizeof domain;
    if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_NETLINK &&
        ::getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 && protocol == NETLINK_NETFILTER) {
      ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
  }
  ::closedir(descriptors);
}

/// Of "<cmdline>:3:5-9: Error: syntax error, ..." with the lines below it: the cause alone.
std::string cause_of(const std::string& message) {
  const std::string mark = "Error: ";
  auto begin = message.find(mark);
  begin = begin == std::string::npos ? 0 : begin + mark.size();
  return message.substr(begin, message.find('\n', begin) - begin);
}

}  // namespace

nftables::nftables() {
  // Without a socket libnftables would end the process.
  const int socket = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  if (socket < 0) {
    refusal_ = std::strerror(errno);
    return;
  }
  ::close(socket);
  context_.reset(::nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context_) throw std::bad_alloc();
  ::nft_ctx_buffer_error(context_.get());
  ::nft_ctx_buffer_output(context_.get());
  close_sockets_on_exec();
}

void nftables::free_context::operator()(nft_ctx* context) const noexcept {
  ::nft_ctx_free(context);
}

outcome<void> nftables::run(const std::string& commands) {
  if (!context_) return fail(kernel_lacks, fmt::format("no connection to nftables: {}", refusal_));
  if (::nft_run_cmd_from_buffer(context_.get(), commands.c_str()) == 0) return {};
  return fail(failed, cause_of(::nft_ctx_get_error_buffer(context_.get())));
}

outcome<void> nftables::check(const std::string& commands) {
  if (!context_) return run(commands);
  ::nft_ctx_set_dry_run(context_.get(), true);
  auto checked = run(commands);
  ::nft_ctx_set_dry_run(context_.get(), false);
  return checked;
}

outcome<std::string> nftables::ask(const std::string& command, unsigned flags) {
  if (context_) ::nft_ctx_output_set_flags(context_.get(), flags);
  const auto asked = run(command);
  if (!asked) return std::unexpected(asked.error());
  return std::string(::nft_ctx_get_output_buffer(context_.get()));
}

outcome<std::string> nftables::ask_json(const std::string& command) {
  return ask(command, NFT_CTX_OUTPUT_JSON);
}

outcome<std::string> nftables::ask_text(const std::string& command) {
  return ask(command, NFT_CTX_OUTPUT_HANDLE | NFT_CTX_OUTPUT_STATELESS);
}

nft_abilities find_nft_abilities() {
  const auto takes = [](const char* statement) {
    return nftables()
        .check(fmt::format("table inet ipq_asks {{\nflags owner\nchain c {{\n{}\n}}\n}}\n", statement))
        .has_value();
  };
  nft_abilities found{.tables = takes("counter")};
  found.queue = found.tables && takes("queue num 0 bypass");
  return found;
}

std::string nft_table(std::span<const selector> selectors, const queue_range& queues, fail_policy policy,
                      const std::string& name, bool owned, const std::string& statement) {
  std::string text = fmt::format("table inet {} {{\n", name);
  if (owned) text += "  flags owner\n";
  for (std::uint8_t number = 0; number < 5; ++number) {
    const auto at = static_cast<ipq::hook>(number);
    std::string rules;
    for (const auto& each : selectors) {
      if (each.at != at) continue;
      rules += fmt::format("    {}{}{}\n", each.match, each.match.empty() ? "" : " ",
                           statement.empty() ? ipq::nft_statement(feeding_rule_of(each, queues, policy)) : statement);
    }
    if (rules.empty()) continue;
    text += fmt::format("  chain {0} {{\n    type filter hook {0} priority mangle; policy accept;\n{1}  }}\n",
                        ipq::to_string(at), rules);
  }
  return text + "}\n";
}

outcome<void> check_matches(std::span<const selector> selectors) {
  for (const auto& each : selectors) {
    const auto checked = nftables().check(nft_table({&each, 1}, {}, {}, "ipq_asks", false, "counter"));
    if (!checked) {
      // It is asked with a statement behind the match.
      std::string why = checked.error().message;
      if (const auto at = why.find("unexpected counter"); at != std::string::npos) why.replace(at + 11, 7, "end");
      const bool by_index = why.find("Interface does not exist") != std::string::npos;
      return fail(wrong_usage, fmt::format("{}: {}; {}", each.text(), why,
                                           by_index ? "use iifname or oifname, which waits for it"
                                                    : "matches are in the words of nft(8), as 'ip protocol icmp'"));
    }
  }
  return {};
}

}  // namespace tool::firewall
