// SPDX-License-Identifier: MIT
// ipq doctor: what on this machine keeps a queue from working, and the remedy for each.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "command_line.hpp"
#include "commands.hpp"
#include "firewall/iptables.hpp"
#include "firewall/program.hpp"
#include "firewall/tag.hpp"
#include "ipq/status.hpp"
#include "machine.hpp"
#include "printable.hpp"
#include "proof.hpp"
#include "queue_report.hpp"

namespace tool {
namespace {

enum class level { ok, note, wrong };

struct finding {
  level how = level::ok;
  std::string about, text, remedy = {};
  exit_code code = failed;  ///< of the command, for what is wrong
};

using findings = std::vector<finding>;

void examine_rights(findings& all) {
  const auto access = ipq::check_queue_access();
  if (access) {
    all.push_back({level::ok, "rights", "this process may open queues here"});
    all.push_back({level::ok, "kernel", "nfnetlink_queue answers"});
  } else if (access.error().is(EPERM)) {
    all.push_back({level::wrong, "rights", "CAP_NET_ADMIN is missing in this network namespace",
                   "sudo; or `setcap cap_net_admin+ep` on the program; or a private namespace: unshare -r unshare -n",
                   no_rights});
  } else if (access.error().is(ENOSYS)) {
    all.push_back({level::wrong, "kernel", "there is no nfnetlink_queue",
                   "modprobe nfnetlink_queue; or a kernel with CONFIG_NETFILTER_NETLINK_QUEUE", kernel_lacks});
  } else {
    all.push_back({level::wrong, "rights", access.error().message(), {}, exit_code_of(access.error())});
  }
}

void examine_rules(findings& all, const proof& tried) {
  const auto variant = firewall::run_program({"iptables", "--version"});
  const auto name =
      variant.status == 0 ? variant.output.substr(0, variant.output.find('\n')) : "iptables is not installed";
  const auto works = tried.iptables.empty() ? std::string("none takes a queue rule")
                                            : fmt::format("queue rules are taken by iptables-{}",
                                                          fmt::join(tried.iptables, " and iptables-"));
  if (tried.nft_queue) {
    all.push_back({level::ok, "nft", "nftables has the queue statement, and tables that end with their process"});
  } else if (tried.nft_tables) {
    all.push_back({tried.iptables.empty() ? level::wrong : level::note, "nft",
                   "nftables lacks the queue statement; rules are made with iptables",
                   "modprobe nft_queue; or a kernel with CONFIG_NFT_QUEUE", kernel_lacks});
  } else {
    all.push_back({tried.iptables.empty() ? level::wrong : level::note, "nft",
                   "nftables is missing, or is older than Linux 5.12; rules are made with iptables",
                   "modprobe nf_tables; or a kernel with CONFIG_NF_TABLES and CONFIG_NFT_QUEUE", kernel_lacks});
  }
  const bool needed = !tried.nft_queue && tried.iptables.empty();
  all.push_back({needed                   ? level::wrong
                 : tried.iptables.empty() ? level::note
                                          : level::ok,
                 "iptables", fmt::format("{}; {}", name, works),
                 tried.iptables.empty() ? "install iptables; modprobe xt_NFQUEUE; a kernel with "
                                          "CONFIG_NETFILTER_XT_TARGET_NFQUEUE"
                                        : "",
                 kernel_lacks});
}

void examine_user_namespaces(findings& all) {
  struct setting {
    const char* name;
    std::int64_t bad;
    std::string_view remedy;
  };
  for (const auto& [name, bad, remedy] :
       {setting{"kernel.unprivileged_userns_clone", 0, "sysctl kernel.unprivileged_userns_clone=1"},
        setting{"user.max_user_namespaces", 0, "sysctl user.max_user_namespaces=15000"},
        setting{"user.max_net_namespaces", 0, "sysctl user.max_net_namespaces=15000"},
        setting{"kernel.apparmor_restrict_unprivileged_userns", 1,
                "sysctl kernel.apparmor_restrict_unprivileged_userns=0"}}) {
    const auto value = read_sysctl(name);
    if (!value || *value != bad) continue;
    all.push_back({level::note, "namespaces",
                   fmt::format("{} is {}: ordinary users have no private network", name, *value), std::string(remedy)});
    return;
  }
  all.push_back({level::ok, "namespaces", "ordinary users may have private networks"});
}

void examine_queues(findings& all) {
  const auto made = make_queue_report();
  if (!made) {
    if (made.error().code != kernel_lacks) {
      all.push_back({level::note, "queues", "what there is can't be seen: " + made.error().message,
                     "run it as root, outside of user namespaces"});
    }
    return;
  }
  std::string owners;
  for (const auto& queue : made->queues) {
    owners += fmt::format("{}{} {}", owners.empty() ? "" : ", ", queue.number,
                          queue.pid != 0 ? fmt::format("of {} (pid {})", printable(queue.command), queue.pid)
                                         : fmt::format("of port {}", queue.port_id));
    if (std::ranges::none_of(made->feeds, [&](const auto& each) { return each.includes(queue.number); })) {
      all.push_back({level::note, "queues", fmt::format("queue {}: no rule feeds it", queue.number),
                     "add a rule, as `ipq ... --select` does"});
    }
    if (queue.mode == ipq::queue_status::copy_mode::none) {
      all.push_back({level::note, "queues",
                     fmt::format("queue {} has no copy mode: its packets are dropped", queue.number),
                     "its program has to set one"});
    }
    if (queue.lost_no_buffer != 0 || queue.lost_queue_full != 0) {
      all.push_back({level::note, "queues",
                     fmt::format("queue {} has lost {} packets when it was full, {} for want of a receive buffer",
                                 queue.number, queue.lost_queue_full, queue.lost_no_buffer),
                     "a larger --max-length, a smaller --copy-range, several queues, or --fail open"});
    }
  }
  all.push_back({level::ok, "queues", owners.empty() ? "all numbers are free" : "taken: " + owners});
  const auto unserved = made->unserved();
  const auto lonely = [&](const firewall::feed& one) {
    return std::ranges::any_of(unserved, [&](const auto& each) { return each.from == &one; });
  };
  if (const auto served = std::ranges::count_if(made->feeds, std::not_fn(lonely)); served > 0) {
    all.push_back({level::ok, "rules",
                   served == 1 ? std::string("1 feeds a queue that is served")
                               : fmt::format("{} feed queues that are served", served)});
  }
  for (const auto& each : unserved) {
    all.push_back(
        {level::note, "rules",
         fmt::format("{} {} feeds queue {}{}, which nobody serves: packets {}", each.from->by, each.from->place,
                     each.numbers.first,
                     each.numbers.last == each.numbers.first ? std::string() : fmt::format("-{}", each.numbers.last),
                     each.from->bypass ? "pass" : "are dropped"),
         "start its program, remove the rule, or add bypass to it"});
  }
  std::size_t stale = 0;
  const auto rules = firewall::list_iptables_rules();
  for (const auto& rule : rules ? *rules : std::vector<firewall::saved_rule>()) {
    const auto name = firewall::tag_of(rule);
    if (!name.empty() && !firewall::tag::is_alive(name)) ++stale;
  }
  if (stale > 0) {
    all.push_back({level::note, "rules",
                   fmt::format("{} left by ipq processes that are gone",
                               stale == 1 ? "1 rule was" : fmt::format("{} rules were", stale)),
                   "ipq cleanup"});
  }
}

void examine_settings(findings& all) {
  constexpr std::int64_t wanted = 64 << 20;
  const auto most = read_sysctl("net.core.rmem_max");
  if (may_force_buffers()) {
    all.push_back({level::ok, "buffer", "receive buffers may have any size"});
  } else if (!most) {
    all.push_back({level::ok, "buffer", "net.core.rmem_max is not shown in this network namespace"});
  } else if (*most < wanted) {
    all.push_back({level::note, "buffer",
                   fmt::format("net.core.rmem_max allows {} bytes: some {} large packets", *most, *most / 2 / 66555),
                   fmt::format("sysctl net.core.rmem_max={}; or a smaller --copy-range", wanted)});
  } else {
    all.push_back({level::ok, "buffer", "net.core.rmem_max is large enough"});
  }
  if (const auto strict = strict_reverse_paths(); !strict.empty()) {
    std::string names;
    for (const std::string& each : strict) names += (names.empty() ? "" : ", ") + printable(each);
    all.push_back(
        {level::note, "rp_filter",
         fmt::format("strict for {}: packets whose source a program rewrites, or that return another way, are "
                     "dropped unseen",
                     names),
         "sysctl net.ipv4.conf.all.rp_filter=2"});
  } else {
    all.push_back({level::ok, "rp_filter", "strict for no interface"});
  }
  const auto hashed = has_hashed_lookup();
  if (!hashed) {
    all.push_back({level::ok, "verdicts", "whether they are looked up by a hash can't be told"});
  } else if (*hashed) {
    all.push_back({level::ok, "verdicts", "looked up by a hash: any order costs the same"});
  } else {
    all.push_back({level::note, "verdicts", "looked up one by one: late verdicts in long queues are slow",
                   "give verdicts in order of arrival, or keep --max-length small"});
  }
}

void examine_proof(findings& all, const proof& tried) {
  if (!tried.passed) {
    all.push_back({level::wrong, "proof", tried.text, tried.remedy, tried.code});
    return;
  }
  all.push_back({level::ok, "proof", tried.text});
}

void print(const finding& found, bool colours) {
  const auto coloured = [&](const char* colour, std::string_view word) {
    return colours ? fmt::format("\033[{}m{}\033[0m", colour, word) : std::string(word);
  };
  const auto mark = found.how == level::ok     ? coloured("32", "ok   ")
                    : found.how == level::note ? coloured("33", "note ")
                                               : coloured("31", "WRONG");
  fmt::print("{}  {:<10}  {}\n", mark, found.about, found.text);
  if (found.how != level::ok && !found.remedy.empty()) fmt::print("                   remedy: {}\n", found.remedy);
}

}  // namespace

int doctor_main(int argc, char** argv) {
  command_line line(
      "doctor",
      "Looks for what keeps a queue from working on this machine, tells the remedies, and passes a packet\n"
      "in a private network namespace. Nothing is changed.");
  if (const auto end = line.parse(argc, argv)) return *end;

  const auto tried = prove_queues();
  findings all;
  examine_rights(all);
  examine_rules(all, tried);
  examine_user_namespaces(all);
  examine_queues(all);
  examine_settings(all);
  examine_proof(all, tried);

  const bool colours = has_colours(stdout);
  for (const auto& each : all) print(each, colours);
  const auto first_wrong = std::ranges::find(all, level::wrong, &finding::how);
  if (first_wrong == all.end()) {
    fmt::print("ready\n");
    return done;
  }
  const auto count = std::ranges::count(all, level::wrong, &finding::how);
  fmt::print("not ready: {} {} to mend\n", count, count == 1 ? "thing" : "things");
  return first_wrong->code;
}

}  // namespace tool
