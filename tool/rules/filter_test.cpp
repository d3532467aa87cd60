// SPDX-License-Identifier: MIT
// How address sets and the filter language go together, against what the words mean.
#include "filter.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "temporary_file.hpp"
#include "test_packets.hpp"

namespace ipq::tool::rules {
namespace {

// Sources and destinations inside and outside of the sets, and ports inside and outside of the filters.
struct probe {
  bool a_source, a_destination, b_source;
  std::uint16_t port;
  bool is_tcp;
  std::vector<std::byte> bytes;
};

std::vector<probe> make_probes(bool is_ipv6) {
  std::vector<probe> all;
  for (const int sets : {0, 1, 2, 3, 4, 5, 6, 7}) {
    for (const std::uint16_t port : {std::uint16_t{53}, std::uint16_t{443}, std::uint16_t{9}}) {
      for (const bool is_tcp : {false, true}) {
        probe made{(sets & 1) != 0, (sets & 2) != 0, (sets & 4) != 0, port, is_tcp, {}};
        packet_plan plan;
        std::string source = made.a_source ? (made.b_source ? "1" : "2") : made.b_source ? "3" : "4";
        std::string destination = made.a_destination ? "2" : "4";
        source.insert(0, is_ipv6 ? "2001:db8::" : "192.0.2.");
        destination.insert(0, is_ipv6 ? "2001:db8::" : "192.0.2.");
        plan.source = source;
        plan.destination = destination;
        plan.protocol = is_tcp ? ip_protocol::tcp : ip_protocol::udp;
        plan.destination_port = port;
        made.bytes = make_bytes(plan);
        all.push_back(std::move(made));
      }
    }
  }
  return all;
}

class sets : public testing::Test {
 protected:
  filter make(std::string text) {
    for (const auto& [word, file] : {std::pair("@a", &a_), std::pair("@b", &b_)}) {
      for (std::size_t at = 0; (at = text.find(word, at)) != std::string::npos;) {
        const std::string name = "@" + file->path().filename().string();
        text.replace(at, 2, name);
        at += name.size();
      }
    }
    auto made = filter::compile(source{"filter", text, a_.path().parent_path()});
    if (!made) throw std::runtime_error(render(made.error()));
    return *made;
  }

  template <class Expected>
  void check(const std::string& text, const Expected& expected) {
    const filter made = make(text);
    for (const bool is_ipv6 : {false, true}) {
      for (const probe& each : make_probes(is_ipv6)) {
        EXPECT_EQ(made.matches(make_packet(each.bytes)), expected(each))
            << text << " a_source " << each.a_source << " a_destination " << each.a_destination << " b_source "
            << each.b_source << " port " << each.port << " tcp " << each.is_tcp;
      }
    }
  }

