// SPDX-License-Identifier: MIT
#include "metrics.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <prometheus/client_metric.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "ipq/address.hpp"
#include "printable.hpp"
#include "rules/file.hpp"
#include "values.hpp"

// Of civetweb, which is prometheus-cpp's HTTP server. Weak, since a build of that may keep it to itself.
extern "C" [[gnu::weak]] unsigned mg_check_feature(unsigned feature);

namespace tool {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using labels = std::vector<ClientMetric::Label>;

class family {
 public:
  family(MetricType type, std::string name, std::string help) {
    made_.type = type;
    made_.name = std::move(name);
    made_.help = std::move(help);
  }
  family& add(std::uint64_t value, labels with = {}) {
    ClientMetric metric;
    metric.label = std::move(with);
    (made_.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = static_cast<double>(value);
    made_.metric.push_back(std::move(metric));
    return *this;
  }
  [[nodiscard]] MetricFamily take() { return std::move(made_); }

 private:
  MetricFamily made_;
};

MetricFamily latency_of(const latency_histogram& from) {
  MetricFamily made;
  made.name = "ipq_verdict_latency_seconds";
  made.help = "Time from the receipt of a packet to its verdict.";
  made.type = MetricType::Histogram;
  ClientMetric metric;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < from.counts.size(); ++i) {
    sum += from.counts[i];
    const double bound = i < latency_histogram::bounds.size() ? latency_histogram::bounds[i] / 1e6
                                                              : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back({.cumulative_count = sum, .upper_bound = bound});
  }
  metric.histogram.sample_count = sum;
  metric.histogram.sample_sum = static_cast<double>(from.microseconds) / 1e6;
  made.metric.push_back(std::move(metric));
  return made;
}

void add_rules(std::vector<MetricFamily>& to, const rules::totals& rules) {
  family packets(MetricType::Counter, "ipq_rule_packets_total", "Packets that matched a rule."),
      bytes(MetricType::Counter, "ipq_rule_bytes_total", "Bytes of packets that matched a rule."),
      lost(MetricType::Counter, "ipq_rule_lost_total", "Packets dropped by loss and rate."),
      not_applied(MetricType::Counter, "ipq_rule_not_applied_total", "Packets that a rule could not change.");
  const auto add = [&](const rules::rule_counts& counts, const labels& with) {
    packets.add(counts.packets, with);
    bytes.add(counts.bytes, with);
    lost.add(counts.lost, with);
    not_applied.add(counts.not_applied, with);
  };
  for (std::size_t i = 0; i < rules.each.size(); ++i) {
    add(rules.each[i], {{"rule", std::to_string(i + 1)}, {"text", escaped(rules.rules[i].text.substr(0, 200))}});
  }
  add(rules.unmatched, {{"rule", "none"}, {"text", ""}});
  for (family* each : {&packets, &bytes, &lost, &not_applied}) to.push_back(each->take());

  family named_packets(MetricType::Counter, "ipq_count_packets_total", "Packets that a rule with count NAME matched."),
      named_bytes(MetricType::Counter, "ipq_count_bytes_total", "Bytes of those.");
  for (std::size_t i = 0; i < rules.names.size(); ++i) {
    const labels with{{"name", escaped(rules.rules.count_names()[i])}};
    named_packets.add(rules.names[i].packets, with);
    named_bytes.add(rules.names[i].bytes, with);
  }
  to.push_back(named_packets.take());
  to.push_back(named_bytes.take());
}

void add_queues(std::vector<MetricFamily>& to, const std::vector<live_session::kernel_counts>& queues) {
  family waiting(MetricType::Gauge, "ipq_queue_waiting_packets", "Packets that wait for a verdict."),
      lost(MetricType::Counter, "ipq_queue_lost_total", "Packets that the kernel dropped before anybody saw them.");
  if (queues.empty()) return;
  for (const auto& each : queues) {
    const std::string number = std::to_string(each.number);
    waiting.add(each.counts.waiting, {{"queue", number}});
    lost.add(each.counts.lost_queue_full, {{"queue", number}, {"cause", "queue_full"}});
    lost.add(each.counts.lost_no_buffer, {{"queue", number}, {"cause", "no_buffer"}});
  }
  to.push_back(waiting.take());
  to.push_back(lost.take());
}

class collector final : public prometheus::Collectable {
 public:
  explicit collector(std::function<metrics_snapshot()> look) : look_(std::move(look)) {}

