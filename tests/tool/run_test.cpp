// SPDX-License-Identifier: MIT
// ipq run with real packets: what its rules do to them, reloads under traffic, recordings.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <optional>
#include <random>
#include <regex>
#include <thread>

#include "ipq/capture.hpp"
#include "ipq/queue.hpp"
#include "ipq_command.hpp"
#include "kernel/flow.hpp"
#include "kernel/process.hpp"
#include "live_command.hpp"
#include "tcp_text.hpp"

namespace tool_tests {
namespace {

using kernel_tests::run;
using kernel_tests::wait_until;
using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

class rules : public kernel_tests::flow_test {
 protected:
  rules() {
    char name[] = "/tmp/ipq_rules_XXXXXX";
    if (mkdtemp(name) == nullptr) throw std::runtime_error("no folder for rules");
    folder_ = name;
  }
  ~rules() override { std::filesystem::remove_all(folder_); }

  static std::vector<std::string> on_flow(std::vector<std::string> words) {
    words.insert(words.begin(), {"run", "--select", "output", "udp dport 5000"});
    return words;
  }
  void send(const std::string& payload) const { flow4().send(payload); }

  /// Of packets that left by near0.
  static std::vector<ipq::verdict::action> verdicts_of(const std::string& recording) {
    auto reader = ipq::capture_reader::open(recording);
    std::vector<ipq::verdict::action> verdicts;
    EXPECT_TRUE(reader) << recording;
    while (reader) {
      const auto batch = reader->receive();
      if (!batch) break;
      for (const auto& each : *batch) {
        const auto* frame = reader->frame_of(each);
        if (frame != nullptr && frame->recorded) verdicts.push_back(frame->recorded->given.what());
        EXPECT_EQ(reader->interface_name(each.outdev), "near0");
      }
    }
    return verdicts;
  }

  [[nodiscard]] std::string path(const char* name) const { return folder_ / name; }
  std::string write(const char* name, std::string_view text) const {
    // As editors do, so that a reader sees the old file or the new one.
    std::ofstream(path("new"), std::ios::binary) << text;
    std::filesystem::rename(path("new"), path(name));
    return path(name);
  }

