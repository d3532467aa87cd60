// SPDX-License-Identifier: MIT
// What the language takes and what it refuses, each fault with its whole text.
#include "ruleset.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "temporary_file.hpp"

namespace ipq::tool::rules {
namespace {

std::string faults_of(const std::string& text) {
  const auto made = ruleset::compile(source{"rules", text});
  return made ? "" : render(made.error());
}

struct refused {
  const char* text;
  const char* fault;

  friend void PrintTo(const refused& what, std::ostream* to) { *to << what.text; }
};

class refusal : public testing::TestWithParam<refused> {};

TEST_P(refusal, says_where_and_what_was_expected) {
  EXPECT_EQ(faults_of(GetParam().text), GetParam().fault);
}

#define ACTIONS                                                                                                    \
  "an action: accept, drop, repeat, queue, continue, mark, connmark, priority, log, count, record, set, replace, " \
  "delay, loss, duplicate, corrupt, reorder or rate"

INSTANTIATE_TEST_SUITE_P(
    actions, refusal,
    testing::Values(
        refused{"dorp : udp", "rules:1:1: expected " ACTIONS ", not 'dorp'\n  dorp : udp\n  ^\n"},
        refused{"accept,", "rules:1:8: expected " ACTIONS "\n  accept,\n         ^\n"},
        refused{": udp", "rules:1:1: expected " ACTIONS ", not ':'\n  : udp\n  ^\n"},
        refused{"accept drop",
                "rules:1:8: expected ',' and another action, or ':' and a filter, not 'drop'\n"
                "  accept drop\n         ^\n"},
        refused{"accept, drop",
                "rules:1:9: a line ends in one way, and this one has 'accept' already\n"
                "  accept, drop\n          ^\n"},
        refused{"accept :",
                "rules:1:9: expected a filter; a line for all packets has no ':'\n  accept :\n          ^\n"},
        refused{"accept : # all",
                "rules:1:10: expected a filter; a line for all packets has no ':'\n"
                "  accept : # all\n           ^\n"},
        refused{"repeat",
                "rules:1:1: repeat brings the packet back for ever unless the line also has a mark for the "
                "rule that queues it: expected 'mark N, repeat'\n  repeat\n  ^\n"},
        refused{"queue 65536", "rules:1:7: expected a number of 0 to 65535, not '65536'\n  queue 65536\n        ^\n"},
        refused{"queue -1", "rules:1:7: expected a number of 0 to 65535, not '-1'\n  queue -1\n        ^\n"},
        refused{"mark 0x",
                "rules:1:6: expected a number of 0 to 4294967295 (0xffffffff), not '0x'\n"
                "  mark 0x\n       ^\n"},
        refused{"mark 5/1", "rules:1:6: the mark has bits outside of its mask\n  mark 5/1\n       ^\n"},
        refused{"mark", "rules:1:5: expected a number of 0 to 4294967295 (0xffffffff)\n  mark\n      ^\n"},
        refused{"connmark 5/1", "rules:1:10: the mark has bits outside of its mask\n  connmark 5/1\n           ^\n"},
        refused{"count : udp",
                "rules:1:7: expected a name to count under: letters, digits, '_' and '-', not ':'\n"
                "  count : udp\n        ^\n"},
        refused{"record", "rules:1:7: expected the name of a file\n  record\n        ^\n"},
        refused{"record \"a\\x00b\"",
                "rules:1:8: the name of a file can't hold a NUL byte\n"
                "  record \"a\\x00b\"\n         ^\n"},
        refused{"log \"abc",
                "rules:1:5: this string is not closed: expected a '\"' before the end of the line\n"
                "  log \"abc\n      ^\n"},
        refused{"log \"a\\q\"",
                "rules:1:7: expected one of the escapes \\\\ \\\" \\n \\r \\t \\xNN\n"
                "  log \"a\\q\"\n        ^\n"},
        refused{"log \"a\\",
                "rules:1:7: expected one of the escapes \\\\ \\\" \\n \\r \\t \\xNN\n"
                "  log \"a\\\n        ^\n"},
        refused{"log \"\\x0g\"",
                "rules:1:6: expected two hexadecimal digits behind \\x, as in \\x0a\n"
                "  log \"\\x0g\"\n       ^\n"}));

INSTANTIATE_TEST_SUITE_P(
    changes, refusal,
    testing::Values(
        refused{"set", "rules:1:4: expected what to set: src, dst, sport, dport, ttl or dscp\n  set\n     ^\n"},
        refused{"set tos 5",
                "rules:1:5: expected what to set: src, dst, sport, dport, ttl or dscp, not 'tos'\n"
                "  set tos 5\n      ^\n"},
        refused{"set dst localhost",
                "rules:1:9: expected an address, as 192.0.2.1 or 2001:db8::1, not 'localhost'\n"
                "  set dst localhost\n          ^\n"},
        refused{"set src ::1: tcp",
                "rules:1:9: expected an address, and white space before the ':'\n"
                "  set src ::1: tcp\n          ^\n"},
        refused{"set ttl 256", "rules:1:9: expected a number of 0 to 255, not '256'\n  set ttl 256\n          ^\n"},
        refused{"set dscp 64", "rules:1:10: expected a number of 0 to 63, not '64'\n  set dscp 64\n           ^\n"},
        refused{"set dport http",
                "rules:1:11: expected a number of 0 to 65535, not 'http'\n"
                "  set dport http\n            ^\n"},
        refused{"replace abc",
                "rules:1:9: expected a string in double quotes, not 'abc'\n  replace abc\n          ^\n"},
        refused{"replace \"\" with \"\"",
                "rules:1:9: expected at least one byte to replace\n"
                "  replace \"\" with \"\"\n          ^\n"},
        refused{"replace \"a\" by \"b\"",
                "rules:1:13: expected 'with' and the bytes to put in their place, not 'by'\n"
                "  replace \"a\" by \"b\"\n              ^\n"},
        refused{"replace \"a\" with \"bc\"",
                "rules:1:18: expected as many bytes as are replaced: 1, not 2\n"
                "  replace \"a\" with \"bc\"\n                   ^\n"}));

INSTANTIATE_TEST_SUITE_P(
    units, refusal,
    testing::Values(
        refused{"delay", "rules:1:6: expected a time, as 50ms or 1.5s\n  delay\n       ^\n"},
        refused{"delay 50 : tcp",
                "rules:1:10: expected a unit of time: us, ms, s or min\n"
                "  delay 50 : tcp\n           ^\n"},
        refused{"delay 5 hours",
                "rules:1:9: expected a unit of time: us, ms, s or min, not 'hours'\n"
                "  delay 5 hours\n          ^\n"},
        refused{"delay 1.5.2s",
                "rules:1:10: expected a unit of time: us, ms, s or min\n"
                "  delay 1.5.2s\n           ^\n"},
        refused{"delay 1.s", "rules:1:7: expected a time, as 50ms or 1.5s, not '1.s'\n  delay 1.s\n        ^\n"},
        refused{"delay 61min", "rules:1:7: a time may be at most 60min\n  delay 61min\n        ^\n"},
        refused{"delay 99999999999999999999s",
                "rules:1:7: the number is too large\n"
                "  delay 99999999999999999999s\n        ^\n"},
        refused{"delay 1.0123456789s",
                "rules:1:7: at most 9 digits may stand behind the point\n"
                "  delay 1.0123456789s\n        ^\n"},
        refused{"delay 5ms jitter",
                "rules:1:17: expected a time, as 50ms or 1.5s\n"
                "  delay 5ms jitter\n                  ^\n"},
        refused{"loss 5", "rules:1:7: expected '%' behind the percentage\n  loss 5\n        ^\n"},
        refused{"loss 100.1%", "rules:1:6: a percentage may be at most 100%\n  loss 100.1%\n       ^\n"},
        refused{"loss 0.1234567%",
                "rules:1:6: a percentage may have at most 6 decimals\n"
                "  loss 0.1234567%\n       ^\n"},
        refused{"duplicate x",
                "rules:1:11: expected a percentage, as 10% or 0.5%, not 'x'\n"
                "  duplicate x\n            ^\n"},
        refused{"reorder 5%",
                "rules:1:11: expected 'within' and a time, as in 'reorder 5% within 20ms'\n"
                "  reorder 5%\n            ^\n"},
        refused{"rate 5 mbit/s",
                "rules:1:8: expected a unit of rate: /s, bit/s, kbit/s, Mbit/s or Gbit/s, not "
                "'mbit/s'\n  rate 5 mbit/s\n         ^\n"},
        refused{"rate 0/s", "rules:1:6: a rate must be above 0\n  rate 0/s\n       ^\n"},
        refused{"rate 1001 Gbit/s", "rules:1:6: a rate may be at most 1000 Gbit/s\n  rate 1001 Gbit/s\n       ^\n"}));

#define KEYS "indev, outdev, physindev, physoutdev, hook, family, queue, mark, uid or gid, and a ']' behind the last"

INSTANTIATE_TEST_SUITE_P(
    filters, refusal,
    testing::Values(
        refused{"drop : udp port",
                "rules:1:16: expected the number or name of a port\n"
                "  drop : udp port\n                 ^\n"},
        refused{"drop : vlan 5",
                "rules:1:8: no VLAN support for Raw IP: expected what pcap-filter(7) has for packets that begin at "
                "their IP "
                "header\n  drop : vlan 5\n         ^\n"},
        refused{"drop : port no-such-port",
                "rules:1:13: unknown port 'no-such-port': expected a number of 0 to 65535 or a name of /etc/services; "
                "ranges stand behind 'portrange'\n"
                "  drop : port no-such-port\n              ^\n"},
        refused{"drop : udp and host www.example.org",
                "rules:1:21: expected an address, not 'www.example.org': names of hosts are not looked up\n"
                "  drop : udp and host www.example.org\n                      ^\n"},
        refused{"drop : host \\tcp",
                "rules:1:13: expected an address, not '\\tcp': names of hosts are not looked up\n"
                "  drop : host \\tcp\n              ^\n"},
        refused{"drop : inbound",
                "rules:1:8: this asks for what only a capturing device knows: expected a test as "
                "[hook=...] or [indev=...]\n  drop : inbound\n         ^\n"},
        refused{"drop : ip6 protochain 6",
                "rules:1:23: protochain is not supported: a crafted packet could hold its "
                "loop for ever: expected 'proto'\n  drop : ip6 protochain 6\n                        ^\n"},
        refused{"drop : [hook=output",
                "rules:1:8: this bracket is not closed: expected a ']'\n"
                "  drop : [hook=output\n         ^\n"},
        refused{"drop : []",
                "rules:1:8: expected a test between the brackets, as [hook=output]\n"
                "  drop : []\n         ^\n"},
        refused{"drop : [user=0]", "rules:1:9: expected " KEYS ", not 'user=0'\n  drop : [user=0]\n          ^\n"},
        refused{"drop : [uid 0]", "rules:1:13: expected '=' or '!=', not '0'\n  drop : [uid 0]\n              ^\n"},
        refused{"drop : [hook=egress]",
                "rules:1:14: expected a hook: prerouting, input, forward, output or "
                "postrouting, not 'egress'\n  drop : [hook=egress]\n               ^\n"},
        refused{"drop : [family=6]",
                "rules:1:16: expected a family: ipv4, ipv6 or bridge, not '6'\n"
                "  drop : [family=6]\n                 ^\n"},
        refused{"drop : [indev=]",
                "rules:1:15: expected the name of an interface, not ']'\n"
                "  drop : [indev=]\n                ^\n"},
        refused{"drop : [indev=sixteen-letters-]",
                "rules:1:15: the name of an interface has at most 15 bytes\n"
                "  drop : [indev=sixteen-letters-]\n                ^\n"},
        refused{"drop : [mark=2/1]",
                "rules:1:14: no mark has bits outside of its mask: this would never match\n"
                "  drop : [mark=2/1]\n               ^\n"}));

INSTANTIATE_TEST_SUITE_P(
    sets, refusal,
    testing::Values(refused{"drop : src @no-such-file",
                            "rules:1:12: no-such-file: cannot open: No such file or directory: check the name\n"
                            "  drop : src @no-such-file\n             ^\n"},
                    refused{"drop : src @/",
                            "rules:1:12: /: is a directory; a file was expected\n"
                            "  drop : src @/\n             ^\n"},
                    refused{"drop : src @/dev/zero",
                            "rules:1:12: /dev/zero: is no regular file, and could not be read again for "
                            "a reload\n  drop : src @/dev/zero\n             ^\n"},
                    refused{"drop : src @",
                            "rules:1:12: expected the name of a file with addresses behind the '@'\n"
                            "  drop : src @\n             ^\n"},
                    refused{"drop : src @\"a",
                            "rules:1:13: this string is not closed: expected a '\"' before the end of the line\n"
                            "  drop : src @\"a\n              ^\n"},
                    refused{"drop : tcp src @a",
                            "rules:1:16: expected 'and' or 'or' between an address set and what stands "
                            "beside it\n  drop : tcp src @a\n                 ^\n"},
                    refused{"drop : (src @a",
                            "rules:1:13: a: cannot open: No such file or directory: check the name\n"
                            "  drop : (src @a\n              ^\n"}));

class set_refusal : public testing::TestWithParam<refused> {
 protected:
  temporary_file addresses_{"192.0.2.0/24\n"};
};

// SET stands for the name of a file that is there.
TEST_P(set_refusal, says_where_and_what_was_expected) {
  std::string text = GetParam().text;
  const std::string name = addresses_.path().filename().string();
  text.replace(text.find("SET"), 3, name);
  const auto made = ruleset::compile(source{"rules", text, addresses_.path().parent_path()});
  ASSERT_FALSE(made);
  ASSERT_EQ(made.error().size(), 1u);
  EXPECT_EQ(std::to_string(made.error()[0].column) + ": " + made.error()[0].message, GetParam().fault);
}

INSTANTIATE_TEST_SUITE_P(
    grammar, set_refusal,
    testing::Values(
        refused{"drop : (src @SET", "8: this '(' is not closed: expected a ')'"},
        refused{"drop : udp and udp or src @SET",
                "20: 'and' and 'or' beside an address set: put parentheses around what belongs together"},
        refused{"drop : udp) and src @SET", "11: this ')' closes nothing"},
        refused{"drop : src and src @SET", "12: expected 'src or dst' or 'src and dst'"},
        refused{"drop : src @SET and", "33: expected a filter here"},
        refused{"drop : @SET and 443", "30: expected what 443 is, as in 'port 443'"},
        refused{"drop : @SET udp", "26: expected 'and' or 'or' between an address set and what stands beside it"},
        refused{"drop : @SET and udp port", "38: expected the number or name of a port"},
        refused{"drop : @SET and host foo", "35: expected an address, not 'foo': names of hosts are not looked up"}));

// libpcap takes what is no address, though it has colons, for a name and what follows it.
TEST(ruleset, what_only_looks_like_an_address_is_not_looked_up) {
  for (const std::string name :
       {"1010db8::", "face:b00c", "a:b:c:d:e:f:0", "12:34:56:78:9a:bcd", "fe80::1::2", "abc:"}) {
    EXPECT_TRUE(
        faults_of("drop : host " + name)
            .starts_with("rules:1:13: expected an address, not '" + name + "': names of hosts are not looked up\n"))
        << name;
  }
  for (const char* fine : {"drop : host 2001:db8::1", "drop : net 2001:db8::/32", "drop : host ::ffff:192.0.2.1 or ip6",
                           "drop : tcp[tcpflags:1] & 2 != 0", "drop : ip[0:0x2] = 5", "drop : ip[ 8:1 ] < 5"}) {
    EXPECT_EQ(faults_of(fine), "") << fine;
  }
}

TEST(ruleset, nested_too_deep) {
  const temporary_file addresses("192.0.2.1\n");
  const std::string deep = "drop : " + std::string(60, '(') + "@" + addresses.path().string() + std::string(60, ')');
  EXPECT_EQ(faults_of(deep).substr(0, 62), "rules:1:59: parentheses are nested deeper than 50\n  drop : (((");
}

TEST(ruleset, what_is_no_text) {
  using namespace std::string_literals;
  // What stands behind it is no more text.
  EXPECT_EQ(faults_of("accept\ndrop\0 : udp\nnothing\n"s),
            "rules:2:5: a NUL byte: this is no file of rules, which is text\n  drop? : udp\n      ^\n");
  EXPECT_EQ(faults_of("accept\n" + std::string(1'000'000, 'x')),
            "rules:2:65537: the line has 1000000 bytes; expected at most 65536\n  ..." + std::string(60, 'x') + "\n  " +
                std::string(63, ' ') + "^\n");
  EXPECT_EQ(faults_of("accept \x1b[2J"),
            "rules:1:8: expected ',' and another action, or ':' and a filter, not "
            "'?[2J'\n  accept ?[2J\n         ^\n");
}

// What libpcap would take minutes and gigabytes for.
TEST(ruleset, what_is_too_much_for_a_filter) {
  const auto message_of = [](const std::string& text) {
    return ruleset::compile(source{"rules", text}).error().at(0).message;
  };
  const std::string too_much =
      " times 'and' or 'or'; expected at most 8192 and 100: use several lines, or '@FILE' for "
      "many addresses";
  EXPECT_EQ(message_of("accept : " + std::string(4500, '(') + "ip" + std::string(4500, ')')),
            "the filter has 9002 bytes and 0" + too_much);
  std::string ports = "accept : port 1";
  for (int each = 0; each < 100; ++each) ports += " or 22";
  EXPECT_EQ(faults_of(ports), "");
  EXPECT_EQ(message_of(ports + " and ip"), "the filter has 613 bytes and 101" + too_much);
}

TEST(ruleset, reports_every_line_and_stops_at_20) {
  EXPECT_EQ(faults_of("accept\n\nmark\n# drip\ndrop\r\ndrip # drop"),
            "rules:3:5: expected a number of 0 to 4294967295 (0xffffffff)\n  mark\n      ^\n"
            "rules:6:1: expected " ACTIONS ", not 'drip'\n  drip # drop\n  ^\n");
  std::string many;
  for (int each = 0; each < 100; ++each) many += "mark\n";
  const auto made = ruleset::compile(source{"rules", many});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().size(), 20u);
}

TEST(ruleset, faults_inside_of_a_set) {
  const temporary_file addresses("192.0.2.1\nlocalhost\n@other\n");
  const std::string name = addresses.path().string();
  const std::string text = "drop : src @" + name + "\naccept : dst @" + name;
  EXPECT_EQ(faults_of(text), name +
                                 ":2:1: expected an address, a network or a range, as 192.0.2.1, 2001:db8::/32 or "
                                 "192.0.2.1-192.0.2.9\n  localhost\n  ^\n" +
                                 name + ":3:1: a set does not include another: name both in the rule\n  @other\n  ^\n");
}

TEST(ruleset, the_caret_of_a_long_line) {
  const std::string text =
      "accept : udp port 53" + std::string(200, ' ') + "or port no-such-port" + std::string(100, '1');
  const auto made = ruleset::compile(source{"rules", "log \"" + std::string(300, 'a') + "\", delay 5 foo" + text});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error()[0].render(),
            "rules:1:317: expected a unit of time: us, ms, s or min, not 'fooaccept'\n"
            "  ..." +
                std::string(49, 'a') + "\", delay 5 fooaccept : udp port 53                 ...\n" +
                std::string(65, ' ') + "^\n");
}