  [[nodiscard]] std::vector<MetricFamily> Collect() const override {
    const metrics_snapshot now = look_();
    const rule_counters& counters = now.counters;
    std::vector<MetricFamily> made;
    made.push_back(family(MetricType::Counter, "ipq_packets_received_total", "Packets handed to the rules.")
                       .add(counters.received)
                       .take());
    family verdicts(MetricType::Counter, "ipq_verdicts_total", "Verdicts given.");
    constexpr const char* names[] = {"drop", "accept", nullptr, "queue", "repeat", "stop"};
    for (std::size_t i = 0; i < std::size(names); ++i) {
      if (names[i] != nullptr) verdicts.add(counters.verdicts[i], {{"verdict", names[i]}});
    }
    made.push_back(verdicts.take());
    made.push_back(family(MetricType::Gauge, "ipq_delayed_packets", "Packets that wait for their time.")
                       .add(counters.delayed)
                       .take());
    made.push_back(
        family(MetricType::Gauge, "ipq_delayed_bytes", "Bytes of those.").add(counters.delayed_bytes).take());
    made.push_back(family(MetricType::Counter, "ipq_delay_refused_total",
                          "Packets to be delayed that exceeded --delay-packets or --delay-bytes.")
                       .add(counters.delay_refused)
                       .take());
    made.push_back(family(MetricType::Counter, "ipq_duplicates_total", "Copies of packets.")
                       .add(counters.duplicates, {{"result", "sent"}})
                       .add(counters.duplicates_failed, {{"result", "failed"}})
                       .take());
    made.push_back(family(MetricType::Counter, "ipq_reloads_total", "Reloads of the rules by SIGHUP.")
                       .add(now.reloads, {{"result", "done"}})
                       .add(now.reloads_failed, {{"result", "failed"}})
                       .take());
    made.push_back(latency_of(counters.latency));
    add_rules(made, now.rules);
    family record_counts(MetricType::Counter, "ipq_recorded_packets_total", "Packets of record FILE.");
    for (const auto& [file, counts] : now.recorded) {
      record_counts.add(counts.recorded, {{"file", escaped(file)}, {"result", "recorded"}});
      record_counts.add(counts.lost, {{"file", escaped(file)}, {"result", "lost"}});
    }
    if (!now.recorded.empty()) made.push_back(record_counts.take());
    add_queues(made, now.queues);
    return made;
  }

 private:
  std::function<metrics_snapshot()> look_;
};

std::optional<std::pair<std::string_view, std::string_view>> split_address(std::string_view text) noexcept {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  return std::pair(text.substr(0, colon), text.substr(colon + 1));
}

std::unexpected<failure> refused(std::string_view address) {
  return fail(failed, fmt::format("--metrics {}: can't be listened on: the address is not of this machine, the port is "
                                  "taken, or below 1024",
                                  address));
}

// The right to listen on those below is given up before the server starts.
unsigned first_free_port() {
  std::ifstream file("/proc/sys/net/ipv4/ip_unprivileged_port_start");
  unsigned port = 0;
  return file >> port ? port : 1024;
}

// Where nobody can be asked it has to be tried.
bool server_knows_ipv6() noexcept {
  constexpr unsigned ipv6 = 8;  // MG_FEATURES_IPV6
  return mg_check_feature == nullptr || mg_check_feature(ipv6) != 0;
}

}  // namespace

outcome<void> check_metrics_address(std::string_view text) {
  const bool knows_ipv6 = server_knows_ipv6();
  const auto parts = split_address(text);
  const std::string_view host = parts ? parts->first : "";
  const bool has_port = parts && parse_number(parts->second, 1, 65535);
  const bool is_ipv6 = host.starts_with('[') && host.ends_with(']') &&
                       ipq::ipv6_address::parse(host.substr(1, host.size() - 2)).has_value();
  if (!has_port || (!is_ipv6 && !ipq::ipv4_address::parse(host))) {
    return fail(wrong_usage, fmt::format("--metrics: '{}': expected ADDRESS:PORT, as 127.0.0.1:9100{}", printable(text),
                                         knows_ipv6 ? " or [::1]:9100" : ""));
  }
  if (is_ipv6 && !knows_ipv6) {
    return fail(wrong_usage,
                fmt::format("--metrics {}: the HTTP server here, civetweb, was built without IPv6: name an IPv4 "
                            "address, as 127.0.0.1:{}",
                            text, parts->second));
  }
  return {};
}

outcome<void> try_metrics_address(std::string_view text) {
  const auto parts = split_address(text);
  const std::string port(parts ? parts->second : "");
  std::string host(parts ? parts->first : "");
  std::erase_if(host, [](char each) { return each == '[' || each == ']'; });
  if (!parse_number(port, first_free_port(), 65535)) return refused(text);
  addrinfo numbers{}, *address = nullptr;
  numbers.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  numbers.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(host.c_str(), port.c_str(), &numbers, &address) != 0) return refused(text);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(address, ::freeaddrinfo);
  const int fd = ::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(failed, fmt::format("--metrics {}: {}", text, rules::file_reason(errno)));
  // As the server does: what is left of connections to one that has ended is in nobody's way, nor is IPv4.
  const int yes = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (address->ai_family == AF_INET6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
  const bool is_free = ::bind(fd, address->ai_addr, address->ai_addrlen) == 0;
  ::close(fd);
  if (!is_free) return refused(text);
  return {};
}

struct metrics_server::parts {
  std::shared_ptr<collector> source;
  std::optional<prometheus::Exposer> exposer;
};

metrics_server::metrics_server(std::unique_ptr<parts> made) noexcept : parts_(std::move(made)) {}
metrics_server::metrics_server(metrics_server&&) noexcept = default;
metrics_server::~metrics_server() = default;

outcome<metrics_server> metrics_server::open(const std::string& address, std::function<metrics_snapshot()> look) {
  if (auto checked = check_metrics_address(address); !checked) return std::unexpected(checked.error());
  auto made = std::make_unique<parts>();
  made->source = std::make_shared<collector>(std::move(look));
  try {
    // Who connects and sends nothing holds a thread up: one of several, and for 2 seconds instead of 30.
    made->exposer.emplace(
        std::vector<std::string>{"listening_ports", address, "num_threads", "8", "request_timeout_ms", "2000"});
  } catch (const std::exception&) {
    // Its own message names options of the HTTP server and nothing else.
    return refused(address);
  }
  made->exposer->RegisterCollectable(made->source, "/metrics");
  return metrics_server(std::move(made));
}

}  // namespace tool