 private:
  std::filesystem::path folder_;
};

TEST_F(rules, decide_count_and_log) {
  live_command command(
      on_flow({"-t", "count all, continue", "log \"bad\", drop : udp[8:2] = 0x6261", "--else", "accept"}));
  send("good");
  send("bad");
  send("good too");
  EXPECT_EQ(flow4().arrived(), "good");
  EXPECT_EQ(flow4().arrived(), "good too");
  EXPECT_TRUE(flow4().nothing_arrived());
  const auto ended = command.interrupt();
  EXPECT_EQ(ended.status, 0);
  const std::regex wanted(
      "(.|\n)*"
      "bad output near0 uid [0-9]+ IP 192\\.0\\.2\\.1\\.[0-9]+ > 192\\.0\\.2\\.2\\.5000: UDP, length 3: drop\n"
      "ipq run: 3 received, 2 accepted, 1 dropped, (0 lost|lost and still waiting: not shown here)\n"
      " +packets +bytes  rule\n"
      " +3 +99  count all, continue\n"
      " +1 +31  log \"bad\", drop : udp\\[8:2\\] = 0x6261\n"
      " +2 +68  \\(no rule\\)\n"
      " +3 +99  count all\n");
  EXPECT_TRUE(std::regex_match(ended.output, wanted)) << ended.output;
}

TEST_F(rules, delay_pings_by_100_ms) {
  live_command command({"run", "--select", "output", "icmp type echo-request", "delay 100ms"});
  const auto pings = run(kernel_tests::split("ping -n -c 5 -i 0.02 -W 5 192.0.2.2"));
  EXPECT_EQ(pings.status, 0) << pings.output;
  const std::regex reply("icmp_seq=([0-9]+) ttl=64 time=([0-9.]+) ms");
  int expected = 0;
  for (std::sregex_iterator each(pings.output.begin(), pings.output.end(), reply), end; each != end; ++each) {
    EXPECT_EQ(std::stoi((*each)[1]), ++expected) << "equal delays keep the order\n" << pings.output;
    EXPECT_GE(std::stod((*each)[2]), 100.0);
  }
  EXPECT_EQ(expected, 5) << pings.output;
  EXPECT_EQ(command.interrupt().status, 0);
}

TEST_F(rules, delayed_packets_go_at_once_at_the_end) {
  live_command command(on_flow({"drop, delay 60min : udp[8] = 0x78", "delay 60min : udp[8] = 0x68"}));
  send("held");
  send("x");
  send("passes");
  EXPECT_EQ(flow4().arrived(), "passes");
  EXPECT_TRUE(flow4().nothing_arrived());
  const auto ended = command.interrupt();
  EXPECT_EQ(ended.status, 0);
  EXPECT_EQ(flow4().arrived(), "held");
  EXPECT_TRUE(flow4().nothing_arrived());
  EXPECT_TRUE(has(ended.output, "3 received, 2 accepted, 1 dropped")) << ended.output;
}

TEST_F(rules, delay_is_bounded_and_the_rest_gets_the_stated_verdict) {
  for (const std::string beyond : {"accept", "drop"}) {
    using words_of = std::vector<std::string>;
    for (const auto& bound : {words_of{"--delay-packets", "2"}, words_of{"--delay-bytes", "70"}}) {
      auto words = on_flow({"accept : udp[8] = 0x79", "delay 60min", "--delay-full", beyond});
      words.insert(words.end(), bound.begin(), bound.end());
      live_command command(words);
      for (int i = 0; i < 5; ++i) send(std::to_string(i));
      send("y");  // the last to be judged
      if (beyond == "accept") {
        for (int i = 2; i < 5; ++i) EXPECT_EQ(flow4().arrived(), std::to_string(i));
      }
      EXPECT_EQ(flow4().arrived(), "y");
      EXPECT_TRUE(flow4().nothing_arrived());
      const auto ended = command.interrupt();
      for (int i = 0; i < 2; ++i) EXPECT_EQ(flow4().arrived(), std::to_string(i));
      EXPECT_TRUE(flow4().nothing_arrived());
      EXPECT_TRUE(
          has(ended.output, "ipq run: 3 packets to be delayed exceeded --delay-packets or --delay-bytes: " + beyond))
          << ended.output;
    }
  }
}

// A name server's answer: the header, the question, and one address that points at the question's name.
std::string dns_answer(std::string_view address) {
  return std::string("\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0", 12) + std::string("\3ipq\7example\0\0\x01\0\x01", 17) +
         std::string("\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04", 12) + std::string(address);
}

TEST_F(rules, rewrite_an_answer) {
  live_command command(
      on_flow({R"(replace "\xc6\x33\x64\x07" with "\xcb\x00\x71\x09", set ttl 7 : udp src port 5000)"}));
  const std::string answer = dns_answer("\xc6\x33\x64\x07");
  const std::string rewritten = dns_answer(std::string_view("\xcb\0\x71\x09", 4));
  send(answer);
  EXPECT_EQ(flow4().arrived(), rewritten);
  flow6().send(answer);
  EXPECT_EQ(flow6().arrived(), rewritten);
  EXPECT_EQ(command.interrupt().status, 0);
}

TEST_F(rules, changes_are_seen_on_the_wire) {
  kernel_tests::must_run("ip neigh add 192.0.2.77 lladdr 02:00:00:00:00:07 dev near0");
  const kernel_tests::device_tap tap(far_ns(), "far0");
  const struct {
    const char* rule;
    std::size_t at;
    std::vector<unsigned> bytes;
  } changes[] = {
      {"set ttl 9", 8, {9}},
      {"set dscp 46", 1, {46 << 2}},
      {"set src 192.0.2.99", 12, {192, 0, 2, 99}},
      {"set dst 192.0.2.77", 16, {192, 0, 2, 77}},
      {"set sport 1234", 20, {1234 >> 8, 1234 & 255}},
      {"set dport 4321", 22, {4321 >> 8, 4321 & 255}},
      {"replace \"wire\" with \"WIRE\"", 28, {'W', 'I', 'R', 'E'}},
  };
  for (const auto& [rule, at, bytes] : changes) {
    SCOPED_TRACE(rule);
    live_command command(on_flow({rule, "--count", "1"}));
    send("wire");
    EXPECT_EQ(command.end().status, 0);
    const auto packet = tap.next();
    ASSERT_EQ(packet.size(), 32u);
    for (std::size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(static_cast<unsigned>(packet[at + i]), bytes[i]);
  }
}

TEST_F(rules, corrupt_changes_one_bit_and_no_checksum_hides_it) {
  const kernel_tests::device_tap tap(far_ns(), "far0");
  const std::string sent(100, 'x');
  live_command command(on_flow({"corrupt 100%", "--count", "1"}));
  send(sent);
  EXPECT_EQ(command.end().status, 0);
  const auto packet = tap.next();
  ASSERT_EQ(packet.size(), 28 + sent.size());
  int bits = 0;
  for (std::size_t i = 0; i < sent.size(); ++i)
    bits += std::popcount(static_cast<unsigned>(packet[28 + i]) ^ static_cast<unsigned char>(sent[i]));
  EXPECT_LE(bits, 1) << "in the headers, or here";
  EXPECT_TRUE(flow4().nothing_arrived()) << "its checksum, which the interface was to make, is wrong";
}

TEST_F(rules, mark_is_seen_by_the_rules_that_follow) {
  kernel_tests::must_run("iptables-legacy -w -A OUTPUT -m mark --mark 0x7 -j DROP");
  live_command command(on_flow({"mark 7 : udp[8] = 0x61", "mark 8", "--count", "2"}));
  send("a");
  send("b");
  EXPECT_EQ(command.end().status, 0);
  EXPECT_EQ(flow4().arrived(), "b");
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(rules, queue_sends_on_to_another_program) {
  live_command second({"drop", "-q", "5", "--count", "1"});
  live_command first(on_flow({"queue 5 : udp[8] = 0x61", "queue 6 bypass : udp[8] = 0x62", "--count", "3"}));
  for (const char* each : {"a", "b", "c"}) send(each);
  EXPECT_EQ(first.end().status, 0);
  EXPECT_TRUE(has(second.end().output, "1 received, 0 accepted, 1 dropped"));
  EXPECT_EQ(flow4().arrived(), "b") << "nobody serves queue 6";
  EXPECT_EQ(flow4().arrived(), "c");
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(rules, reorder_loses_nothing) {
  live_command command(on_flow({"reorder 50% within 50ms", "--seed", "3"}));
  for (int i = 0; i < 20; ++i) send(std::string(1, static_cast<char>('a' + i)));
  std::string arrived;
  for (int i = 0; i < 20; ++i) arrived += flow4().arrived();
  EXPECT_FALSE(std::ranges::is_sorted(arrived)) << arrived;
  std::ranges::sort(arrived);
  EXPECT_EQ(arrived, "abcdefghijklmnopqrst");
  EXPECT_EQ(command.interrupt().status, 0);
}

TEST_F(rules, rate_and_jitter_take_their_time) {
  for (const auto& [rule, least] : {std::pair{"rate 20/s", 200ms}, {"delay 60ms jitter 10ms", 50ms}}) {
    SCOPED_TRACE(rule);
    live_command command(on_flow({rule}));
    const auto begun = steady::now();
    for (int i = 0; i < 5; ++i) send("x");
    for (int i = 0; i < 5; ++i) EXPECT_EQ(flow4().arrived(), "x");
    EXPECT_GE(steady::now() - begun, least);
    EXPECT_EQ(command.interrupt().status, 0);
  }
}

TEST_F(rules, what_no_rule_matches_is_dropped_where_that_is_said) {
  live_command command(on_flow({"accept : udp[8] = 0x61", "--else", "drop", "--count", "2"}));
  send("b");
  send("a");
  EXPECT_TRUE(has(command.end().output, "2 received, 1 accepted, 1 dropped"));
  EXPECT_EQ(flow4().arrived(), "a");
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(rules, priority_is_that_of_the_packet_from_then_on) {
  iptables("-t mangle -A OUTPUT -p udp --dport 5000 -j NFQUEUE --queue-num 0");
  iptables("-A OUTPUT -p udp --dport 5000 -j NFQUEUE --queue-num 4");
  auto behind = ipq::queue::open({.number = 4});
  ASSERT_TRUE(behind);
  live_command command({"run", "priority 0x30004 : udp[8] = 0x61"});
  for (const auto& [text, priority] : {std::pair{"a", 0x30004u}, {"b", 0u}}) {
    send(text);
    const auto got = behind->receive();
    ASSERT_TRUE(got && got->size() == 1);
    EXPECT_EQ((*got)[0].priority, priority);
    EXPECT_TRUE(behind->set_verdict((*got)[0], ipq::verdict::accept()));
    EXPECT_EQ(flow4().arrived(), text);
  }
  EXPECT_EQ(command.interrupt().status, 0);
}

// What can't wait is recorded and logged as it is judged.
TEST_F(rules, packets_beyond_the_bound_are_recorded_with_their_verdict) {
  const auto file = path("traffic.pcapng");
  live_command command(
      on_flow({"log, record \"" + file + "\", delay 60min", "--delay-packets", "1", "-t", "--count", "2"}));
  send("waits");
  send("goes");
  const auto ended = command.end();
  EXPECT_TRUE(has(ended.output, "length 5: accept\n")) << ended.output;
  EXPECT_TRUE(has(ended.output, "length 4: drop\n")) << ended.output;
  EXPECT_EQ(verdicts_of(file), (std::vector{ipq::verdict::action::accept, ipq::verdict::action::drop}));
}

// A queue has room for 1024 packets. Those of the first rules that delay are more.
TEST_F(rules, new_ones_that_delay_get_room_in_the_queue) {
  const auto file = write("rules", "accept\n");
  for (const bool is_bounded : {false, true}) {
    auto words = on_flow({"-f", file});
    if (is_bounded) words.insert(words.end(), {"--max-length", "1024"});
    live_command command(words);
    write("rules", "delay 60min\n");
    command.signal(SIGHUP);
    EXPECT_TRUE(command.notice().starts_with("RELOADING=1"));
    EXPECT_TRUE(command.notice().starts_with("READY=1"));
    // In parts: the receive buffer of an ordinary user holds 443 that are not read yet.
    for (int i = 0; i < 11; ++i) {
      flow4().send_numbered(100, 1);
      std::this_thread::sleep_for(20ms);
    }
    const auto ended = command.interrupt();
    EXPECT_TRUE(has(ended.output, "ipq run: 1 rule loaded\n")) << ended.output;
    EXPECT_TRUE(has(ended.output, is_bounded ? " 0 dropped, 76 lost\n" : " 0 dropped, 0 lost\n")) << ended.output;
    write("rules", "accept\n");
  }
}

// Whoever would read what it says has gone: it loads rules and ends all the same.
TEST_F(rules, reload_with_nobody_to_tell) {
  write("rules", "accept\n");
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe(ends), 0);
  std::optional<kernel_tests::descriptor> reader(std::in_place, ends[0], "pipe");
  const kernel_tests::descriptor writer(ends[1], "pipe");
  ::fcntl(reader->get(), F_SETFD, FD_CLOEXEC);
  live_command command(on_flow({"-f", path("rules")}),
                       {"bash", "-c", "exec \"$@\" 2>&" + std::to_string(writer.get()), "-"});
  reader.reset();
  for (int i = 0; i < 2; ++i) {
    command.signal(SIGHUP);
    EXPECT_TRUE(command.notice().starts_with("RELOADING=1"));
    EXPECT_TRUE(command.notice().starts_with("READY=1"));
  }
  send("judged");
  EXPECT_EQ(flow4().arrived(), "judged");
  EXPECT_EQ(command.interrupt().status, 0);
  EXPECT_EQ(queue_rules(), "");
}

// Workers ask for names at once, and none may open a socket any more.
TEST_F(rules, names_of_interfaces_with_several_workers) {
  live_command command({"run", "-q", "0-1", "--workers", "2", "--select", "output", "udp dport 9000",
                        "count hit : [outdev=lo]", "count miss"});
  std::vector<kernel_tests::udp_socket> senders;
  for (int i = 1; i <= 16; ++i) senders.emplace_back(near_ns(), "127.0.0." + std::to_string(i));
  const kernel_tests::endpoint to("127.0.0.1", 9000);
  for (int round = 0; round < 10'000; ++round) {
    for (const auto& each : senders) {
      static_cast<void>(::sendto(each.fd(), "x", 1, MSG_DONTWAIT, to.address(), to.size()));
    }
  }
  const auto ended = command.interrupt();
  std::smatch hit;
  ASSERT_TRUE(std::regex_search(ended.output, hit, std::regex(" ([0-9]+) +[0-9]+  count hit\n"))) << ended.output;
  EXPECT_GT(std::stoul(hit[1]), 10'000u);
  EXPECT_TRUE(std::regex_search(ended.output, std::regex(" 0 +0  count miss\n"))) << ended.output;
}

TEST_F(rules, seed_makes_loss_the_same) {
  const auto arrived_with = [&](const char* seed) {
    live_command command(on_flow({"accept : udp[8] = 0x79", "loss 50%", "--seed", seed}));
    for (int i = 0; i < 40; ++i) send(std::to_string(i));
    send("y");  // the last to be judged
    std::string arrived, one;
    while ((one = flow4().arrived()) != "y") arrived += one + " ";
    EXPECT_EQ(command.interrupt().status, 0);
    return arrived;
  };
  const std::string first = arrived_with("1");
  EXPECT_GT(first.size(), 10u);
  EXPECT_LT(first.size(), 100u);
  EXPECT_EQ(arrived_with("1"), first);
  EXPECT_NE(arrived_with("2"), first);
}

std::string random_bytes(std::size_t size) {
  std::mt19937 from(7);
  std::string made(size, '\0');
  for (char& each : made) each = static_cast<char>(from());
  return made;
}

// Held where it is sent, TCP would send two packets in that time.
TEST_F(rules, delay_what_comes_to_a_tcp_connection) {
  live_command command({"run", "--select", "input", "tcp sport 5001", "delay 20ms, count held"});
  const std::string sent = random_bytes(4 << 20);
  const kernel_tests::tcp_listener listener(far_ns(), far_address, 5001);
  std::string received;
  std::jthread receiver([&] { received = receive_text(listener); });
  const auto begun = steady::now();
  const auto connection = kernel_tests::tcp_connect(near_ns(), far_address, 5001);
  EXPECT_GE(steady::now() - begun, 20ms);
  send_text(connection.get(), sent);
  receiver.join();
  EXPECT_TRUE(received == sent);
  const auto ended = command.interrupt();
  EXPECT_EQ(ended.status, 0) << ended.output;
  std::smatch held;
  ASSERT_TRUE(std::regex_search(ended.output, held, std::regex(" ([0-9]+) +[0-9]+  count held\n"))) << ended.output;
  EXPECT_GT(std::stoul(held[1]), 10u) << ended.output;
}

// Rules are read again, over and over, while a TCP connection and datagrams go through them: every byte arrives, every
// datagram meets the old rules or the new ones.
TEST_F(rules, reload_under_traffic_loses_and_misjudges_nothing) {
  const std::string one = "count judged, accept : udp port 5000\ncount tcp, accept : tcp\ndrop\n";
  const std::string two = "count tcp : tcp\ncount judged : port 5000\ndrop\n";
  const auto file = write("rules", one);
  live_command command({"run", "-f", file, "--select", "output", "udp dport 5000", "--select", "output",
                        "tcp dport 5001", "--select", "input", "tcp sport 5001", "--max-length", "10000"});
  const std::string sent = random_bytes(4 << 20);
  const kernel_tests::tcp_listener listener(far_ns(), far_address, 5001);
  std::string received;
  std::jthread receiver([&] { received = receive_text(listener); });
  const auto connection = kernel_tests::tcp_connect(near_ns(), far_address, 5001);
  std::jthread sender([&] { send_text(connection.get(), sent); });
  int datagrams = 0, reloads = 0;
  for (; reloads < 30; ++reloads) {
    write("rules", reloads % 2 == 0 ? two : one);
    command.signal(SIGHUP);
    for (int i = 0; i < 10; ++i) send(std::to_string(datagrams++));
    EXPECT_TRUE(command.notice().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    EXPECT_EQ(command.notice(), "READY=1\nSTATUS=rules loaded");
    for (int i = datagrams - 10; i < datagrams; ++i) ASSERT_EQ(flow4().arrived(), std::to_string(i));
  }
  sender.join();
  receiver.join();
  EXPECT_TRUE(received == sent);
  const auto ended = command.interrupt();
  EXPECT_EQ(ended.status, 0);
  EXPECT_TRUE(has(ended.output, " 0 dropped")) << ended.output;
  // The count of a name goes on over reloads.
  EXPECT_TRUE(std::regex_search(ended.output, std::regex(" 300 +[0-9]+  count judged\n"))) << ended.output;
}

TEST_F(rules, wrong_new_rules_leave_the_old_ones) {
  const auto file = write("rules", "drop : udp[8] = 0x78\n");
  live_command command({"run", "-f", file, "--select", "output", "udp dport 5000"});
  const auto reload = [&](std::string_view text) {
    write("rules", text);
    command.signal(SIGHUP);
    EXPECT_TRUE(command.notice().starts_with("RELOADING=1\n"));
    return command.notice();
  };
  constexpr const char* kept = "READY=1\nSTATUS=the new rules are wrong: the old ones stay";
  EXPECT_EQ(reload("accept\ndorp : udp\n"), kept);
  EXPECT_EQ(reload("record elsewhere.pcapng\n"), kept);
  EXPECT_EQ(reload("mark 1, repeat\n"), kept);
  std::filesystem::remove(path("rules"));
  command.signal(SIGHUP);
  EXPECT_TRUE(command.notice().starts_with("RELOADING=1\n"));
  EXPECT_EQ(command.notice(), kept);
  send("x");
  send("y");
  EXPECT_EQ(flow4().arrived(), "y");
  EXPECT_TRUE(flow4().nothing_arrived());
  EXPECT_EQ(reload("drop : udp[8] = 0x79\n"), "READY=1\nSTATUS=rules loaded");
  send("x");
  send("y");
  EXPECT_EQ(flow4().arrived(), "x");
  EXPECT_TRUE(flow4().nothing_arrived());
  const auto ended = command.interrupt();
  EXPECT_EQ(ended.status, 0);
  EXPECT_TRUE(has(ended.output, "rules:2:1: ")) << ended.output;
  EXPECT_TRUE(has(ended.output, "\n  dorp : udp\n  ^\n")) << ended.output;
  EXPECT_TRUE(has(ended.output, "elsewhere.pcapng: was not opened at the start")) << ended.output;
  EXPECT_FALSE(std::filesystem::exists(path("elsewhere.pcapng")));
}

TEST_F(rules, repeated_packets_come_back_once_where_the_match_tests_the_mark) {
  live_command command({"run", "count again, mark 1, repeat", "--select", "output", "udp dport 5000 mark != 1"});
  send("x");
  send("y");
  EXPECT_EQ(flow4().arrived(), "x");
  EXPECT_EQ(flow4().arrived(), "y");
  EXPECT_TRUE(flow4().nothing_arrived());
  const auto ended = command.interrupt();
  EXPECT_EQ(ended.status, 0);
  EXPECT_TRUE(has(ended.output, "           2             58  count again\n")) << ended.output;
}

TEST_F(rules, recordings_have_every_packet_and_verdict) {
  const auto file = path("traffic.pcapng");
  live_command command(on_flow({"record \"" + file + "\", continue", "drop : udp[8] = 0x78", "delay 5ms"}));
  send("x");
  send("y");
  EXPECT_EQ(flow4().arrived(), "y");
  const auto ended = command.interrupt();
  EXPECT_EQ(ended.status, 0) << ended.output;
  EXPECT_TRUE(has(ended.output, "traffic.pcapng: 2 packets recorded, 0 lost\n")) << ended.output;
  EXPECT_EQ(verdicts_of(file), (std::vector{ipq::verdict::action::drop, ipq::verdict::action::accept}));
}

TEST_F(rules, full_disk_ends_no_traffic_and_is_told) {
  const auto file = path("traffic.pcapng");
  live_command command(on_flow({"record \"" + file + "\""}),
                       {"bash", "-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\" 2>\"$0\"", path("said")});
  const auto said = [&] {
    std::ifstream from(path("said"));
    return std::string((std::istreambuf_iterator<char>(from)), {});
  };
  const std::string large(1000, 'x');
  for (int i = 0; i < 30; ++i) {
    send(large);
    EXPECT_EQ(flow4().arrived(), large);
  }
  wait_until("it is told at once", [&] { return has(said(), "(ulimit -f); traffic goes on, and nothing more is "); });
  auto ended = command.interrupt();
  EXPECT_EQ(ended.status, 1);
  ended.output = said();
  EXPECT_TRUE(has(ended.output, "30 received, 30 accepted")) << ended.output;
  const std::regex wanted("ipq run: record " + file +
                          ": write recording, packet [0-9]+ at byte [0-9]+: File too large: write to another place, or "
                          "raise the limit of file sizes \\(ulimit -f\\); [0-9]+ packets are missing");
  EXPECT_TRUE(std::regex_search(ended.output, wanted)) << ended.output;
}

TEST_F(rules, log_that_cannot_be_written_ends_no_traffic_and_is_told) {
  live_command command(on_flow({"log, drop : udp[8] = 0x78", "accept"}),
                       {"bash", "-c", "exec \"$@\" >/dev/full 2>\"$0\"", path("said")});
  const auto said = [&] {
    std::ifstream from(path("said"));
    return std::string((std::istreambuf_iterator<char>(from)), {});
  };
  const std::string failure = "ipq run: write to standard output: No space left on device: make room there, or ";
  send("x");
  wait_until("it is told at once", [&] { return has(said(), failure); });
  EXPECT_TRUE(has(said(), "; traffic goes on, and nothing more is printed\n")) << said();
  for (const char* each : {"x", "y"}) send(each);
  EXPECT_EQ(flow4().arrived(), "y");
  EXPECT_TRUE(flow4().nothing_arrived());
  EXPECT_EQ(command.interrupt().status, 1);
  EXPECT_TRUE(has(said(), "3 received, 1 accepted, 2 dropped")) << said();
  EXPECT_TRUE(has(said(), "write to another place; lines of log are missing there\n")) << said();
}

TEST_F(rules, second_signal_ends_a_recording_that_nobody_reads) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  const kernel_tests::descriptor reader(::open(path("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC), "open");
  live_command command(on_flow({"record \"" + path("fifo") + "\""}));
  const std::string large(1200, 'x');
  for (int i = 0; i < 200; ++i) {
    send(large);
    EXPECT_EQ(flow4().arrived(), large);
  }
  command.signal(SIGTERM);
  EXPECT_EQ(command.notice(), "STOPPING=1");
  // Meanwhile it serves nothing, and so holds no packet up: another may, or the rule lets them pass.
  wait_until("the queue is free", [] { return ipq::queue::open({}).has_value(); });
  wait_until("the rules are gone", [] { return queue_rules().empty(); });
  std::this_thread::sleep_for(600ms);
  command.signal(SIGTERM);
  const auto ended = command.end();
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(has(ended.output, "ipq: ended by a second signal\n")) << ended.output;
}

TEST_F(rules, files_that_cannot_be_written_start_nothing) {
  const auto ended =
      run({command_path(), "run", "record /no_such_folder/x.pcapng", "--select", "output", "tcp dport 1"});
  EXPECT_EQ(ended.status, 1);
  EXPECT_EQ(ended.output,
            "ipq run: rule 1:1:1: record /no_such_folder/x.pcapng: No such file or directory: check the name\n"
            "  record /no_such_folder/x.pcapng\n  ^\n");
  EXPECT_EQ(queue_rules(), "");
  const auto full = run({command_path(), "run", "record /dev/full", "--select", "output", "tcp dport 1"});
  EXPECT_EQ(full.status, 1);
  EXPECT_TRUE(full.output.starts_with(
      "ipq run: rule 1:1:1: record /dev/full: No space left on device: make room there, or write to another place"))
      << full.output;
  wait_until("the rules are gone", [] { return queue_rules().empty(); });
}

// Root gives up the right to open everything before it writes.
TEST_F(rules, recording_that_another_user_owns) {
  const auto file = write("theirs.pcapng", "old");
  // A user namespace may know one user alone, whose file it stays.
  ASSERT_TRUE(::chown(file.c_str(), 65534, 65534) == 0 || errno == EINVAL);
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  live_command command(on_flow({"record \"" + file + "\""}));
  send("x");
  EXPECT_EQ(flow4().arrived(), "x");
  const auto ended = command.interrupt();
  EXPECT_EQ(ended.status, 0) << ended.output;
  EXPECT_EQ(verdicts_of(file), (std::vector{ipq::verdict::action::accept}));
}

TEST_F(rules, recording_into_a_pipe) {
  const auto pipe = path("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const auto alone = run({"timeout", "-s", "KILL", "20", command_path(), "run", "record \"" + pipe + "\"", "-q", "4"});
  EXPECT_EQ(alone.status, 1);
  EXPECT_TRUE(alone.output.starts_with("ipq run: rule 1:1:1: record " + pipe +
                                       ": nobody reads this pipe: start its reader first\n"))
      << alone.output;

  const kernel_tests::descriptor reader{::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC), "open the pipe"};
  live_command command(on_flow({"record \"" + pipe + "\""}));
  send("x");
  EXPECT_EQ(flow4().arrived(), "x");
  const auto ended = command.interrupt();
  EXPECT_EQ(ended.status, 0) << ended.output;
  std::string all(65536, '\0');
  const ssize_t size = ::read(reader.get(), all.data(), all.size());
  ASSERT_GT(size, 0);
  all.resize(static_cast<std::size_t>(size));
  EXPECT_EQ(verdicts_of(write("copy.pcapng", all)), (std::vector{ipq::verdict::action::accept}));
}

// Whatever goes wrong before packets are judged: what was there is as it was, and nothing else is there.
TEST_F(rules, recordings_of_a_start_that_fails) {
  const auto old = path("old.pcapng"), fresh = path("fresh.pcapng"), same = path("./old.pcapng");
  const auto taken = ipq::queue::open({.number = 3});
  ASSERT_TRUE(taken);
  const std::string record_both = "record \"" + old + "\", record \"" + fresh + "\"";
  const struct {
    std::vector<std::string> words;
    int status;
    std::string says;
  } failures[] = {
      {{record_both, "--select", "outside", ""}, 2, "ipq run: --select outside: "},
      {{record_both, "-q", "3"}, 4, "ipq run: bind queue 3: "},
      {{record_both, "-q", "4", "--metrics", "203.0.113.1:9100"}, 1, "ipq run: --metrics 203.0.113.1:9100: "},
      {{record_both, "record \"" + same + "\"", "-q", "4"},
       2,
       "ipq run: rule 2:1:1: record " + same + ": is the same file as " + old},
  };
  for (const auto& [words, status, says] : failures) {
    write("old.pcapng", "old");
    std::vector<std::string> command{command_path(), "run"};
    command.insert(command.end(), words.begin(), words.end());
    const auto ended = run(command);
    EXPECT_EQ(ended.status, status) << ended.output;
    EXPECT_TRUE(ended.output.starts_with(says)) << says << '\n' << ended.output;
    EXPECT_EQ(std::ranges::count(ended.output, '\n'), has(says, "rule 2") ? 3 : 1) << ended.output;
    EXPECT_FALSE(std::filesystem::exists(fresh)) << says;
    EXPECT_EQ(std::filesystem::file_size(old), 3u) << says;
  }
}

TEST_F(rules, mistakes_are_told_with_a_caret_and_start_nothing) {
  const struct {
    std::vector<std::string> words;
    const char* message;
  } mistakes[] = {
      {{"run"}, "ipq run: there are no rules: name a file with -f, or give rules as arguments\n"},
      {{"run", "drop : udp prt 5"}, "ipq run: rule 1:1:12: "},
      {{"run", "accept", "dorp"}, "ipq run: rule 2:1:1: "},
      {{"check", "accept : udp prt 5"}, "\n  accept : udp prt 5\n               ^\n"},
      {{"run", "-f", "/no_such_file"}, "/no_such_file: "},
      {{"check", "-f", "/dev/zero"}, "/dev/zero: "},
      {{"run", "accept", "--seed", "x"}, "--seed: 'x' is no number"},
      {{"run", "accept", "--delay-packets", "0"}, "--delay-packets: 0 is out of range"},
      {{"run", "accept", "--delay-bytes", "1T"}, "--delay-bytes: '1T' is no size"},
      {{"run", "accept", "--delay-full", "keep"}, "--delay-full: 'keep': expected accept or drop"},
      {{"run", "accept", "--duplicate-mark", "0"}, "--duplicate-mark: '0': expected a number from 1 to 0xffffffff"},
      {{"run", "accept", "--else", "no"}, "--else: 'no': expected accept or drop"},
      {{"run", "queue 3", "-q", "2-4"},
       "ipq run: rule 1:1:1: queue 3 is served here, so packets would come back for ever"},
      {{"run", "dorp", "--dry-run"}, "ipq run: rule 1:1:1: "},
      {{"run", "accept : udp", "log, queue 0", "--dry-run"}, "ipq run: rule 2:1:6: queue 0 is served here"},
      {{"run", "mark 1, repeat"},
       "ipq run: rule 1:1:9: --select output 'udp dport 1' would queue the packet again, for ever; let it pass over "
       "what "
       "has the rule's mark, as --select output 'udp dport 1 mark != 1'\n  mark 1, repeat\n          ^\n"},
      {{"run", "mark 1, repeat", "--dry-run"}, "ipq run: rule 1:1:9: --select output 'udp dport 1' would queue"},
      {{"run", "mark 1, repeat", "--select", "input", "", "--select", "output", "mark != 1"},
       "ipq run: rule 1:1:9: --select input '' would queue the packet again, for ever; let it pass over what has the "
       "rule's mark, as --select input 'mark != 1'\n"},
      // Another mark is none that it passes over, nor is that of the connection.
      {{"run", "mark 2, repeat", "--select", "input", "mark != 1"}, "as --select input 'mark != 1 mark != 2'\n"},
      {{"run", "mark 2, repeat", "--select", "input", "ct mark != 2"}, "as --select input 'ct mark != 2 mark != 2'\n"},
      {{"run", "mark 0x10/0xf0, repeat : tcp", "mark 0x20, repeat", "--select", "input", ""},
       "as --select input 'mark & 0xf0 != 0x10 mark != 0x20'\n"},
      {{"run", "accept", "--metrics", "there", "--dry-run"}, "ipq run: --metrics: 'there': expected ADDRESS:PORT"},
      {{"run", "record -"}, "ipq run: rule 1:1:1: standard output is for lines of log here; name a file"},
      {{"run", "log, set ttl 1", "--copy-range", "64"},
       "ipq run: rule 1:1:6: this takes whole packets, and --copy-range cuts them; leave that out\n"},
  };
  for (const auto& [words, message] : mistakes) {
    std::vector<std::string> command{command_path()};
    command.insert(command.end(), words.begin(), words.end());
    if (words[0] == "run") command.insert(command.end(), {"--select", "output", "udp dport 1"});
    const auto ended = run(command);
    EXPECT_EQ(ended.status, 2) << message << '\n' << ended.output;
    EXPECT_TRUE(has(ended.output, message)) << message << '\n' << ended.output;
    EXPECT_EQ(queue_rules(), "");
  }
  EXPECT_EQ(run({command_path(), "check", "drop", "accept : udp"}).output, "2 rules: no fault\n");
  EXPECT_EQ(run({command_path(), "check", "-f", write("rules", "drop\n")}).output, "1 rule: no fault\n");
  EXPECT_EQ(run({command_path(), "check", "drop : [indev=no_such0 outdev=no*]"}).output,
            "ipq check: there is no interface no_such0 now; what tests it waits for one\n1 rule: no fault\n");
}

}  // namespace
}  // namespace tool_tests
