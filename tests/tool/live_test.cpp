// SPDX-License-Identifier: MIT
// What the live commands do alike: watch, accept and drop with real packets, their ends, their rights.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <system_error>
#include <thread>

#include "ipq_command.hpp"
#include "kernel/child.hpp"
#include "kernel/flow.hpp"
#include "kernel/process.hpp"
#include "live_command.hpp"

namespace tool_tests {
namespace {

using kernel_tests::run;
using kernel_tests::wait_until;

// A pipe that nobody reads and that takes no more.
class full_pipe {
 public:
  full_pipe() : full_pipe(opened()) {
    const std::string page(4096, '.');
    while (write(write_.get(), page.data(), page.size()) > 0) continue;
    // The command is to wait for room.
    if (fcntl(write_.get(), F_SETFL, 0) != 0) throw std::system_error(errno, std::generic_category(), "fcntl");
  }

  /// Starts the command that follows with this pipe as its standard output.
  [[nodiscard]] std::vector<std::string> as_output() const {
    return {"bash", "-c", "exec \"$@\" >&" + std::to_string(write_.get()), "-"};
  }

 private:
  // Both ends are inherited, so that the command finds a reader.
  static std::array<int, 2> opened() {
    std::array<int, 2> ends{-1, -1};
    static_cast<void>(pipe2(ends.data(), O_NONBLOCK));
    return ends;
  }
  explicit full_pipe(std::array<int, 2> ends) : read_(ends[0], "pipe"), write_(ends[1], "pipe") {}

  kernel_tests::descriptor read_, write_;
};

class live : public kernel_tests::flow_test {
 protected:
  static constexpr std::chrono::milliseconds a_second_wish{600};  // signals sooner behind each other are one

  static constexpr const char* to_flow = "udp dport 5000";

