// SPDX-License-Identifier: MIT
// A stream of datagrams from the near namespace to the far one that a rule queues: what most tests look at.
#pragma once

#include <string>
#include <string_view>

#include "traffic.hpp"

namespace kernel_tests {

// Datagrams of one family. Those to `port` meet the rule, those to `open_port` never do.
class flow {
 public:
  static constexpr uint16_t port = 5000, open_port = 5001;

  // The sockets; rule() still has to be called.
  flow(const netns& near, const netns& far, uint32_t protocol);

  // Adds "<table and chain> -p udp --dport 5000 -j <target>" in the namespace of the calling thread.
  const flow& rule(std::string_view table_and_chain = "-A OUTPUT", std::string_view target = "QUEUE") const;
  // The command that sets rules of this family.
  std::string rule_command() const;

  std::string_view near_address() const { return near_address_; }
  std::string_view far_address() const { return far_address_; }
  // Bytes before the payload of a datagram: 28 or 48.
  size_t header_size() const { return protocol_ == ipv4 ? 28 : 48; }

  void send(std::string_view payload) const { here_.send(far_address_, port, payload); }
  // So many datagrams "0", "1", ..., each padded with blanks to a size, from as many sockets as it takes.
  void send_numbered(size_t count, size_t size) const;
  // The other way, against the near namespace's port of the same number.
  void send_back(std::string_view payload) const;
  // Payload of the next datagram that arrives at the far end.
  std::string arrived() const { return there_.receive(); }
  // The same at the near end, for what send_back() sent.
  std::string arrived_back() const { return here_.receive(); }
  // Whether nothing is left to arrive: a datagram that is not queued overtakes nothing, so what comes with it is all.
  bool nothing_arrived() const;
  bool nothing_arrived_back() const;

  const udp_socket& near_socket() const { return here_; }
  const udp_socket& far_socket() const { return there_; }

 private:
  const netns& near_;
  uint32_t protocol_;
  std::string_view near_address_, far_address_;
  udp_socket here_, there_, here_open_, there_open_;
};

// A fixture with a flow of either family; rules are added by the tests.
class flow_test : public network_test {
 protected:
  void SetUp() override;

  const flow& flow4() const { return *flow4_; }
  const flow& flow6() const { return *flow6_; }
  const flow& flow_of(uint32_t protocol) const { return protocol == ipv4 ? *flow4_ : *flow6_; }

 private:
  std::optional<flow> flow4_, flow6_;
};

}  // namespace kernel_tests
