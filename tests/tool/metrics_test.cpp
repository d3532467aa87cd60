// SPDX-License-Identifier: MIT
// ipq run --metrics: what Prometheus reads there, and when it is answered.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "ipq_command.hpp"
#include "kernel/flow.hpp"
#include "kernel/process.hpp"
#include "live_command.hpp"

namespace tool_tests {
namespace {

using kernel_tests::run;
using kernel_tests::wait_until;

class metrics : public kernel_tests::flow_test {
 protected:
  metrics() {
    char name[] = "/tmp/ipq_metrics_XXXXXX";
    if (mkdtemp(name) == nullptr) throw std::runtime_error("no folder for recordings");
    folder_ = name;
  }
  ~metrics() override { std::filesystem::remove_all(folder_); }

  static std::vector<std::string> on_flow(std::vector<std::string> words) {
    words.insert(words.begin(), {"run", "--select", "output", "udp dport 5000"});
    return words;
  }
  void send(const std::string& payload) const { flow4().send(payload); }
  [[nodiscard]] std::string path(const char* name) const { return folder_ / name; }

 private:
  std::filesystem::path folder_;
};

std::string scrape(const kernel_tests::netns& where, std::string_view address) {
  const auto connection = kernel_tests::tcp_connect(where, address, 9100);
  const timeval most{.tv_sec = kernel_tests::patience.count(), .tv_usec = 0};
  ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
  constexpr std::string_view request = "GET /metrics HTTP/1.0\r\n\r\n";
  if (::write(connection.get(), request.data(), request.size()) < 0) return "";
  std::string text, part(4096, '\0');
  for (ssize_t size; (size = ::read(connection.get(), part.data(), part.size())) > 0;)
    text.append(part, 0, static_cast<std::size_t>(size));
  return text;
}

TEST_F(metrics, for_prometheus) {
  live_command command(on_flow({"count named, continue : udp", "drop : udp[8] = 0x78", "delay 20ms : udp[8] = 0x64",
                                "--metrics", "127.0.0.1:9100"}));
  send("x");
  send("delayed");
  send("y");
  EXPECT_EQ(flow4().arrived(), "y");
  EXPECT_EQ(flow4().arrived(), "delayed");
  std::string text;
  wait_until("the counters tell it", [&] {
    text = scrape(near_ns(), "127.0.0.1");
    return has(text, "ipq_verdicts_total{verdict=\"accept\"} 2");
  });
  for (const char* line :
       {"HTTP/1.1 200 OK", "ipq_packets_received_total 3\n", "ipq_verdicts_total{verdict=\"drop\"} 1\n",
        "ipq_rule_packets_total{rule=\"2\",text=\"drop : udp[8] = 0x78\"} 1\n",
        "ipq_rule_packets_total{rule=\"none\",text=\"\"} 1\n", "ipq_count_packets_total{name=\"named\"} 3\n",
        "ipq_delayed_packets 0\n", "ipq_delay_refused_total 0\n", "ipq_verdict_latency_seconds_count 3\n",
        "ipq_verdict_latency_seconds_bucket{le=\"+Inf\"} 3\n", "ipq_reloads_total{result=\"failed\"} 0\n"}) {
    EXPECT_TRUE(has(text, line)) << line << '\n' << text;
  }
  EXPECT_FALSE(has(text, "ipq_verdict_latency_seconds_bucket{le=\"0.01\"} 3\n")) << "one of them took 20 ms";
  if (kernel_tests::queue_counters_are_shown()) {
    EXPECT_TRUE(has(text, "ipq_queue_waiting_packets{queue=\"0\"} 0\n")) << text;
    EXPECT_TRUE(has(text, "ipq_queue_lost_total{queue=\"0\",cause=\"queue_full\"} 0\n")) << text;
  }
  // Also the threads of the server have few rights.
  for (const auto& each : std::filesystem::directory_iterator("/proc/" + std::to_string(command.pid()) + "/task")) {
    std::ifstream file(each.path() / "status");
    const std::string status((std::istreambuf_iterator<char>(file)), {});
    EXPECT_TRUE(has(status, "CapEff:\t0000000000001000\n") && has(status, "Seccomp:\t2\n")) << status;
  }
  EXPECT_EQ(command.interrupt().status, 0);
}

TEST_F(metrics, tell_all_recordings_apart) {
  const auto record = [&](const std::string& name) {
    return "record \"" + path((name + ".pcapng").c_str()) + "\", continue";
  };
  const std::string stem(210, 'a');
  live_command command(on_flow(
      {record("\xc3\xa9"), record("\xc3\xa8"), record(stem + "1"), record(stem + "2"), "--metrics", "127.0.0.1:9100"}));
  send("x");
  EXPECT_EQ(flow4().arrived(), "x");
  const auto text = scrape(near_ns(), "127.0.0.1");
  for (const auto& name : {std::string("\\\\xc3\\\\xa9"), std::string("\\\\xc3\\\\xa8"), stem + "1", stem + "2"}) {
    EXPECT_TRUE(has(text, "/" + name + ".pcapng\",result=\"lost\"} 0\n")) << text;
  }
  EXPECT_EQ(command.interrupt().status, 0);
}

TEST_F(metrics, address_is_checked) {
  for (const char* wrong : {"9100", "localhost:9100", "127.0.0.1:0", "127.0.0.1:70000", "[::1]", "::1:9100"}) {
    const auto ended = run({command_path(), "run", "drop", "--metrics", wrong});
    EXPECT_EQ(ended.status, 2) << ended.output;
    EXPECT_TRUE(has(ended.output, "expected ADDRESS:PORT, as 127.0.0.1:9100")) << ended.output;
  }
  const auto elsewhere =
      run({command_path(), "run", "drop", "--metrics", "203.0.113.1:9100", "--select", "output", "tcp dport 1"});
  EXPECT_EQ(elsewhere.status, 1) << elsewhere.output;
  EXPECT_TRUE(has(elsewhere.output, "ipq run: --metrics 203.0.113.1:9100: can't be listened on")) << elsewhere.output;
  EXPECT_EQ(queue_rules(), "");
}

// Rules that are installed for nothing take packets until they are gone again.
TEST_F(metrics, address_that_is_not_to_be_had_is_found_before_a_rule_is_installed) {
  // Stands in for iptables and tells that it was called. Where nft installs, the exit status alone tells.
  const std::string name = "iptables-legacy-restore";
  std::ofstream(path(name.c_str())) << "#!/bin/sh\necho called >>" << path("calls") << "\nPATH=${PATH#*:}\nexec "
                                    << name << " \"$@\"\n";
  std::filesystem::permissions(path(name.c_str()), std::filesystem::perms::owner_all);
  const std::string where = "PATH=" + path("") + ":" + std::getenv("PATH");
  const auto words = [](const std::string& port, const std::string& queue) {
    return on_flow({"accept", "-q", queue, "--metrics", "127.0.0.1:" + port});
  };
  live_command first(words("9100", "0"));
  // The second port is free, but the right to it is given up.
  for (const char* port : {"9100", "91"}) {
    std::vector<std::string> second = words(port, "1");
    second.insert(second.begin(), {"env", where, command_path()});
    const auto ended = run(second);
    EXPECT_EQ(ended.status, 1) << ended.output;
    EXPECT_EQ(ended.output, std::string("ipq run: --metrics 127.0.0.1:") + port +
                                ": can't be listened on: the address is not of this machine, the port is taken, or "
                                "below 1024\n");
    EXPECT_FALSE(std::filesystem::exists(path("calls"))) << "rules were installed for port " << port;
  }
  EXPECT_EQ(first.interrupt().status, 0);
  live_command third(words("9100", "0"), {"env", where});  // it would have been seen, and the port is free again
  EXPECT_EQ(std::filesystem::exists(path("calls")), has(queue_rules(), "NFQUEUE"));
  EXPECT_EQ(third.interrupt().status, 0);
}

// Of the HTTP server there are builds without it, and no other address is served by such a one.
TEST_F(metrics, on_an_ipv6_address) {
  const std::vector<std::string> words{"accept", "--metrics", "[::1]:9100"};
  std::vector<std::string> tried{command_path(), "run", "--dry-run", "--select", "output", "tcp dport 1"};
  tried.insert(tried.end(), words.begin(), words.end());
  const auto checked = run(tried);
  if (checked.status == 0) {
    live_command command(on_flow(words));
    EXPECT_TRUE(has(scrape(near_ns(), "::1"), "HTTP/1.1 200 OK"));
    EXPECT_EQ(command.interrupt().status, 0);
    return;
  }
  std::erase(tried, "--dry-run");
  for (const auto& ended : {checked, run(tried)}) {
    EXPECT_EQ(ended.status, 2);
    EXPECT_EQ(ended.output,
              "ipq run: --metrics [::1]:9100: the HTTP server here, civetweb, was built without IPv6: name an IPv4 "
              "address, as 127.0.0.1:9100\n");
  }
}

// More of them than the server has threads.
TEST_F(metrics, are_told_beside_connections_that_ask_for_nothing) {
  live_command command(on_flow({"accept", "--metrics", "127.0.0.1:9100"}));
  std::vector<kernel_tests::descriptor> idle;
  for (int i = 0; i < 12; ++i) idle.push_back(kernel_tests::tcp_connect(near_ns(), "127.0.0.1", 9100));
  EXPECT_TRUE(has(scrape(near_ns(), "127.0.0.1"), "HTTP/1.1 200 OK"));
  // Nor do they hold the end up.
  idle.clear();
  for (int i = 0; i < 12; ++i) idle.push_back(kernel_tests::tcp_connect(near_ns(), "127.0.0.1", 9100));
  EXPECT_EQ(command.interrupt().status, 0);
}

}  // namespace
}  // namespace tool_tests