TEST(ruleset, what_it_adds_up_to) {
  const auto made = ruleset::compile(source{"rules",
                                            "# all of it\n"
                                            "  record a.pcap, count web : tcp port 80   # with a comment\n"
                                            "record \"b #.pcap\", record a.pcap, count web, count dns\n"});
  ASSERT_TRUE(made) << render(made.error());
  ASSERT_EQ(made->size(), 2u);
  EXPECT_EQ((*made)[0].file, "rules");
  EXPECT_EQ((*made)[0].line, 2u);
  EXPECT_EQ((*made)[0].text, "record a.pcap, count web : tcp port 80");
  EXPECT_EQ((*made)[1].line, 3u);
  const std::vector<std::filesystem::path> files(made->record_files().begin(), made->record_files().end());
  EXPECT_EQ(files, (std::vector<std::filesystem::path>{"a.pcap", "b #.pcap"}));
  const std::vector<std::string> names(made->count_names().begin(), made->count_names().end());
  EXPECT_EQ(names, (std::vector<std::string>{"web", "dns"}));
  EXPECT_FALSE(made->tests_owner() || made->first_change() || made->delays() || made->duplicates() ||
               !made->all_repeats().empty());
}

TEST(ruleset, what_the_driver_has_to_provide) {
  const auto made = [](const char* text) { return ruleset::compile(source{"rules", text}).value(); };
  EXPECT_TRUE(made("accept : [uid=0]").tests_owner());
  EXPECT_TRUE(made("accept : [gid!=0]").tests_owner());
  EXPECT_TRUE(made("set ttl 1").first_change());
  EXPECT_TRUE(made("set dst 192.0.2.1").first_change());
  EXPECT_TRUE(made("replace \"a\" with \"b\"").first_change());
  EXPECT_TRUE(made("corrupt 1%").first_change());
  EXPECT_TRUE(made("delay 1ms").delays());
  EXPECT_TRUE(made("reorder 1% within 1ms").delays());
  EXPECT_TRUE(made("rate 1/s").delays());
  for (const char* text : {"loss 1%", "duplicate 1%", "corrupt 1%", "reorder 1% within 1ms", "delay 1ms jitter 1ms"}) {
    EXPECT_TRUE(made(text).uses_chance()) << text;
  }
  EXPECT_FALSE(made("delay 1ms, rate 1/s, set ttl 1").uses_chance());
  EXPECT_TRUE(made("duplicate 1%").duplicates());
  EXPECT_FALSE(made("accept : udp\nmark 1, repeat : tcp").all_repeats().empty());
  EXPECT_TRUE(made("mark 1, continue").all_repeats().empty());
  EXPECT_EQ(ruleset().size(), 0u);
}

