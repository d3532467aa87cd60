// SPDX-License-Identifier: MIT
// Rules that can't be left behind, on the real kernel, by each means that it has.
#include "firewall/selection.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <list>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "firewall/iptables.hpp"
#include "firewall/nftables.hpp"
#include "firewall/program.hpp"
#include "firewall/tag.hpp"
#include "ipq/queue.hpp"
#include "kernel/child.hpp"
#include "kernel/netns.hpp"
#include "kernel/process.hpp"
#include "kernel/traffic.hpp"
#include "unit/without_capability.hpp"

namespace tool::firewall {
namespace {

using kernel_tests::child;
using kernel_tests::must_run;
using kernel_tests::udp_socket;
using kernel_tests::wait_until;
using namespace std::chrono_literals;
using by = selection::by;

constexpr std::uint16_t port = 4711;
const selector datagrams{ipq::hook::output, "udp dport 4711"};

selection must_install(std::vector<selector> what, by means, fail_policy policy = fail_policy::closed,
                       const queue_range& queues = {3, 3}) {
  auto made = selection::install(what, queues, policy, means);
  if (!made) throw std::runtime_error(made.error().message);
  return *std::move(made);
}

std::string why_not(std::vector<selector> what, by means = by::automatic) {
  const auto made = selection::install(what, {3, 3}, fail_policy::closed, means);
  return made ? "installed" : made.error().message;
}

/// What there is of ours in the kernel, in any way.
std::string ours() {
  std::string found;
  const auto rules = list_iptables_rules();
  if (!rules) throw std::runtime_error(rules.error().message);
  for (const auto& rule : *rules) {
    if (!tag_of(rule).empty()) found += rule.program() + " " + rule.text + "\n";
  }
  const auto tables = run_program({"nft", "list", "tables"}).output;
  if (tables.find("ipq_") != std::string::npos) found += tables;
  return found;
}

class selections : public kernel_tests::network_test {
 protected:
  ipq::queue open_queue() const {
    auto opened = ipq::queue::open({.number = 3});
    if (!opened) throw std::runtime_error(opened.error().message());
    return *std::move(opened);
  }
  void send(std::string_view from, std::string_view to) const { udp_socket(near_ns(), from).send(to, port, "x"); }
  void send() const { send(near_address, far_address); }