  temporary_file a_{"192.0.2.1\n192.0.2.2\n2001:db8::1-2001:db8::2\n"};
  temporary_file b_{"192.0.2.1\n192.0.2.3\n2001:db8::1\n2001:db8::3\n"};
};

TEST_F(sets, directions) {
  check("src @a", [](const probe& of) { return of.a_source; });
  check("dst @a", [](const probe& of) { return of.a_destination; });
  check("@a", [](const probe& of) { return of.a_source || of.a_destination; });
  check("host @a", [](const probe& of) { return of.a_source || of.a_destination; });
  check("net @a", [](const probe& of) { return of.a_source || of.a_destination; });
  check("src host @a", [](const probe& of) { return of.a_source; });
  check("dst net @a", [](const probe& of) { return of.a_destination; });
  check("src or dst @a", [](const probe& of) { return of.a_source || of.a_destination; });
  check("src and dst @a", [](const probe& of) { return of.a_source && of.a_destination; });
  check("dst and src host @a", [](const probe& of) { return of.a_source && of.a_destination; });
}

TEST_F(sets, joined) {
  check("src @a and tcp", [](const probe& of) { return of.a_source && of.is_tcp; });
  check("tcp && src @a", [](const probe& of) { return of.a_source && of.is_tcp; });
  check("src @a or port 53", [](const probe& of) { return of.a_source || of.port == 53; });
  check("src @a or dst @a or src @b", [](const probe& of) { return of.a_source || of.a_destination || of.b_source; });
  check("src @a and src @b and tcp and port 53",
        [](const probe& of) { return of.a_source && of.b_source && of.is_tcp && of.port == 53; });
  check("tcp and src @a and port 53", [](const probe& of) { return of.is_tcp && of.a_source && of.port == 53; });
}

TEST_F(sets, negated) {
  check("not src @a", [](const probe& of) { return !of.a_source; });
  check("!src @a and not not tcp", [](const probe& of) { return !of.a_source && of.is_tcp; });
  check("not not src @a", [](const probe& of) { return of.a_source; });
  check("not (src @a or tcp)", [](const probe& of) { return !(of.a_source || of.is_tcp); });
  check("not tcp and not @a", [](const probe& of) { return !of.is_tcp && !of.a_source && !of.a_destination; });
}

TEST_F(sets, in_parentheses) {
  check("(src @a or src @b) and (port 53 or 443)",
        [](const probe& of) { return (of.a_source || of.b_source) && (of.port == 53 || of.port == 443); });
  check("tcp and (dst @a or (src @b and not port 53))",
        [](const probe& of) { return of.is_tcp && (of.a_destination || (of.b_source && of.port != 53)); });
  check("((src @a))", [](const probe& of) { return of.a_source; });
  check("(len - 20) * 2 > 0 and src @a", [](const probe& of) { return of.a_source; });
}

// Words that depend on those before them are not torn apart.
TEST_F(sets, runs_stay_whole) {
  check("port 53 or 443 or src @a", [](const probe& of) { return of.port == 53 || of.port == 443 || of.a_source; });
  check("src or dst port 53 or src @a", [](const probe& of) { return of.port == 53 || of.a_source; });
  check("src @a or port 53 or 443", [](const probe& of) { return of.a_source || of.port == 53 || of.port == 443; });
}

TEST_F(sets, quoted_names_and_comments) {
  const temporary_file odd("192.0.2.1\n");
  const auto folder = odd.path().parent_path();
  const auto name = folder / "ipq rules (odd) #1";
  std::filesystem::copy_file(odd.path(), name, std::filesystem::copy_options::overwrite_existing);
  const auto made = filter::compile(source{"filter", "src @\"ipq rules (odd) #1\" # the odd one", folder});
  std::filesystem::remove(name);
  ASSERT_TRUE(made) << render(made.error());
  const auto bytes = make_bytes({});
  EXPECT_TRUE(made->matches(make_packet(bytes)));
}

TEST(filter, alone) {
  const auto made = filter::compile(source{"filter", "[hook=output uid!=0] udp port 53"});
  ASSERT_TRUE(made) << render(made.error());
  EXPECT_TRUE(made->tests_owner());
  const auto bytes = make_bytes({});
  packet which = make_packet(bytes);
  EXPECT_TRUE(made->matches(which));
  which.uid = 0;
  EXPECT_FALSE(made->matches(which));
  const auto all = filter::compile(source{"filter", "  "});
  ASSERT_TRUE(all);
  EXPECT_TRUE(all->matches(which));
  EXPECT_FALSE(all->tests_owner());
}

TEST(filter, faults) {
  using namespace std::string_literals;
  const auto fault = [](const std::string& text) { return render(filter::compile(source{"filter", text}).error()); };
  EXPECT_EQ(fault("udp port"), "filter:1:9: expected the number or name of a port\n  udp port\n          ^\n");
  EXPECT_EQ(fault("udp\nor tcp"), "filter:1:4: expected a filter on one line\n  udp?or tcp\n     ^\n");
  EXPECT_EQ(fault("ud\0p"s), "filter:1:3: a NUL byte: expected text\n  ud?p\n    ^\n");
  EXPECT_EQ(fault(std::string(70'000, 'x')), "filter:1: the filter is longer than 65536 bytes\n");
}

// What libpcap refuses: the place is ours, and so is what would do there.
TEST(filter, faults_of_the_pcap_language) {
  const auto fault = [](const std::string& text) {
    const auto made = filter::compile(source{"", text});
    return made ? std::string("none") : fmt::format("{}: {}", made.error()[0].column, made.error()[0].message);
  };
  const std::string a_test = "expected a test, as in 'udp port 53' or 'host 192.0.2.1'";
  const std::string of_services =
      ": expected a number of 0 to 65535 or a name of /etc/services; ranges stand behind 'portrange'";
  const std::string of_protocols =
      ": expected a number of 0 to 255 or a name of /etc/protocols, the filter's own words behind a '\\'";
  const std::string at_network = ": expected what pcap-filter(7) has for packets that begin at their IP header";
  const std::pair<const char*, std::string> refused[] = {
      {"not", "4: " + a_test},
      {"tcp and", "8: " + a_test},
      {"tcp and and udp", "9: " + a_test + ", not 'and'"},
      {"()", "2: " + a_test + ", not ')'"},
      {"port 80 and [hook=output]", "13: " + a_test + ", not '['"},
      {"host", "5: expected an address"},
      {"ip6 and src net", "16: expected an address"},
      {"ip proto", "9: expected the number or name of a protocol"},
      {"ip proto \\", "10: expected the number or name of a protocol, not '\\'"},
      {"portrange", "10: expected a range of ports, as 6000-6010"},
      {"greater", "8: expected a number"},
      {"src", "4: expected 'host', 'net', 'port', 'portrange', an address, 'and' or 'or'"},
      {"(tcp", "5: expected 'src', 'dst', 'port', 'portrange', '[', 'and', 'or' or ')'"},
      {"tcp)", "4: expected 'src', 'dst', 'port', 'portrange', '[', 'and', 'or' or the filter's end, not ')'"},
      {"tcp port 80 443", "13: expected 'and', 'or' or the filter's end, not '443'"},
      {"tcp port 80,443", "12: expected 'and', 'or' or the filter's end, not ','"},
      {"tcp[13 & 2 != 0", "12: expected ']' or an operator, as '&', not '!='"},
      {"tcp[13] & 2", "12: expected an operator, as '&' or a comparison, as '='"},
      {"tcp[13] >", "10: expected a number"},
      {"tcp[", "5: expected a number"},
      {"udp or type", "12: expected what pcap-filter(7) has here"},
      {"tcp and port http2", "14: unknown port 'http2'" + of_services},
      {"udp port 80-90", "10: unknown port '80-90'" + of_services},
      {"udp and port 65536 or tcp", "14: illegal port number 65536 > 65535: expected a number of 0 to 65535"},
      {"ip proto no-such", "10: unknown ip proto 'no-such'" + of_protocols},
      {"tcp or host 300.1.1.1",
       "13: invalid IPv4 address '300.1.1.1': expected up to four numbers of 0 to 255 with points between them"},
      {"ip6 host 192.0.2.1", "10: 'ip6' modifier applied to ip host: expected an IPv6 address"},
      {"net 192.0.2.0/33", "15: mask length must be <= 32"},
      {"net 192.0.2.1/24",
       "15: non-network bits set in \"192.0.2.1/24\": expected zeros behind the bits of the network"},
      {"ip[0:3] = 1", "4: data size must be 1, 2, or 4"},
      {"tcpp", "1: " + a_test + ", not 'tcpp'"},
      {"tcp AND udp", "5: expected 'src', 'dst', 'port', 'portrange', '[', 'and', 'or' or the filter's end, not 'AND'"},
      {"tcp[tcpflags] = tcp-sin", "17: expected a number, not 'tcp-sin'"},
      {"len > 10k", "7: expected a number, not '10k'"},
      {"udp and and foo", "9: " + a_test + ", not 'and'"},
      {"src foo",
       "5: expected 'host', 'net', 'port', 'portrange', an address, 'and' or 'or', not 'foo': names of hosts are not "
       "looked up"},
      {"ip6 src", "8: expected 'host', 'net', an address, 'and' or 'or'"},
      {"port 99999 and host foo", "6: illegal port number 99999 > 65535: expected a number of 0 to 65535"},
      {"gateway foo", "9: expected what pcap-filter(7) has here, not 'foo': names of hosts are not looked up"},
      {"net 192.0.2.0/", "15: expected a number"},
      {"net 192.0.2.0 mask", "19: expected a mask, as 255.255.255.0"},
      {"icmp port 5", "6: illegal qualifier of 'port': expected 'tcp', 'udp', 'sctp' or no protocol before it"},
      {"tcp src host 192.0.2.1", "9: 'tcp' modifier applied to host: expected 'ip', 'ip6' or no protocol before it"},
      {"tcp proto 6", "5: 'tcp proto' is bogus: expected 'ip', 'ip6' or no protocol before it"},
      {"port 22.5", "6: 'port' modifier applied to ip host: expected the number or name of a port"},
      {"portrange 5-x", "11: unknown port in range '5-x': expected a range of ports, as 6000-6010"},
      {"host 192.0.2.0/24", "16: Mask syntax for networks only: expected 'net' before it, or no mask"},
      {"port 080", "6: number 080 contains non-octal digit: expected a number that does not begin with 0"},
      {"port 99999999999", "6: number 99999999999 overflows 32 bits: expected a number of 0 to 4294967295"},
      {"len / 0 = 1", "7: division by zero: expected another number"},
      {"len >> 40 = 1", "8: shift by more than 31 bits: expected a number of 0 to 31"},
      {"gateway 192.0.2.1",
       "1: 'gateway' requires a name: expected 'host' and an address: names of hosts are not looked up"},
      {"ip host 2001:db8::1", "9: 'ip' modifier applied to ip6 host: expected an IPv4 address"},
      {"tcp and vlan", "9: no VLAN support for Raw IP" + at_network},
      {"tcp or inbound",
       "8: this asks for what only a capturing device knows: expected a test as [hook=...] or [indev=...]"},
      {"udp and tcp", "1: expression rejects all packets: expected a test that a packet can pass"},
  };
  for (const auto& [text, wanted] : refused) EXPECT_EQ(fault(text), wanted) << text;
  EXPECT_EQ(fault("udp port 53 " + std::string(50, 'x')),
            "13: expected 'and', 'or' or the filter's end, not '" + std::string(40, 'x') + "...'");
  // As long as a filter may be: found by halves.
  std::string ports = "port 1";
  for (int each = 0; each < 100; ++each) ports += " or 22";
  EXPECT_EQ(fault(ports + " 23"),
            "608: expected an operator, as '&', a comparison, as '=', 'and', 'or' or the filter's end, not '23'");
  // What libpcap takes long for is not asked again and again.
  EXPECT_EQ(fault("len " + std::string(8180, '-') + "1"),
            "1: can't parse filter expression: syntax error" + at_network);
}

// libpcap's len is the length of the packet, not of what was copied of it.
TEST(filter, length_of_a_truncated_packet) {
  const auto made = filter::compile(source{"filter", "greater 1000"});
  const auto bytes = make_bytes({});
  packet which = make_packet(bytes);
  EXPECT_FALSE(made->matches(which));
  which.original_length = 1000;
  which.truncated = true;
  EXPECT_TRUE(made->matches(which));
}

TEST(filter, names_of_ports_and_protocols_are_no_host_names) {
  for (const char* text :
       {"port domain", "tcp port http or https", "ip proto \\tcp", "ip proto \\tcp or \\udp",
        "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "ip6 host 2001:db8::1", "net 10", "net 192.0.2",
        "net 10.0.0.0 mask 255.0.0.0", "portrange 1-5", "tcp[0:2] = 0x16", "len - 20 > 5",
        "icmp6[icmp6type] = icmp6-echo", "src or dst port 53", "not host ::1", "port (80 or domain) or http",
        "host ::1 and (port 80 or domain)", "port 80 or (host ::1) or domain"}) {
    const auto made = filter::compile(source{"filter", text});
    EXPECT_TRUE(made) << text << "\n" << (made ? "" : render(made.error()));
  }
  for (const char* text : {"host localhost", "localhost", "net loopback", "src a or b", "gateway gw", "host 1.2.3.4.5",
                           "dead.beef", "port 53 or host x", "len-20 > 5", "0xzz", "tcp and foo", "host \\ip",
                           "(port 80) and foo", "(host ::1 or port 80) and foo", "host ::1 or (port 80) and not foo"}) {
    const auto made = filter::compile(source{"filter", text});
    ASSERT_FALSE(made) << text;
    EXPECT_EQ(made.error()[0].message.find("expected "), 0u) << text;
  }
}

}  // namespace
}  // namespace ipq::tool::rules