TEST(ruleset, knows_where_it_says_what) {
  const auto made = ruleset::compile(source{"rules",
                                            "accept : tcp\n"
                                            "\t record a, record b, mark 1, mark 0x20/0xf0, repeat : udp # all\n"
                                            "log, queue 7 : tcp\nduplicate 1%, corrupt 2%, drop"})
                        .value();
  EXPECT_EQ(made.fault_at(*made.first_record(1), "is wrong").render(),
            "rules:2:13: is wrong\n"
            "    record a, record b, mark 1, mark 0x20/0xf0, repeat...\n"
            "              ^\n");
  const auto repeats = made.all_repeats();
  ASSERT_EQ(repeats.size(), 1u);
  EXPECT_EQ(repeats[0].mark, 0x21u);
  EXPECT_EQ(repeats[0].mask, 0xffffffffu);
  EXPECT_FALSE(repeats[0].connmark);
  EXPECT_EQ(made.fault_at(repeats[0].where, "").column, 47u);
  const auto queues = made.queues();
  ASSERT_EQ(queues.size(), 1u);
  EXPECT_EQ(queues[0].number, 7u);
  EXPECT_EQ(queues[0].where.rule, 2u);
  EXPECT_EQ(queues[0].where.column, 6u);
  EXPECT_EQ(made.first_duplicate()->column, 1u);
  EXPECT_EQ(made.first_change()->column, 15u);
  EXPECT_EQ(made.first_change()->rule, 3u);
  EXPECT_FALSE(made.first_record(2));
}

TEST(ruleset, several_sources_are_one) {
  const std::vector<source> sources = {{"argument 1", "drop : udp"}, {"argument 2", "acept"}};
  const auto made = ruleset::compile(sources);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error()[0].file, "argument 2");
}

TEST(source, reads_a_file_and_knows_its_folder) {
  const temporary_file rules(
      "drop : src @"
      "there\n");
  const auto read = read_source(rules.path());
  ASSERT_TRUE(read) << read.error().render();
  EXPECT_EQ(read->text,
            "drop : src @"
            "there\n");
  EXPECT_EQ(read->folder, rules.path().parent_path());
  EXPECT_EQ(read->name, rules.path().string());
}

TEST(source, says_why_it_cannot_read) {
  EXPECT_EQ(read_source("/no/such/file").error().render(),
            "/no/such/file: cannot open: No such file or directory: check the name\n");
  EXPECT_EQ(read_source("/").error().render(), "/: is a directory; a file was expected\n");
  EXPECT_EQ(read_source("/dev/null").error().render(),
            "/dev/null: is no regular file, and could not be read again for a reload\n");
}

}  // namespace
}  // namespace ipq::tool::rules