  /// How many packets wait in the queue; they are accepted.
  static std::size_t count(ipq::queue& queue) {
    std::size_t found = 0;
    while (const auto batch = queue.try_receive()) {
      for (const auto& packet : *batch) {
        EXPECT_TRUE(queue.set_verdict(packet, ipq::verdict::accept()));
        ++found;
      }
    }
    return found;
  }
};

std::string name_of(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

/// Every means that this kernel and what is installed here have. Tried once, since that takes a while.
std::vector<by> means_of_this_machine() {
  static const std::vector<by> found = [] {
    std::vector<by> means{by::iptables_legacy, by::iptables_nft};
    if (find_nft_abilities().queue) means.push_back(by::nft);
    std::erase_if(means, [](by each) { return !selection::install({{datagrams}}, {}, fail_policy::closed, each); });
    return means;
  }();
  if (found.empty()) throw std::runtime_error("there is no means to install rules here");
  return found;
}

TEST_F(selections, queue_what_they_match_until_they_go) {
  auto queue = open_queue();
  for (const auto means : means_of_this_machine()) {
    SCOPED_TRACE(static_cast<int>(means));
    auto selected = must_install({datagrams}, means);
    EXPECT_NE(ours(), "");
    send();
    EXPECT_EQ(count(queue), 1u);
    send(near_address6, far_address6);
    EXPECT_EQ(count(queue), 1u);
    udp_socket(near_ns(), near_address).send(far_address, port + 1, "x");
    EXPECT_EQ(count(queue), 0u);
    EXPECT_TRUE(selected.remove());
    EXPECT_EQ(ours(), "");
    send();
    EXPECT_EQ(count(queue), 0u);
  }
}

TEST_F(selections, automatic_means_are_the_best_there_are) {
  const auto selected = must_install({datagrams}, by::automatic);
  if (find_nft_abilities().queue) {
    EXPECT_TRUE(selected.description().starts_with("nft table inet ipq_")) << selected.description();
  } else {
    EXPECT_TRUE(selected.description().starts_with("iptables-")) << selected.description();
  }
}

TEST_F(selections, end_with_their_object) {
  for (const auto means : means_of_this_machine()) {
    { const auto selected = must_install({datagrams}, means); }
    EXPECT_EQ(ours(), "");
  }
}

TEST_F(selections, of_several_hooks_and_families) {
  auto queue = open_queue();
  const udp_socket receiver(far_ns(), far_address6, port);  // nothing is to come back
  for (const auto means : means_of_this_machine()) {
    SCOPED_TRACE(static_cast<int>(means));
    const auto selected = must_install({{ipq::hook::output, "ip daddr 192.0.2.2 udp dport 4711"},
                                        {ipq::hook::input, "ip6 saddr 2001:db8::2"},
                                        {ipq::hook::prerouting, "iifname \"near*\" udp dport { 4712, 4713 }"},
                                        {ipq::hook::forward, ""},
                                        {ipq::hook::postrouting, "icmp type echo-request"}},
                                       means);
    send();
    EXPECT_EQ(count(queue), 1u);
    send(near_address6, far_address6);
    EXPECT_EQ(count(queue), 0u);
    receiver.send(near_address6, port, "x");
    wait_until("a packet from IPv6", [&] { return count(queue) == 1; });
    udp_socket(far_ns(), far_address).send(near_address, 4713, "x");
    wait_until("a packet to one of the ports", [&] { return count(queue) == 1; });
  }
}

TEST_F(selections, fail_closed_or_open_when_nobody_listens) {
  const udp_socket receiver(far_ns(), far_address, port);
  for (const auto means : means_of_this_machine()) {
    SCOPED_TRACE(static_cast<int>(means));
    {
      const auto selected = must_install({datagrams}, means, fail_policy::closed);
      send();
      EXPECT_FALSE(receiver.receive_now());
    }
    const auto selected = must_install({datagrams}, means, fail_policy::open);
    send();
    EXPECT_EQ(receiver.receive(), "x");
  }
}

TEST_F(selections, what_is_accepted_is_still_judged_by_the_machines_own_filter) {
  auto queue = open_queue();
  const udp_socket receiver(far_ns(), far_address, port);
  iptables("-A OUTPUT -p udp --dport 4711 -j DROP");
  for (const auto means : means_of_this_machine()) {
    const auto selected = must_install({datagrams}, means);
    send();
    EXPECT_EQ(count(queue), 1u);
    std::this_thread::sleep_for(10ms);
    EXPECT_FALSE(receiver.receive_now());
  }
}

TEST_F(selections, spread_over_a_range_of_queues) {
  std::vector<ipq::queue> queues;
  for (std::uint16_t number = 3; number < 7; ++number) queues.push_back(*ipq::queue::open({.number = number}));
  std::vector<std::string> addresses;  // what tells flows apart for NFQUEUE
  std::string batch;
  for (int i = 10; i < 42; ++i) {
    addresses.push_back("192.0.2." + std::to_string(i));
    batch += "addr add " + addresses.back() + "/24 dev near0\n";
  }
  must_run("ip -batch -", batch);
  for (const auto means : means_of_this_machine()) {
    const auto selected = must_install({datagrams}, means, fail_policy::closed, {3, 6, false});
    for (const auto& address : addresses) send(address, far_address);
    std::size_t sum = 0, used = 0;
    for (auto& queue : queues) {
      const auto here = count(queue);
      sum += here;
      used += here > 0 ? 1 : 0;
    }
    EXPECT_EQ(sum, addresses.size());
    EXPECT_GT(used, 1u);
  }
}

// ---- however the process ends

void install_and_wait(const child::line& line, by means) {
  const auto selected = must_install({datagrams}, means);
  line.say(selected.description());
  line.wait_for_go();
}

TEST_F(selections, sigkill_leaves_nothing) {
  for (const auto means : means_of_this_machine()) {
    SCOPED_TRACE(static_cast<int>(means));
    child owner([&](const child::line& line) { install_and_wait(line, means); });
    EXPECT_NE(owner.hear(), "");
    EXPECT_NE(ours(), "");
    owner.end_by(SIGKILL);
    wait_until("the rules of a killed process go", [] { return ours().empty(); });
  }
}

TEST_F(selections, exit_without_destructors_leaves_nothing) {
  for (const auto means : means_of_this_machine()) {
    child owner([&](const child::line&) {
      const auto selected = must_install({datagrams}, means);
      ::_exit(0);
    });
    EXPECT_EQ(owner.wait(), 0);
    wait_until("the rules go", [] { return ours().empty(); });
  }
}

/// The one child of a process that has a name; of that only 15 characters are kept.
pid_t child_of(pid_t parent, std::string_view name) {
  pid_t found = 0;
  wait_until("a child of that name is there", [&] {
    std::ifstream children("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children");
    for (pid_t each = 0; children >> each;) {
      if (name_of(each) == name.substr(0, 15)) found = each;
    }
    return found != 0;
  });
  return found;
}

/// The keeper of a child.
pid_t keeper_of(pid_t parent) {
  return child_of(parent, "ipq keeper");
}

/// Gone, or waiting for somebody to take note of it.
bool has_ended(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string text;
  std::getline(file, text);
  const auto name_end = text.rfind(") ");
  return name_end == std::string::npos || text[name_end + 2] == 'Z';
}

std::vector<by> means_with_keeper() {
  auto means = means_of_this_machine();
  std::erase(means, by::nft);
  return means;
}

TEST_F(selections, killed_keeper_leaves_rules_to_the_clean_up) {
  for (const auto means : means_with_keeper()) {
    SCOPED_TRACE(static_cast<int>(means));
    const auto alive = must_install({{ipq::hook::input, "udp dport 1"}}, means);
    const std::string others = ours();
    child owner([&](const child::line& line) { install_and_wait(line, means); });
    EXPECT_NE(owner.hear(), "");
    const auto before = ours();
    EXPECT_EQ(*remove_stale(), 0u);
    EXPECT_EQ(ours(), before);
    ::kill(keeper_of(owner.pid()), SIGKILL);
    owner.end_by(SIGKILL);
    EXPECT_EQ(ours(), before);
    EXPECT_EQ(*remove_stale(search::easy), 2u);  // one of each family
    EXPECT_EQ(ours(), others);
  }
}

TEST_F(selections, keeper_outlives_the_signals_of_a_terminal_and_of_a_service_manager) {
  for (const auto means : means_with_keeper()) {
    child owner([&](const child::line& line) { install_and_wait(line, means); });
    EXPECT_NE(owner.hear(), "");
    const auto keeper = keeper_of(owner.pid());
    EXPECT_NE(::getsid(keeper), ::getsid(0));
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::kill(keeper, signal);
    EXPECT_NE(ours(), "");
    owner.end_by(SIGKILL);
    wait_until("the rules go", [] { return ours().empty(); });
  }
}

/// A folder that goes with its object.
class folder {
 public:
  folder() {
    std::string name = (std::filesystem::temp_directory_path() / "ipq_selections_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  ~folder() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

class environment {
 public:
  environment(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value.c_str(), 1);
  }
  environment(const environment&) = delete;
  environment& operator=(const environment&) = delete;
  ~environment() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

// The program that installs goes on without its parent, and is to be waited for.
TEST_F(selections, sigkill_while_a_program_waits_to_install_leaves_nothing) {
  const auto means = means_of_this_machine();
  if (std::ranges::find(means, by::iptables_legacy) == means.end()) GTEST_SKIP() << "there is no iptables-legacy";
  const folder place;
  const environment lock_file("XTABLES_LOCKFILE", place.file("lock"));
  const int lock = ::open(place.file("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::flock(lock, LOCK_EX), 0);
  child owner([&](const child::line& line) {
    ::close(lock);
    install_and_wait(line, by::iptables_legacy);
  });
  const auto keeper = keeper_of(owner.pid());
  const auto program = child_of(owner.pid(), "iptables-legacy-restore");
  wait_until("the program waits for the lock", [&] {
    for (const int each : kernel_tests::open_descriptors(program)) {
      std::error_code none;
      const auto link = "/proc/" + std::to_string(program) + "/fd/" + std::to_string(each);
      if (std::filesystem::read_symlink(link, none) == place.file("lock")) return true;
    }
    return false;
  });
  owner.end_by(SIGKILL);
  std::this_thread::sleep_for(50ms);  // in which a keeper that does not wait would end
  EXPECT_FALSE(has_ended(program));
  ::close(lock);
  wait_until("the program ends", [&] { return has_ended(program); });
  wait_until("the keeper ends", [&] { return has_ended(keeper); });
  EXPECT_EQ(ours(), "");
}

/// While `refusing`, a program says `why` and ends with `status`; each time a byte is left in a file.
class refused_program {
 public:
  refused_program(const std::string& name, int status, const std::string& why)
      : path_("PATH", place_.file("") + ":" + std::getenv("PATH")) {
    std::ofstream script(place_.file(name));
    script << "#!/bin/sh\nif [ -e '" << place_.file("refusing") << "' ]; then\n  printf x >> '" << place_.file("tries")
           << "'\n  echo '" << why << "' >&2\n  exit " << status << "\nfi\nPATH=${PATH#*:}\nexec " << name
           << " \"$@\"\n";
    script.close();
    std::filesystem::permissions(place_.file(name), std::filesystem::perms::owner_all);
  }
  void refuse() const { std::ofstream(place_.file("refusing")) << "\n"; }
  void comply() const { std::filesystem::remove(place_.file("refusing")); }
  std::size_t tries() const {
    std::error_code none;
    const auto size = std::filesystem::file_size(place_.file("tries"), none);
    return none ? 0 : size;
  }

 private:
  folder place_;
  environment path_;
};

constexpr const char* no_lock = "Another app is currently holding the xtables lock. Stopped waiting after 10s.";

std::string kind_of(by means) {
  return means == by::iptables_legacy ? "legacy" : "nft";
}

TEST_F(selections, keeper_tries_until_the_rules_are_gone) {
  for (const auto means : means_with_keeper()) {
    SCOPED_TRACE(static_cast<int>(means));
    const refused_program iptables("iptables-" + kind_of(means), 4, no_lock);
    child owner([&](const child::line& line) { install_and_wait(line, means); });
    EXPECT_NE(owner.hear(), "");
    iptables.refuse();
    owner.end_by(SIGKILL);
    wait_until("the keeper has tried", [&] { return iptables.tries() >= 1; });
    EXPECT_NE(ours(), "");
    iptables.comply();
    wait_until("the rules go", [] { return ours().empty(); });
  }
}

TEST_F(selections, end_that_can_not_remove_rules_says_so_and_leaves_them_to_the_keeper) {
  for (const auto means : means_with_keeper()) {
    const refused_program iptables("iptables-" + kind_of(means), 4, no_lock);
    auto selected = must_install({datagrams}, means);
    iptables.refuse();
    const auto removed = selected.remove();
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().code, failed);
    EXPECT_TRUE(
        removed.error().message.ends_with(" could not be removed: \"ipq keeper\" goes on trying for an hour, "
                                          "and ipq cleanup tries again"))
        << removed.error().message;
    iptables.comply();
    wait_until("the rules go", [] { return ours().empty(); });
  }
}

TEST_F(selections, rule_that_stays_keeps_no_other) {
  for (const auto means : means_with_keeper()) {
    const auto kind = means == by::iptables_legacy ? iptables_kind::legacy : iptables_kind::nft;
    const refused_program iptables("iptables-" + kind_of(means), 1, "iptables: Bad rule");
    ASSERT_TRUE(
        firewall::install(kind, *make_restore_text({{datagrams}}, {}, fail_policy::closed, "ipq:1:2"), "ipq:1:2"));
    iptables.refuse();
    const auto removed = remove_tagged("ipq:1:2");
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().code, failed);
    EXPECT_TRUE(removed.error().message.ends_with(": iptables: Bad rule")) << removed.error().message;
    EXPECT_EQ(ours().find("ip6tables"), std::string::npos) << ours();
    iptables.comply();
    EXPECT_EQ(*remove_tagged("ipq:1:2"), 1u);
  }
}

TEST_F(selections, rules_that_can_not_be_listed_are_not_taken_for_removed) {
  for (const auto means : means_with_keeper()) {
    const refused_program save("iptables-" + kind_of(means) + "-save", 1, "no memory");
    auto selected = must_install({datagrams}, means);
    save.refuse();
    const std::string why = "iptables-" + kind_of(means) + "-save can't list rules: no memory";
    EXPECT_EQ(list_tagged_rules().error().message, why);
    EXPECT_EQ(remove_stale().error().message, why);
    EXPECT_EQ(*remove_stale(search::easy), 0u);
    EXPECT_FALSE(selected.remove());
    save.comply();
    wait_until("the rules go", [] { return ours().empty(); });
  }
}

TEST_F(selections, lock_that_is_not_to_be_had_is_no_lack_of_the_kernel) {
  const auto all = means_of_this_machine();
  if (std::ranges::find(all, by::iptables_legacy) == all.end()) GTEST_SKIP() << "there is no iptables-legacy";
  const refused_program restore("iptables-legacy-restore", 4, no_lock);
  restore.refuse();
  const auto made = selection::install({{datagrams}}, {3, 3}, fail_policy::closed, by::iptables_legacy);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, failed);
  EXPECT_EQ(made.error().message,
            "iptables-legacy-restore: another program held iptables' lock (/run/xtables.lock) for 10 seconds: let it "
            "end, and try again");
  EXPECT_EQ(ours(), "");
}

// A queue whose socket the keeper had inherited would stay taken.
TEST_F(selections, keeper_has_no_descriptor_of_its_parent) {
  for (const auto means : means_with_keeper()) {
    child owner([&](const child::line& line) {
      const auto opened = ipq::queue::open({.number = 9});
      install_and_wait(line, means);
    });
    EXPECT_NE(owner.hear(), "");
    EXPECT_EQ(kernel_tests::open_descriptors(keeper_of(owner.pid())).size(), 4u);
    owner.end_by(SIGKILL);
    EXPECT_TRUE(ipq::queue::open({.number = 9}));
    wait_until("the rules go", [] { return ours().empty(); });
  }
}

TEST_F(selections, rules_that_somebody_else_removed_are_no_error) {
  for (const auto means : means_with_keeper()) {
    auto selected = must_install({datagrams}, means);
    const std::string kind = means == by::iptables_legacy ? "legacy" : "nft";
    must_run("iptables-" + kind + " -t mangle -F");
    EXPECT_TRUE(selected.remove());
    EXPECT_EQ(ours(), "");
  }
}

TEST_F(selections, other_rules_stay) {
  for (const auto means : means_with_keeper()) {
    const std::string kind = means == by::iptables_legacy ? "legacy" : "nft";
    must_run("iptables-" + kind +
             " -t mangle -A OUTPUT -p udp -m comment --comment \"ipq:mine\" -j NFQUEUE --queue-num 3");
    const auto before = list_iptables_rules()->size();
    { const auto selected = must_install({datagrams}, means); }
    EXPECT_EQ(list_iptables_rules()->size(), before);
    must_run("iptables-" + kind + " -t mangle -F");
  }
}

TEST_F(selections, lost_and_renamed_interfaces) {
  auto queue = open_queue();
  for (const auto means : means_of_this_machine()) {
    SCOPED_TRACE(static_cast<int>(means));
    // Datagrams alone: what IPv6 says by itself while the link goes would wait in the queue and hold the link back.
    auto selected = must_install({{ipq::hook::output, "oifname \"dummy0\" " + datagrams.match}}, means);
    must_run("ip link add dummy0 type veth peer name dummy1");
    must_run("ip link set dummy0 up");
    must_run("ip link set dummy1 up");
    must_run("ip addr add 198.51.100.1/24 dev dummy0");
    must_run("ip neigh add 198.51.100.2 lladdr 02:00:00:00:00:07 dev dummy0");
    udp_socket(near_ns(), "198.51.100.1").send("198.51.100.2", port, "x");
    EXPECT_EQ(count(queue), 1u);
    must_run("ip link del dummy0");
    EXPECT_TRUE(selected.remove());
    EXPECT_EQ(ours(), "");
  }
}

TEST_F(selections, many_start_and_end_at_once) {
  for (const auto means : means_of_this_machine()) {
    SCOPED_TRACE(static_cast<int>(means));
    std::list<child> owners;
    for (int i = 0; i < 4; ++i) {
      owners.emplace_back([&](const child::line& line) {
        line.wait_for_go();
        auto selected = must_install({datagrams}, means);
        line.say("installed");
        line.wait_for_go();
        if (!selected.remove()) throw std::runtime_error("not removed");
      });
    }
    for (auto& each : owners) each.go();
    for (auto& each : owners) EXPECT_EQ(each.hear(), "installed");
    for (auto& each : owners) each.go();
    for (auto& each : owners) EXPECT_EQ(each.wait(), 0);
    EXPECT_EQ(ours(), "");
  }
}

TEST_F(selections, two_in_one_process) {
  auto queue = open_queue();
  for (const auto means : means_of_this_machine()) {
    auto one = must_install({datagrams}, means);
    const auto other = must_install({{ipq::hook::output, "udp dport 4712"}}, means);
    EXPECT_NE(one.description(), other.description());
    EXPECT_TRUE(one.remove());
    send();
    EXPECT_EQ(count(queue), 0u);
    udp_socket(near_ns(), near_address).send(far_address, 4712, "x");
    EXPECT_EQ(count(queue), 1u);
  }
}

// ---- what goes wrong leaves nothing

TEST_F(selections, family_that_is_refused_takes_the_other_back) {
  for (const auto kind : {iptables_kind::legacy, iptables_kind::nft}) {
    auto text = *make_restore_text({{datagrams}}, {}, fail_policy::closed, "ipq:1:2");
    text.ipv6 = "*mangle\n-A OUTPUT -p nonsense -m comment --comment ipq:1:2 -j NFQUEUE\nCOMMIT\n";
    const auto refused = firewall::install(kind, text, "ipq:1:2");
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().message.starts_with("ip6tables-" + std::string(to_string(kind)) + "-restore: "))
        << refused.error().message;
    EXPECT_EQ(ours(), "");
  }
}

TEST_F(selections, match_that_nft_does_not_understand) {
  if (!find_nft_abilities().tables) GTEST_SKIP() << "this kernel has no nf_tables with owners";
  EXPECT_TRUE(why_not({datagrams, {ipq::hook::input, "udp dprot 53"}})
                  .starts_with("--select input 'udp dprot 53': syntax error, unexpected string"));
  EXPECT_NE(why_not({{ipq::hook::input, "udp dport 99999"}}).find("--select input 'udp dport 99999': "),
            std::string::npos);
  EXPECT_EQ(ours(), "");
}

TEST_F(selections, match_that_iptables_can_not_say) {
  for (const auto means : means_with_keeper()) {
    const auto made = selection::install(std::vector<selector>{datagrams, {ipq::hook::input, "ip ttl 3"}}, {3, 3},
                                         fail_policy::closed, means);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, kernel_lacks);
    EXPECT_EQ(made.error().message,
              "--select input 'ip ttl 3': \"ip ttl\" can't be put into iptables' words, and this kernel's nftables has "
              "no queue statement (CONFIG_NFT_QUEUE)");
    EXPECT_EQ(ours(), "");
  }
}

TEST_F(selections, match_that_iptables_refuses) {
  // nft knows longer packets than iptables, of which both kinds say so.
  for (const auto means : means_with_keeper()) {
    const auto made = selection::install(std::vector<selector>{{ipq::hook::input, "meta length 70000"}}, {3, 3},
                                         fail_policy::closed, means);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, kernel_lacks);
    EXPECT_NE(made.error().message.find("neither nft nor iptables takes the rules: iptables-"), std::string::npos)
        << made.error().message;
    EXPECT_EQ(ours(), "");
  }
}

TEST_F(selections, without_rights) {
  const unit_tests::without_net_admin ordinary;
  const auto made = selection::install({{datagrams}}, {3, 3}, fail_policy::closed);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, no_rights);
  EXPECT_NE(made.error().message.find("CAP_NET_ADMIN is missing"), std::string::npos);
}

TEST_F(selections, dry_run_does_nothing_and_its_text_is_taken) {
  const std::vector<selector> what{
      datagrams, {ipq::hook::input, "ip saddr { 192.0.2.7, 192.0.2.8 }"}, {ipq::hook::input, "ip ttl 3"}};
  EXPECT_EQ(dry_run(what, {4, 5, true}, fail_policy::open),
            "# for nft -f\n"
            "table inet ipq {\n"
            "  chain input {\n"
            "    type filter hook input priority mangle; policy accept;\n"
            "    ip saddr { 192.0.2.7, 192.0.2.8 } queue num 4-5 bypass,fanout\n"
            "    ip ttl 3 queue num 4-5 bypass,fanout\n"
            "  }\n"
            "  chain output {\n"
            "    type filter hook output priority mangle; policy accept;\n"
            "    udp dport 4711 queue num 4-5 bypass,fanout\n"
            "  }\n"
            "}\n"
            "# for iptables\n"
            "iptables -t mangle -A OUTPUT -p udp --dport 4711 -j NFQUEUE --queue-balance 4:5 --queue-bypass "
            "--queue-cpu-fanout\n"
            "ip6tables -t mangle -A OUTPUT -p udp --dport 4711 -j NFQUEUE --queue-balance 4:5 --queue-bypass "
            "--queue-cpu-fanout\n"
            "iptables -t mangle -A INPUT -s 192.0.2.7 -j NFQUEUE --queue-balance 4:5 --queue-bypass "
            "--queue-cpu-fanout\n"
            "iptables -t mangle -A INPUT -s 192.0.2.8 -j NFQUEUE --queue-balance 4:5 --queue-bypass "
            "--queue-cpu-fanout\n"
            "# --select input 'ip ttl 3': \"ip ttl\" can't be put into iptables' words\n");
  EXPECT_EQ(ours(), "");
}

// ---- the table that the kernel removes, whether or not it has the queue statement

class owned_tables : public kernel_tests::network_test {
 protected:
  void SetUp() override {
    network_test::SetUp();
    if (!IsSkipped() && !find_nft_abilities().tables) GTEST_SKIP() << "this kernel has no nf_tables with owners";
  }
  static std::string table() {
    return nft_table({{datagrams}}, {}, fail_policy::closed, "ipq_owned", true,
                     find_nft_abilities().queue ? "" : "counter");
  }
  static bool is_there() { return run_program({"nft", "list", "table", "inet", "ipq_owned"}).status == 0; }
};

TEST_F(owned_tables, go_with_a_killed_process) {
  child owner([](const child::line& line) {
    nftables rules;
    line.say(rules.run(table()) ? "made" : "refused");
    line.wait_for_go();
  });
  ASSERT_EQ(owner.hear(), "made");
  EXPECT_TRUE(is_there());
  EXPECT_NE(run_program({"nft", "list", "table", "inet", "ipq_owned"}).output.find("flags owner"), std::string::npos);
  // Nobody else can take them away.
  EXPECT_NE(run_program({"nft", "delete", "table", "inet", "ipq_owned"}).status, 0);
  // A firewall that loads its rules anew begins with this.
  EXPECT_EQ(run_program({"nft", "flush", "ruleset"}).status, 0);
  EXPECT_TRUE(is_there());
  owner.end_by(SIGKILL);
  wait_until("the table goes", [] { return !is_there(); });
}

TEST_F(owned_tables, go_with_their_object) {
  {
    nftables rules;
    ASSERT_TRUE(rules.run(table()));
    EXPECT_TRUE(is_there());
  }
  EXPECT_FALSE(is_there());
}

// Something that the process has started must not keep the table alive.
TEST_F(owned_tables, go_although_a_program_that_was_started_goes_on) {
  const auto starter = [](const child::line& line) {
    nftables rules;
    if (!rules.run(table())) throw std::runtime_error("refused");
    const pid_t program = ::fork();
    if (program == 0) {
      ::execlp("sleep", "sleep", "20", nullptr);
      ::_exit(1);
    }
    line.say(std::to_string(program));
    line.wait_for_go();
  };
  child owner(starter);
  const pid_t program = std::stoi(owner.hear());
  wait_until("sleep runs", [&] { return name_of(program) == "sleep"; });
  owner.end_by(SIGKILL);
  wait_until("the table goes", [] { return !is_there(); });
  EXPECT_EQ(::kill(program, SIGKILL), 0);
}

// libnftables would end the process.
TEST_F(owned_tables, without_a_socket_are_refused) {
  child owner([](const child::line& line) {
    rlimit usual{};
    ::getrlimit(RLIMIT_NOFILE, &usual);
    const rlimit none{0, usual.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
    const auto made = nftables().run(table());
    ::setrlimit(RLIMIT_NOFILE, &usual);  // whoever looks for leaks at the end reads /proc
    line.say(made ? "made" : made.error().message);
  });
  EXPECT_EQ(owner.hear(), "no connection to nftables: Too many open files");
  EXPECT_EQ(owner.wait(), 0);
}

TEST_F(owned_tables, are_made_whole_or_not_at_all) {
  nftables rules;
  auto text = table();
  text.insert(text.rfind("  }\n}"), "    iif no_such_interface counter\n");
  EXPECT_FALSE(rules.run(text));
  EXPECT_FALSE(is_there());
}

// ---- tags

using tags = kernel_tests::network_test;

TEST_F(tags, live_as_long_as_their_object_in_their_namespace) {
  std::string name;
  {
    const auto made = tag::make();
    ASSERT_TRUE(made) << made.error().message;
    name = made->name();
    EXPECT_TRUE(tag::is_one(name)) << name;
    EXPECT_TRUE(name.starts_with("ipq:" + std::to_string(::getpid()) + ":"));
    EXPECT_TRUE(tag::is_alive(name));
    EXPECT_FALSE(kernel_tests::in(far_ns(), [&] { return tag::is_alive(name); }));
    const auto other = tag::make();
    ASSERT_TRUE(other);
    EXPECT_NE(other->name(), name);
    EXPECT_TRUE(tag::is_one(other->name()));
    EXPECT_FALSE(tag::is_alive(name + "7"));
  }
  EXPECT_FALSE(tag::is_alive(name));
}

TEST_F(tags, form) {
  for (const auto* right : {"ipq:1:2", "ipq:4194304:18446744073709551615", "ipq:1:2:3"}) {
    EXPECT_TRUE(tag::is_one(right)) << right;
  }
  for (const auto* wrong : {"", "ipq:", "ipq:1", "ipq::1", "ipq:1:", "ipq:1:2:", "ipq:1:2:3:4", "ipq:a:b", "x:1:2",
                            "ipq:1:2 ", "IPQ:1:2"}) {
    EXPECT_FALSE(tag::is_one(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace tool::firewall