  // The command, with the flow's packets selected.
  static std::vector<std::string> on_flow(std::vector<std::string> words) {
    words.insert(words.begin() + 1, {"--select", "output", to_flow});
    return words;
  }
  void send(const std::string& payload) const { flow4().send(payload); }
};

TEST_F(live, watch_prints_what_it_accepts) {
  live_command watch(on_flow({"watch", "-t", "-x", "--count", "2"}));
  send("hello");
  flow6().send("there");
  EXPECT_EQ(flow4().arrived(), "hello");
  EXPECT_EQ(flow6().arrived(), "there");
  EXPECT_EQ(watch.notice(), "STOPPING=1");
  const auto ended = watch.end();
  EXPECT_EQ(ended.status, 0) << ended.output;
  const std::regex wanted(
      "ipq watch: serving queue 0; while it runs, packets that find the queue full, or nobody listening, are dropped "
      "\\(--fail closed\\)\n"
      "ipq watch: packets are selected by [^\n]*\n"
      "output near0 uid [0-9]+ IP 192\\.0\\.2\\.1\\.[0-9]+ > 192\\.0\\.2\\.2\\.5000: UDP, length 5\n"
      "\t0x0000:  4500 0021 [0-9a-f ]{29}\n"
      "\t0x0010:  c000 0202 [0-9a-f]{4} 1388 000d [0-9a-f]{4} 6865 6c6c\n"
      "\t0x0020:  6f\n"
      "output near0 uid [0-9]+ IP6 2001:db8::1\\.[0-9]+ > 2001:db8::2\\.5000: UDP, length 5\n"
      "(\t0x00[0-9a-f ]*: [^\n]*\n){4}"
      "ipq watch: 2 received, 2 accepted, 0 dropped, (0 lost|lost and still waiting: not shown here)\n");
  EXPECT_TRUE(std::regex_match(ended.output, wanted)) << ended.output;
  EXPECT_EQ(queue_rules(), "");
}

TEST_F(live, watch_prints_json) {
  live_command watch(on_flow({"watch", "--json", "--count", "1"}));
  send("hello");
  const auto ended = watch.end();
  std::istringstream lines(ended.output);
  nlohmann::json found;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with('{')) found = nlohmann::json::parse(line);
  EXPECT_EQ(found["hook"], "output") << ended.output;
  EXPECT_EQ(found["outdev"], "near0");
  EXPECT_EQ(found["length"], 33);
  EXPECT_EQ(found["ip"]["destination"], "192.0.2.2");
  EXPECT_EQ(found["udp"]["destination_port"], 5000);
  EXPECT_GT(found["time"], 1e9);
  EXPECT_EQ(flow4().arrived(), "hello");
}

TEST_F(live, watch_accepts_what_its_filter_does_not_match) {
  live_command watch(on_flow({"watch", "-t", "--count", "2", "udp[8:4] = 0x7365656e"}));
  send("other");
  send("seen");
  EXPECT_EQ(flow4().arrived(), "other");
  EXPECT_EQ(flow4().arrived(), "seen");
  const auto ended = watch.end();
  EXPECT_TRUE(has(ended.output, "UDP, length 4\n")) << ended.output;
  EXPECT_FALSE(has(ended.output, "UDP, length 5\n")) << ended.output;
  EXPECT_TRUE(has(ended.output, "2 received, 2 accepted")) << ended.output;
}

TEST_F(live, accept_and_drop_decide_both_ways) {
  {
    live_command drop(on_flow({"drop", "-t", "-v", "--count", "2", "[outdev=near0]", "udp[8:2] = 0x6261"}));
    send("bad");
    send("good");
    EXPECT_EQ(flow4().arrived(), "good");
    const auto ended = drop.end();
    EXPECT_TRUE(has(ended.output, "UDP, length 3: drop\n")) << ended.output;
    EXPECT_FALSE(has(ended.output, "length 4")) << ended.output;
    EXPECT_TRUE(has(ended.output, "2 received, 1 accepted, 1 dropped")) << ended.output;
  }
  {
    live_command accept(on_flow({"accept", "--count", "2", "--else", "drop", "udp[8:4] = 0x676f6f64"}));
    send("bad");
    send("good");
    EXPECT_EQ(flow4().arrived(), "good");
    const auto ended = accept.end();
    EXPECT_TRUE(has(ended.output, "2 received, 1 accepted, 1 dropped")) << ended.output;
  }
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(live, several_queues_with_one_thread_and_with_two) {
  for (const char* workers : {"1", "2"}) {
    live_command watch({"watch", "-q", "3-4", "--workers", workers, "--count", "20"});
    flow4().rule("-I OUTPUT", "NFQUEUE --queue-num 3");
    for (int i = 0; i < 10; ++i) send("a");
    flow4().rule("-I OUTPUT", "NFQUEUE --queue-num 4");
    for (int i = 0; i < 10; ++i) send("b");
    const auto ended = watch.end();
    EXPECT_TRUE(has(ended.output, "ipq watch: serving queues 3 to 4;")) << ended.output;
    EXPECT_TRUE(has(ended.output, "20 received, 20 accepted, 0 dropped")) << ended.output;
    // Packets of one queue keep their order; those of two have none.
    std::string arrived;
    for (int i = 0; i < 20; ++i) arrived += flow4().arrived();
    std::ranges::sort(arrived);
    EXPECT_EQ(arrived, "aaaaaaaaaabbbbbbbbbb");
    kernel_tests::must_run("iptables-legacy -w -F OUTPUT");
  }
}

TEST_F(live, count_is_exact_and_the_rest_falls_to_the_policy) {
  flow4().rule("-A OUTPUT", "NFQUEUE --queue-num 0");
  for (const bool open : {false, true}) {
    std::vector<std::string> words{"drop", "--count", "3", "port 1", "--else", "accept"};
    if (open) words.insert(words.end(), {"--fail", "open"});
    live_command drop(words);
    // Held up, so that all of them wait when it goes on.
    drop.stop();
    for (int i = 0; i < 5; ++i) send(std::to_string(i));
    drop.signal(SIGCONT);
    const auto ended = drop.end();
    EXPECT_TRUE(has(ended.output, std::string("serving queue 0; when the queue is full, packets ") +
                                      (open ? "pass (--fail open)" : "are dropped") +
                                      "; when nobody listens, the rule that queues them decides\n"))
        << ended.output;
    for (int i = 0; i < (open ? 5 : 3); ++i) EXPECT_EQ(flow4().arrived(), std::to_string(i));
    EXPECT_TRUE(flow4().nothing_arrived());
  }
}

TEST_F(live, fail_open_is_about_the_full_queue_alone) {
  const auto ended = live_command(on_flow({"watch", "--fail-open", "--for", "1ms"})).end();
  EXPECT_TRUE(
      has(ended.output,
          "when the queue is full, packets pass (--fail-open); when nobody listens while it runs, they are dropped\n"))
      << ended.output;
}

TEST_F(live, what_it_prints_as_json_has_the_verdict) {
  // Without -v: who says how wants it printed.
  live_command drop(on_flow({"drop", "--json", "--count", "2", "udp[8] = 0x62"}));
  send("good");
  send("bad");
  const auto ended = drop.end();
  std::vector<nlohmann::json> found;
  std::istringstream lines(ended.output);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with('{')) found.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(found.size(), 1u) << ended.output;
  EXPECT_EQ(found[0]["verdict"], "drop");
  EXPECT_EQ(found[0]["length"], 31);
}

TEST_F(live, works_in_the_namespace_that_is_named) {
  const std::string there = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(far_ns().fd());
  kernel_tests::background_command drop(
      {command_path(), "drop", "--netns", there, "--select", "input", to_flow, "--count", "1"});
  wait_until("packets are queued there", [&] {
    const kernel_tests::inside far(far_ns());
    return !queue_rules().empty();
  });
  EXPECT_EQ(queue_rules(), "");
  send("lost");
  const auto ended = drop.wait();
  EXPECT_EQ(ended.status, 0) << ended.output;
  EXPECT_TRUE(has(ended.output, "1 received, 0 accepted, 1 dropped")) << ended.output;
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(live, filters_see_no_more_than_the_copy_range) {
  for (const char* bytes : {"28", "29"}) {
    live_command drop(on_flow({"drop", "--copy-range", bytes, "--count", "1", "udp[8] = 0x78"}));
    send("x");
    EXPECT_TRUE(has(drop.end().output, bytes == std::string("28") ? "1 accepted, 0 dropped" : "0 accepted, 1 dropped"));
  }
  EXPECT_EQ(flow4().arrived(), "x");
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(live, tells_of_an_interface_that_is_not_there) {
  const auto ended = live_command(on_flow({"watch", "--for", "1ms", "[indev=near0 outdev=no_such0]"})).end();
  EXPECT_EQ(ended.status, 0);
  EXPECT_TRUE(ended.output.starts_with(
      "ipq watch: there is no interface no_such0 now; what tests it waits for one\nipq watch: serving"))
      << ended.output;
  const auto selected =
      live_command({"watch", "--for", "1ms", "--select", "output", "oifname no_such1 udp dport 9"}).end();
  EXPECT_EQ(selected.status, 0);
  EXPECT_TRUE(
      selected.output.starts_with("ipq watch: there is no interface no_such1 now; what tests it waits for one\n"))
      << selected.output;
}

TEST_F(live, time_and_signals_end_it) {
  EXPECT_EQ(live_command({"watch", "--for", "50ms"}).end().status, 0);
  for (const int each : {SIGINT, SIGTERM, SIGHUP}) {
    live_command watch({"watch"});
    watch.signal(each);
    const auto ended = watch.end();
    EXPECT_EQ(ended.status, 0) << ended.output;
    EXPECT_TRUE(has(ended.output, "0 received, 0 accepted, 0 dropped")) << ended.output;
  }
}

TEST_F(live, signals_that_are_ignored_at_the_start_stay_so) {
  live_command drop(on_flow({"drop", "udp[8:2] = 0x6261"}), {"nohup"});
  drop.signal(SIGHUP);
  send("bad");
  send("good");
  EXPECT_EQ(flow4().arrived(), "good");
  const auto ended = drop.interrupt();
  EXPECT_EQ(ended.status, 0) << ended.output;
  EXPECT_TRUE(has(ended.output, "2 received, 1 accepted, 1 dropped")) << ended.output;
  live_command background({"watch"}, {"sh", "-c", "trap '' INT; exec \"$@\"", "-"});
  background.signal(SIGINT);
  background.signal(SIGTERM);
  EXPECT_EQ(background.end().status, 0);
}

TEST_F(live, second_signal_ends_what_its_output_holds_up) {
  const full_pipe unread;
  live_command watch(on_flow({"watch"}), unread.as_output());
  send("one");
  // Accepted, so what it prints next finds no room.
  EXPECT_EQ(flow4().arrived(), "one");
  watch.signal(SIGINT);
  EXPECT_EQ(watch.notice(), "STOPPING=1");
  std::this_thread::sleep_for(a_second_wish);
  watch.signal(SIGINT);
  const auto ended = watch.end();
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(has(ended.output, "ipq: ended by a second signal\n")) << ended.output;
  wait_until("the rules are gone", [] { return queue_rules().empty(); });
}

// timeout(1) signals its child, and then its group.
TEST_F(live, two_signals_at_once_are_one) {
  for (int i = 0; i < 10; ++i) {
    live_command watch(on_flow({"watch"}));
    watch.signal(SIGTERM);
    watch.signal(SIGINT);
    const auto ended = watch.end();
    ASSERT_EQ(ended.status, 0) << ended.output;
    ASSERT_TRUE(has(ended.output, "0 received, 0 accepted, 0 dropped")) << ended.output;
  }
}

TEST_F(live, what_still_waits_at_the_end_is_counted) {
  for (const bool open : {false, true}) {
    std::vector<std::string> words = on_flow({"watch", "--count", "1"});
    if (open) words.insert(words.end(), {"--fail", "open"});
    live_command watch(words);
    watch.stop();
    for (int i = 0; i < 100; ++i) send(std::to_string(i));
    watch.signal(SIGCONT);
    const auto ended = watch.end();
    if (kernel_tests::queue_counters_are_shown()) {
      std::smatch found;
      ASSERT_TRUE(std::regex_search(
          ended.output, found,
          std::regex(": ([0-9]+) received, [0-9]+ accepted, 0 dropped, 0 lost, ([0-9]+) still waiting: accepted\n")))
          << ended.output;
      EXPECT_EQ(std::stoi(found[1]) + std::stoi(found[2]), 100);
    } else {
      EXPECT_TRUE(has(ended.output, ", lost and still waiting: not shown here\n")) << ended.output;
    }
    for (int i = 0; i < 100; ++i) EXPECT_EQ(flow4().arrived(), std::to_string(i));
  }
}

TEST_F(live, reader_of_its_output_may_go) {
  flow4().rule("-A OUTPUT", "NFQUEUE --queue-num 0");
  kernel_tests::background_command head(
      {"bash", "-c", command_path() + " watch -t | head -n1; echo status ${PIPESTATUS[0]}"});
  wait_until("somebody serves the queue", [] { return has(must_ipq("status"), "ipq ("); });
  send("one");
  EXPECT_EQ(flow4().arrived(), "one");
  // The first line was read, the second one finds nobody.
  wait_until("head has ended", [this, &head] {
    send("more");
    static_cast<void>(flow4().far_socket().receive_now());
    return run({"pgrep", "-P", std::to_string(head.pid()), "ipq"}).status != 0;
  });
  EXPECT_TRUE(has(head.wait().output, "status 0\n"));
}

TEST_F(live, kill_leaves_no_rule_and_traffic_goes_on) {
  for (const char* policy : {"open", "closed"}) {
    live_command watch(on_flow({"watch", "--fail", policy}));
    EXPECT_EQ(has(queue_rules(), "bypass"), policy == std::string("open")) << queue_rules();
    send("before");
    EXPECT_EQ(flow4().arrived(), "before");
    watch.signal(SIGKILL);
    EXPECT_EQ(watch.end().status, 128 + SIGKILL);
    if (policy == std::string("open")) {
      // At once, though the rule may be there yet.
      send("after");
      EXPECT_EQ(flow4().arrived(), "after");
    }
    wait_until("the rules are gone", [] { return queue_rules().empty(); });
    send("at last");
    EXPECT_EQ(flow4().arrived(), "at last");
  }
}

// Whatever the next command is: nobody else would.
TEST_F(live, any_start_removes_what_a_killed_one_left) {
  for (const char* program : {"iptables-legacy", "ip6tables-legacy", "iptables-nft"}) {
    kernel_tests::must_run(std::string(program) +
                           " -w -t mangle -A OUTPUT -p udp -m comment --comment ipq:1:1 -j NFQUEUE --queue-num 9");
  }
  kernel_tests::must_run(
      "iptables-legacy -w -t mangle -A OUTPUT -p udp -m comment --comment mine -j NFQUEUE --queue-num 9");
  live_command watch({"watch", "-q", "7"});
  const auto left = queue_rules();
  EXPECT_FALSE(has(left, "ipq:1:1")) << left;
  EXPECT_TRUE(has(left, "mine")) << left;
  const auto ended = watch.interrupt();
  EXPECT_EQ(ended.status, 0);
  EXPECT_TRUE(has(ended.output, "ipq watch: removed 3 rules of an ipq that was killed\n")) << ended.output;
}

// Nor is the queue bound, and traffic held, meanwhile, or the lock waited for as long as at the end.
TEST_F(live, what_a_killed_one_left_is_removed_before_there_is_a_queue) {
  kernel_tests::must_run(
      "iptables-legacy -w -t mangle -A OUTPUT -p udp -m comment --comment ipq:1:1 -j NFQUEUE --queue-num 9");
  const std::filesystem::path folder = "/tmp/ipq_refusing_" + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "iptables-legacy")
      << "#!/bin/sh\necho \"$*\" >>$0.said\ncat /proc/net/netfilter/nfnetlink_queue >>$0.said\n"
         "echo \"Another app is currently holding the xtables lock\"\nexit 4\n";
  std::filesystem::permissions(folder / "iptables-legacy", std::filesystem::perms::owner_all);
  live_command watch({"watch", "-q", "7"}, {"env", "PATH=" + folder.string() + ":" + std::getenv("PATH")});
  std::ifstream file(folder / "iptables-legacy.said");
  const std::string said((std::istreambuf_iterator<char>(file)), {});
  std::filesystem::remove_all(folder);
  EXPECT_TRUE(said.starts_with("-w 1 -t mangle -D OUTPUT -p udp ")) << said;
  EXPECT_EQ(std::ranges::count(said, '\n'), 1) << "there was a queue: " << said;
  const auto ended = watch.interrupt();
  EXPECT_EQ(ended.status, 0);
  EXPECT_TRUE(has(ended.output,
                  ": another program holds iptables' lock (/run/xtables.lock); it is of an ipq that was "
                  "killed, and ipq cleanup tries again\n"))
      << ended.output;
}

TEST_F(live, what_a_killed_one_left_and_nobody_can_remove_hinders_no_start) {
  kernel_tests::must_run(
      "iptables-legacy -w -t mangle -A OUTPUT -p udp -m comment --comment ipq:1:1 -j NFQUEUE --queue-num 9");
  // Says no to -D alone, which the rule is removed by.
  const std::filesystem::path folder = "/tmp/ipq_refusing_" + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "iptables-legacy") << "#!/bin/sh\necho not today >&2\nexit 1\n";
  std::filesystem::permissions(folder / "iptables-legacy", std::filesystem::perms::owner_all);
  live_command watch({"watch", "-q", "7"}, {"env", "PATH=" + folder.string() + ":" + std::getenv("PATH")});
  std::filesystem::remove_all(folder);
  EXPECT_TRUE(has(queue_rules(), "ipq:1:1"));
  const auto ended = watch.interrupt();
  EXPECT_EQ(ended.status, 0);
  EXPECT_TRUE(
      has(ended.output, "ipq watch: remove the rule iptables-legacy -t mangle -A OUTPUT -p udp -m comment --comment "))
      << ended.output;
  EXPECT_TRUE(has(ended.output, ": not today; it is of an ipq that was killed, and ipq cleanup tries again\n"))
      << ended.output;
}

TEST_F(live, only_one_right_is_left_in_every_thread) {
  live_command watch(on_flow({"watch"}));
  std::size_t threads = 0;
  for (const auto& each : std::filesystem::directory_iterator("/proc/" + std::to_string(watch.pid()) + "/task")) {
    std::ifstream file(each.path() / "status");
    const std::string status((std::istreambuf_iterator<char>(file)), {});
    for (const char* line :
         {"CapPrm:\t0000000000001000\n", "CapEff:\t0000000000001000\n", "CapInh:\t0000000000000000\n",
          "CapAmb:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"}) {
      EXPECT_TRUE(has(status, line)) << line << status;
    }
    ++threads;
  }
#ifdef __SANITIZE_THREAD__
  constexpr std::size_t expected = 4;  // and ThreadSanitizer's own
#else
  constexpr std::size_t expected = 3;  // who waits for the end, who judges, who prints
#endif
  EXPECT_EQ(threads, expected);
  send("served");
  EXPECT_EQ(flow4().arrived(), "served");
  EXPECT_EQ(watch.interrupt().status, 0);
}

TEST_F(live, whoever_removes_rules_at_the_end_has_two_rights) {
  live_command watch(on_flow({"watch"}));
  const auto keeper = run({"pgrep", "-P", std::to_string(watch.pid())}).output;
  if (keeper.empty()) return;  // the kernel removes them
  std::string status;
  wait_until("it has given up the others", [&] {
    std::ifstream file("/proc/" + keeper.substr(0, keeper.find('\n')) + "/status");
    status.assign((std::istreambuf_iterator<char>(file)), {});
    return has(status, "NoNewPrivs:\t1\n") && has(status, "CapEff:\t0000000000003000\n");
  });
  EXPECT_TRUE(has(status, "CapPrm:\t0000000000003000\n")) << status;
  EXPECT_TRUE(has(status, "CapInh:\t0000000000000000\n")) << status;
  // In order, so that whoever removes the rules has ended with it, and with the lock's file.
  EXPECT_EQ(watch.interrupt().status, 0);
}

// As by the kernel when memory ends. Said while it serves: at its end it may be too late for whoever has to clean up.
TEST_F(live, loss_of_whoever_removes_rules_at_the_end_is_told_at_once) {
  const kernel_tests::descriptor errors(::memfd_create("errors", 0), "memfd_create");
  live_command watch(on_flow({"watch"}), {"bash", "-c", "exec \"$@\" 2>&" + std::to_string(errors.get()), "-"});
  const auto said = [&] {
    std::ifstream file("/proc/self/fd/" + std::to_string(errors.get()));
    return std::string((std::istreambuf_iterator<char>(file)), {});
  };
  const auto keeper = run({"pgrep", "-P", std::to_string(watch.pid())}).output;
  if (!keeper.empty()) {  // else the kernel removes them
    EXPECT_EQ(::kill(std::stoi(keeper), SIGKILL), 0);
    wait_until("it tells", [&] { return has(said(), "(ipq keeper) is gone"); });
    send("served");
    EXPECT_EQ(flow4().arrived(), "served");
    EXPECT_EQ(watch.interrupt().status, 1);
    EXPECT_TRUE(std::regex_search(
        said(),
        std::regex("\nipq watch: the process that removes its rules at the end \\(ipq keeper\\) is gone, perhaps "
                   "killed: packets are judged on, but afterwards the rules stay; run ipq cleanup then\n"
                   "ipq watch: 1 received[^\n]*\n"
                   "ipq watch: rules tagged [^\n]* could not be removed: ipq cleanup tries again\n$")))
        << said();
    EXPECT_NE(queue_rules(), "");
    must_ipq("cleanup");
    EXPECT_EQ(queue_rules(), "");
  }
}

TEST_F(live, queue_taken_says_by_whom) {
  live_command watch({"watch", "-q", "7"});
  const auto second = ipq("watch -q 7");
  EXPECT_EQ(second.status, 4);
  EXPECT_EQ(second.output, "ipq watch: bind queue 7: owned by ipq (pid " + std::to_string(watch.pid()) +
                               "); end it, or serve another queue with -q\n");
  // Nothing of a range is kept, and nothing is installed.
  const auto range = ipq("watch -q 6-7 --select output tcp");
  EXPECT_NE(range.status, 0);
  EXPECT_EQ(queue_rules(), "");
  EXPECT_EQ(watch.interrupt().status, 0);
}

TEST_F(live, missing_right) {
  const auto ended = ipq_without_rights("watch");
  EXPECT_EQ(ended.status, 3);
  EXPECT_TRUE(has(ended.output, "ipq watch: bind queue 0: ")) << ended.output;
  EXPECT_TRUE(has(ended.output, "CAP_NET_ADMIN")) << ended.output;
}

TEST_F(live, dry_run_prints_both_kinds_and_installs_nothing) {
  const auto printed = run({command_path(), "watch", "-q", "1-2", "--fail", "open", "--dry-run", "--select", "output",
                            "udp dport 53", "--select", "input", ""});
  EXPECT_EQ(printed.status, 0);
  EXPECT_TRUE(has(printed.output, "udp dport 53 queue num 1-2 bypass")) << printed.output;
  EXPECT_TRUE(has(printed.output,
                  "iptables -t mangle -A OUTPUT -p udp --dport 53 -j NFQUEUE --queue-balance 1:2 --queue-bypass"))
      << printed.output;
  EXPECT_TRUE(has(printed.output, "mangle -A INPUT")) << printed.output;
  EXPECT_EQ(queue_rules(), "");
}

struct mistake {
  std::vector<std::string> words;
  const char* message;
};

TEST_F(live, mistakes_are_told_and_nothing_is_started) {
  const mistake mistakes[] = {
      {{"watch", "-q", "65536"}, "ipq watch: --queue: 65536 is out of range: expected 0 to 65535; "},
      {{"watch", "-q", "4-2"}, "ipq watch: --queue: 4-2: the first queue is above the last; "},
      {{"watch", "-q", "0-256"}, "ipq watch: --queue: 0-256: at most 256 queues; "},
      {{"watch", "-q", "1-"}, "ipq watch: --queue: '' is no number; "},
      {{"watch", "-q", "x"}, "ipq watch: --queue: 'x' is no number; "},
      {{"watch", "--max-length", "0"}, "--max-length: 0 is out of range: expected 1 to 4294967295"},
      {{"watch", "--copy-range", "65532"}, "--copy-range: 65532 is out of range: expected 1 to 65531"},
      {{"watch", "--count", "-1"}, "--count: '-1' is no number"},
      {{"watch", "--for", "5"}, "--for: '5' is no time: expected a number and us, ms, s, min or h, as 10s"},
      {{"watch", "--workers", "0"}, "--workers: 0 is out of range: expected 1 to 256"},
      {{"watch", "--workers", "3", "-q", "0-1"}, "--workers 3: more threads than queues, of which there are 2"},
      {{"watch", "--fail", "maybe"}, "ipq watch: --fail: 'maybe': expected open or closed"},
      {{"watch", "--fail-open", "--fail", "closed"}, "ipq watch: --fail-open excludes --fail; "},
      {{"watch", "--dry-run"}, "--dry-run: there is no --select to print"},
      {{"watch", "--select", "outside", "udp dport 1"}, "outside"},
      {{"watch", "--select", "output", "udp dprt 1"}, "udp dprt 1"},
      {{"watch", "--select", "output", "udp dprt 1", "--dry-run"}, "udp dprt 1"},
      {{"watch", "--select", "output", "icmp"}, "; matches are in the words of nft(8), as 'ip protocol icmp'\n"},
      {{"watch", "--select", "output", "oif no_such0"}, "; use iifname or oifname, which waits for it\n"},
      {{"watch", "--a\nb\x1b[31m"}, "--a?b?[31m"},
      {{"watch", "--fail", "x\ny"}, "'x?y': expected open or closed"},
      {{"watch", "--select", "out\nx", ""}, "--select out?x: no such hook"},
      {{"watch", "--select", "output", "udp dport 1 drop"}, "drop"},
      {{"watch", "udp", "prt", "5"}, "ipq watch: filter:1:5: "},
      {{"drop", "--else", "perhaps"}, "ipq drop: --else: 'perhaps': expected accept or drop; "},
      {{"accept", "port", "70000"}, "ipq accept: filter:1:"},
  };
  for (const auto& [words, message] : mistakes) {
    std::vector<std::string> command{command_path()};
    command.insert(command.end(), words.begin(), words.end());
    const auto ended = run(command);
    EXPECT_EQ(ended.status, 2) << message << '\n' << ended.output;
    EXPECT_TRUE(has(ended.output, message)) << message << '\n' << ended.output;
    EXPECT_EQ(queue_rules(), "");
  }
  const auto no_netns = ipq("watch --netns no_such");
  EXPECT_EQ(no_netns.status, 1);
  EXPECT_TRUE(has(no_netns.output, "ipq watch: network namespace no_such: ")) << no_netns.output;
}

TEST_F(live, what_a_kernel_lacks_and_rights_that_are_missing_have_statuses_of_their_own) {
  // Nothing of iptables says this.
  const auto lacking = run({command_path(), "watch", "--for", "1ms", "--select", "output", "meta cpu 1"});
  if (has(lacking.output, "selected by nft")) {
    EXPECT_EQ(lacking.status, 0) << lacking.output;
  } else {
    EXPECT_EQ(lacking.status, 5) << lacking.output;
    EXPECT_TRUE(has(lacking.output, "this kernel's nftables has no queue statement (CONFIG_NFT_QUEUE)\n"))
        << lacking.output;
  }
  EXPECT_EQ(queue_rules(), "");
  const auto senseless = run({command_path(), "watch", "--for", "1ms", "--select", "input", "meta skuid 0"});
  if (!has(senseless.output, "selected by nft")) {
    EXPECT_EQ(senseless.status, 2);
    EXPECT_EQ(senseless.output,
              "ipq watch: --select input 'meta skuid 0': who sent a packet is known of this machine's own ones alone: "
              "select output or postrouting\n");
  }
  EXPECT_EQ(queue_rules(), "");
  const auto bare = run({"unshare", "--mount", "sh", "-c", "mount -t tmpfs none /usr/sbin && exec \"$@\"", "-",
                         command_path(), "watch", "--for", "1ms", "--select", "output", to_flow});
  if (!has(bare.output, "selected by nft")) {
    EXPECT_EQ(bare.status, 5) << bare.output;
    EXPECT_TRUE(has(bare.output, ": install iptables, or modprobe nft_queue\n")) << bare.output;
  }
  const auto moved = run({"setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all", command_path(), "watch", "--netns",
                          "/proc/self/ns/net", "--for", "1ms"});
  EXPECT_EQ(moved.status, 3) << moved.output;
  EXPECT_TRUE(has(moved.output, "ipq watch: network namespace /proc/self/ns/net: ")) << moved.output;
}

// As in a container that lets nobody filter.
kernel_tests::outcome without_seccomp(const std::vector<std::string>& words) {
  const kernel_tests::child confined([&](const kernel_tests::child::line& to) {
    const auto skip_unless = [](std::uint32_t what, std::uint8_t over) {
      return sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 0, over, what};
    };
    const auto load = [](std::uint32_t offset) { return sock_filter{BPF_LD | BPF_W | BPF_ABS, 0, 0, offset}; };
    const auto end = [](std::uint32_t how) { return sock_filter{BPF_RET | BPF_K, 0, 0, how}; };
    sock_filter code[] = {
        load(offsetof(seccomp_data, nr)), skip_unless(SYS_seccomp, 1),           end(SECCOMP_RET_ERRNO | ENOSYS),
        skip_unless(SYS_prctl, 3),        load(offsetof(seccomp_data, args[0])),  // its low half
        skip_unless(PR_SET_SECCOMP, 1),   end(SECCOMP_RET_ERRNO | EINVAL),       end(SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{static_cast<unsigned short>(std::size(code)), code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
      return to.say("no filter");
    }
    const auto ended = run(words);
    std::string line = std::to_string(ended.status) + " " + ended.output;
    std::ranges::replace(line, '\n', '|');
    to.say(line);
  });
  const std::string said = confined.hear();
  return {std::stoi(said), said.substr(said.find(' ') + 1)};
}

// Found before anything is installed, or a recording emptied.
TEST_F(live, kernel_without_system_call_filters_starts_nothing) {
  char file[] = "/tmp/ipq_live_XXXXXX";
  const kernel_tests::descriptor recording(mkstemp(file), "mkstemp");
  ASSERT_EQ(::write(recording.get(), "old", 3), 3);
  const auto ended = without_seccomp(
      {command_path(), "run", std::string("record ") + file, "--for", "1ms", "--select", "output", to_flow});
  const auto left = std::filesystem::file_size(file);
  std::filesystem::remove(file);
  EXPECT_EQ(ended.status, 5);
  EXPECT_EQ(ended.output,
            "ipq run: restrict system calls: this kernel, or what confines this process, has no seccomp filters "
            "(CONFIG_SECCOMP_FILTER)|");
  EXPECT_EQ(left, 3u);
  EXPECT_EQ(queue_rules(), "");
}

TEST_F(live, output_to_a_full_disk) {
  flow4().rule("-A OUTPUT", "NFQUEUE --queue-num 0");
  kernel_tests::background_command full({"bash", "-c", "exec " + command_path() + " watch >/dev/full"});
  wait_until("somebody serves the queue", [] { return has(must_ipq("status"), "ipq ("); });
  send("passes");
  EXPECT_EQ(flow4().arrived(), "passes");
  const auto ended = full.wait();
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(
      has(ended.output,
          "ipq watch: write to standard output: No space left on device: make room there, or write to another place\n"))
      << ended.output;
}

TEST_F(live, limit_of_open_files) {
  const auto within = [](const std::string& limits, const std::vector<std::string>& words) {
    std::vector<std::string> command{"bash", "-c", limits + "; exec \"$@\"", "-", command_path()};
    command.insert(command.end(), words.begin(), words.end());
    return run(command);
  };
  const std::vector<std::string> many{"watch", "-q", "0-63", "--for", "1ms"};
  const auto served = within("ulimit -Sn 64", many);
  EXPECT_EQ(served.status, 0) << served.output;
  const auto refused = within("ulimit -n 64", many);
  EXPECT_EQ(refused.status, 1);
  EXPECT_TRUE(
      std::regex_match(refused.output, std::regex("ipq watch: bind queue [0-9]+: Too many open files: raise the "
                                                  "limit of open files \\(ulimit -n\\)\n")))
      << refused.output;
  // Enough for the queues, but not for what workers need to know interfaces by their names. UBSan looks at memory
  // through a pipe, and without a descriptor for it ends what is fine.
#ifndef __SANITIZE_ADDRESS__
  const auto blind = within("ulimit -n 64", {"run", "-q", "0-19", "--workers", "20", "drop : [outdev=near0]", "--for",
                                             "1ms", "--select", "output", "udp dport 1"});
  EXPECT_EQ(blind.status, 1);
  EXPECT_EQ(blind.output,
            "ipq run: keep descriptors for later: Too many open files: raise the limit of open files (ulimit -n)\n");
#endif
  wait_until("the rules are gone", [] { return queue_rules().empty(); });
}

TEST_F(live, full_queue_is_counted_and_explained) {
  flow4().rule("-A OUTPUT", "NFQUEUE --queue-num 0");
  for (const bool open : {false, true}) {
    std::vector<std::string> words{"accept", "--max-length", "4"};
    if (open) words.push_back("--fail-open");
    live_command accept(words);
    accept.stop();
    for (int i = 0; i < 10; ++i) send("x");
    accept.signal(SIGCONT);
    for (int i = 0; i < (open ? 10 : 4); ++i) EXPECT_EQ(flow4().arrived(), "x");
    EXPECT_TRUE(flow4().nothing_arrived());
    const auto ended = accept.interrupt();
    EXPECT_TRUE(has(ended.output, "4 received, 4 accepted, 0 dropped")) << ended.output;
    if (!open && kernel_tests::queue_counters_are_shown()) {
      EXPECT_TRUE(has(ended.output, ", 6 lost\nipq accept: 6 packets found the queue full: a larger --max-length"))
          << ended.output;
    }
  }
}

}  // namespace
}  // namespace tool_tests
