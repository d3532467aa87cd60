// SPDX-License-Identifier: MIT
// Handles before a scripted kernel: what needs no rights, and what a real kernel does not show.
#include "compat/kernel_handle.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "compat/registry.hpp"
#include "netlink/interfaces.hpp"
#include "netlink/scripted_kernel.hpp"
#include "wire/config.hpp"
#include "wire/constants.hpp"

namespace ipq::compat {
namespace {

constexpr std::uint32_t ipv4 = 2, ipv6 = 10;
constexpr int once = -1;
constexpr int patient = 10'000'000;

const char* no_environment(const char*) {
  return nullptr;
}

struct destroyer {
  void operator()(handle* h) const { destroy_handle(h); }
};
using owned_handle = std::unique_ptr<handle, destroyer>;

std::vector<std::byte> payload_of(std::size_t length) {
  std::vector<std::byte> bytes(length);
  for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(i * 7);
  return bytes;
}

const unsigned char* raw(const std::vector<std::byte>& bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

class handle_test : public ::testing::Test {
 protected:
  owned_handle create(std::uint32_t protocol = ipv4) {
    return owned_handle(create_handle(0, protocol, kernel, no_environment));
  }

  owned_handle listen(std::uint32_t protocol = ipv4, std::size_t range = 0) {
    auto h = create(protocol);
    EXPECT_EQ(h->set_mode(IPQ_COPY_PACKET, range), 56);
    kernel.settle();
    return h;
  }

  std::uint32_t queue(const std::vector<std::byte>& payload, std::uint8_t family = ipv4) {
    return kernel.queue_packet({.family = family, .hook = 3, .payload = payload}).value();
  }

  ssize_t read(handle& h, int timeout = patient) {
    kernel.settle();
    return h.read(buffer, timeout);
  }

  const ipq_packet_msg_t& packet_read() { return *ipq_get_packet(buffer.data()); }
  int error_read() { return ipq_message_type(buffer.data()) == NLMSG_ERROR ? ipq_get_msgerr(buffer.data()) : 0; }

  /// The other one who owns the queue.
  netlink::socket occupy_queue() {
    auto other = kernel.open(NETLINK_NETFILTER).value();
    alignas(4) std::byte request[wire::max_config_size];
    const auto length = wire::encode_config({.command = wire::config_command::bind}, request);
    EXPECT_TRUE(other.send(std::span<const std::byte>(request, length)));
    kernel.settle();
    return other;
  }

  bool is_readable(const handle& h) {
    kernel.settle();
    pollfd watched{h.fd, POLLIN, 0};
    return ::poll(&watched, 1, 0) == 1;
  }

  netlink::scripted_kernel kernel;
  std::vector<unsigned char> buffer = std::vector<unsigned char>(70000);
};

TEST_F(handle_test, creation_fails_where_sockets_do) {
  kernel.refuse_sockets(EMFILE);
  errno = 0;
  EXPECT_EQ(create(), nullptr);
  EXPECT_EQ(errno, EMFILE);
  EXPECT_STREQ(thread_error_text(), "Unable to create netlink socket");
  kernel.refuse_sockets(0);
  EXPECT_NE(create(), nullptr);
}

TEST_F(handle_test, creation_leaves_nothing_open_behind) {
  for (int i = 0; i < 50; ++i) {
    auto four = listen(), six = listen(ipv6);
    EXPECT_GE(kernel.open_sockets(NETLINK_NETFILTER), 1U);
  }
  EXPECT_EQ(kernel.open_sockets(NETLINK_NETFILTER), 0U);
  EXPECT_EQ(kernel.open_sockets(NETLINK_ROUTE), 0U);
}

TEST_F(handle_test, the_first_mode_binds_with_everything_in_one_message) {
  auto h = create();
  ASSERT_EQ(h->set_max_length(500), 0);
  ASSERT_EQ(h->set_fail_open(1), 0);
  ASSERT_EQ(h->set_mode(IPQ_COPY_PACKET, 100), 56);
  kernel.settle();
  const auto requests = kernel.requests();
  ASSERT_EQ(requests.size(), 2U);  // the question whether there are queues, and this
  EXPECT_EQ(requests[1].type, wire::message_config);
  EXPECT_FALSE(requests[1].flags & wire::flag_ack);
  ASSERT_NE(requests[1].find(wire::config_cmd), nullptr);
  EXPECT_EQ(requests[1].number(wire::config_params), 100U);
  EXPECT_EQ(requests[1].number(wire::config_queue_maxlen), 500U);
  EXPECT_EQ(requests[1].number(wire::config_flags), 1U);
  EXPECT_EQ(requests[1].number(wire::config_mask), 1U);
  ASSERT_EQ(h->set_mode(IPQ_COPY_META, 0), 56);
  kernel.settle();
  EXPECT_EQ(kernel.requests().size(), 3U);
  EXPECT_EQ(kernel.requests()[2].find(wire::config_cmd), nullptr);
  EXPECT_EQ(kernel.find_queue(0)->copy_mode, 1);
  EXPECT_FALSE(is_readable(*h));
}

TEST_F(handle_test, a_kernel_without_queues_refuses_the_connection) {
  kernel.set_queues(false);
  auto h = create();
  errno = 0;
  EXPECT_EQ(h->set_mode(IPQ_COPY_PACKET, 0), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_STREQ(thread_error_text(), "Failed to send netlink message");
  EXPECT_STREQ(h->last().text(), "set mode: Failed to send netlink message: Connection refused");
  kernel.set_queues(true);
  EXPECT_EQ(h->set_mode(IPQ_COPY_PACKET, 0), 56);
}

TEST_F(handle_test, a_missing_right_comes_as_a_message) {
  kernel.set_rights(false);
  auto h = create();
  ASSERT_EQ(h->set_mode(IPQ_COPY_PACKET, 0), 56);
  EXPECT_TRUE(is_readable(*h));
  EXPECT_EQ(read(*h), 76);
  EXPECT_EQ(error_read(), EPERM);
  EXPECT_NE(std::strstr(h->last().text(), "CAP_NET_ADMIN"), nullptr) << h->last().text();
  EXPECT_EQ(h->last().number(), IPQ_ERR_NLRECV);
}

TEST_F(handle_test, a_queue_of_somebody_elses_comes_as_a_message) {
  const auto other = occupy_queue();
  auto h = create();
  ASSERT_EQ(h->set_mode(IPQ_COPY_PACKET, 0), 56);
  EXPECT_EQ(read(*h), 76);
  EXPECT_EQ(error_read(), EBUSY);
  const std::string_view said = h->last().text();
  EXPECT_TRUE(said.starts_with("bind queue 0: owned by ")) << said;  // by whom is asked of the real kernel
}

TEST_F(handle_test, a_mode_after_a_refused_one_binds_whether_the_refusal_was_read_or_not) {
  for (const bool is_read : {true, false}) {
    auto other = occupy_queue();
    auto h = create();
    ASSERT_EQ(h->set_mode(IPQ_COPY_PACKET, 0), 56);
    kernel.settle();
    if (is_read) {
      ASSERT_EQ(read(*h), 76);
    }
    other = {};
    while (kernel.find_queue(0)) kernel.settle();
    ASSERT_EQ(h->set_mode(IPQ_COPY_PACKET, 0), 56);
    kernel.settle();
    ASSERT_TRUE(kernel.find_queue(0));
    if (!is_read) {
      ASSERT_EQ(read(*h), 76);
      EXPECT_EQ(error_read(), EBUSY);
    }
    // The old refusal, read late, says nothing about the new bind: no third one is tried, which would be refused.
    ASSERT_EQ(h->set_mode(IPQ_COPY_META, 0), 56);
    EXPECT_FALSE(is_readable(*h));
    EXPECT_EQ(kernel.find_queue(0)->copy_mode, 1);
  }
}

TEST_F(handle_test, a_mode_that_needed_a_bind_is_sent_again_with_one) {
  auto other = occupy_queue();
  auto h = create();
  // Its refusal hides that of the mode, so that the next one does not bind.
  ASSERT_EQ(h->set_verdict(1, 1, std::nullopt, 0, nullptr), 40);
  ASSERT_EQ(h->set_mode(IPQ_COPY_META, 0), 56);
  kernel.settle();
  other = {};
  while (kernel.find_queue(0)) kernel.settle();
  ASSERT_EQ(h->set_mode(IPQ_COPY_META, 0), 56);
  ASSERT_EQ(h->set_mode(IPQ_COPY_PACKET, 100), 56);
  kernel.settle();
  ASSERT_FALSE(kernel.find_queue(0));
  ASSERT_EQ(read(*h), 60);
  EXPECT_EQ(error_read(), EBUSY);
  ASSERT_EQ(read(*h), 76);
  EXPECT_EQ(error_read(), EBUSY);
  EXPECT_EQ(read(*h, once), 0);
  ASSERT_TRUE(kernel.find_queue(0));
  EXPECT_EQ(kernel.find_queue(0)->copy_range, 100U);
  queue(payload_of(40));
  EXPECT_EQ(read(*h), 152);
  EXPECT_FALSE(is_readable(*h));
}

TEST_F(handle_test, a_mode_that_bound_once_more_is_sent_again_without_that) {
  auto h = listen();
  kernel.set_rights(false);
  ASSERT_EQ(h->set_mode(IPQ_COPY_META, 0), 56);
  ASSERT_EQ(read(*h), 76);
  EXPECT_EQ(error_read(), EPERM);
  kernel.set_rights(true);
  ASSERT_EQ(h->set_mode(IPQ_COPY_PACKET, 100), 56);
  EXPECT_EQ(read(*h, once), 0);
  kernel.settle();
  EXPECT_EQ(kernel.find_queue(0)->copy_range, 100U);
  EXPECT_FALSE(is_readable(*h));
}

TEST_F(handle_test, an_invalid_mode_leaves_the_one_that_is_set) {
  auto h = listen(ipv4, 100);
  ASSERT_EQ(h->set_mode(9, 0x123456789), 56);
  ASSERT_EQ(read(*h), 76);
  EXPECT_EQ(error_read(), EINVAL);
  ipq_mode_msg_t echoed;
  std::memcpy(&echoed, buffer.data() + 36, sizeof echoed);
  EXPECT_EQ(echoed.value, 9);
  EXPECT_EQ(echoed.range, 0xffffffffU);  // what fits into the request's header
  EXPECT_EQ(kernel.find_queue(0)->copy_range, 100U);
  EXPECT_EQ(h->status().copy_mode, IPQ_COPY_PACKET);
}

TEST_F(handle_test, bytes_that_are_no_message_are_passed_over) {
  auto h = listen();
  const auto any = payload_of(200);
  for (const std::size_t length : {1u, 4u, 15u, 16u, 19u, 20u, 24u, 200u}) kernel.deliver(std::span(any).first(length));
  EXPECT_EQ(read(*h, once), 0);
  const auto id = queue(payload_of(84));
  EXPECT_EQ(read(*h), 196);
  EXPECT_EQ(packet_read().packet_id, id);
  EXPECT_EQ(h->stats().received, 1U);
}

TEST_F(handle_test, an_answer_to_what_the_program_sent_itself_comes_as_the_kernel_gave_it) {
  auto h = listen();
  netlink::scripted_request foreign;
  foreign.bytes.resize(wire::nlmsg_header_size);
  foreign.bytes[4] = std::byte{0x55};  // nlmsg_type
  kernel.deliver(netlink::scripted_kernel::answer(foreign, EINVAL));
  EXPECT_EQ(read(*h, once), 36);
  EXPECT_EQ(error_read(), EINVAL);
  EXPECT_EQ(buffer[0], 36);
  EXPECT_EQ(buffer[24], 0x55);
  EXPECT_EQ(read(*h, once), 0);
  // Of a wake, which is the library's own.
  foreign.bytes[4] = std::byte{NLMSG_NOOP};
  kernel.deliver(netlink::scripted_kernel::answer(foreign, 0));
  EXPECT_EQ(read(*h, once), 0);
}

TEST_F(handle_test, names_are_those_of_now) {
  auto h = listen();
  kernel.set_interface(2, "eth0", 1);
  const auto payload = payload_of(40);
  for (const char* name : {"eth0", "eth0", "wan"}) {
    kernel.set_interface(2, name, 1);
    // Older than what may be remembered without a look.
    std::this_thread::sleep_for(2 * netlink::interfaces::max_age);
    kernel.queue_packet({.family = 2, .hook = 1, .indev = 2, .payload = payload});
    ASSERT_EQ(read(*h), 152);
    EXPECT_STREQ(packet_read().indev_name, name);
    EXPECT_EQ(packet_read().hw_type, 1);
  }
}

TEST_F(handle_test, each_hook_has_the_interfaces_it_had) {
  auto h = listen();
  kernel.set_interface(2, "in", 1);
  kernel.set_interface(3, "out", 1);
  for (std::uint8_t hook = 0; hook <= 4; ++hook) {
    kernel.queue_packet({.family = 2, .hook = hook, .indev = 2, .outdev = 3, .payload = payload_of(40)});
    ASSERT_EQ(read(*h), 152);
    EXPECT_STREQ(packet_read().indev_name, hook <= 2 ? "in" : "") << int{hook};
    EXPECT_STREQ(packet_read().outdev_name, hook >= 2 ? "out" : "") << int{hook};
    EXPECT_EQ(packet_read().hw_type, hook <= 2 ? 1 : 0) << int{hook};
  }
}

TEST_F(handle_test, ids_wrap_and_come_back_from_an_int) {
  auto h = listen();
  kernel.set_next_id(0, 0xffffffff);
  for (const std::uint32_t id : {0xffffffffU, 0U}) {
    ASSERT_EQ(queue(payload_of(40)), id);
    ASSERT_EQ(read(*h), 152);
    EXPECT_EQ(packet_read().packet_id, id);
    const int kept = static_cast<int>(packet_read().packet_id);
    EXPECT_EQ(h->set_verdict(static_cast<ipq_id_t>(kept), 1, std::nullopt, 0, nullptr), 40);
  }
  const auto verdicts = kernel.verdicts();
  ASSERT_EQ(verdicts.size(), 2U);
  EXPECT_EQ(verdicts[0].id, 0xffffffffU);
  EXPECT_EQ(verdicts[1].id, 0U);
}

TEST_F(handle_test, values_of_verdicts_on_the_wire) {
  auto h = create();
  ASSERT_EQ(h->set_mode(IPQ_COPY_PACKET, 0), 56);
  for (std::uint32_t value = 0; value <= 5; ++value) {
    const auto id = queue(payload_of(40));
    EXPECT_EQ(h->set_verdict(id, value, value == 1 ? std::optional(0x80000000U) : std::nullopt, 0, nullptr), 40);
  }
  const auto verdicts = kernel.verdicts();
  ASSERT_EQ(verdicts.size(), 6U);
  const std::uint32_t expected[] = {0, 1, 0, 3, 4, 5};  // NF_STOLEN is given as NF_DROP, NF_QUEUE names queue 0
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(verdicts[i].value, expected[i]);
  EXPECT_EQ(verdicts[1].mark, 0x80000000U);
  EXPECT_FALSE(verdicts[0].mark);
  const auto stats = h->stats();
  EXPECT_EQ(stats.accepted, 1U);
  EXPECT_EQ(stats.dropped, 2U);
  EXPECT_EQ(stats.other_verdicts, 3U);
}

TEST_F(handle_test, replacements_by_length) {
  auto four = listen(), six = listen(ipv6);
  const auto bytes = payload_of(70000);
  struct {
    std::size_t length;
    bool in_ipv4, in_ipv6;
    std::uint32_t value;
  } const cases[] = {{0, false, false, 1}, {19, false, false, 1},  {20, true, false, 1},     {39, true, false, 1},
                     {40, true, true, 1},  {65531, true, true, 1}, {65532, false, false, 0}, {70000, false, false, 0}};
  for (const auto& [length, in_ipv4, in_ipv6, value] : cases) {
    for (handle* h : {four.get(), six.get()}) {
      const auto id = queue(payload_of(60), h->ipv6() ? ipv6 : ipv4);
      EXPECT_EQ(h->set_verdict(id, 1, std::nullopt, length, raw(bytes)), static_cast<int>(40 + length));
      const auto verdict = kernel.verdicts().back();
      EXPECT_EQ(verdict.id, id);
      EXPECT_EQ(verdict.value, value) << length;
      ASSERT_EQ(verdict.payload.has_value(), h->ipv6() ? in_ipv6 : in_ipv4) << length;
      if (verdict.payload) {
        EXPECT_TRUE(std::ranges::equal(*verdict.payload, std::span(bytes).first(length)));
      }
    }
  }
  const auto id = queue(payload_of(60));
  EXPECT_EQ(four->set_verdict(id, 1, std::nullopt, 100, nullptr), 40);
  EXPECT_FALSE(kernel.verdicts().back().payload);
}

TEST_F(handle_test, packets_of_the_other_family_do_not_keep_a_read_that_does_not_wait) {
  const auto h = listen();
  for (int i = 0; i < 300; ++i) queue(payload_of(60), ipv6);
  const auto id = queue(payload_of(60));
  EXPECT_EQ(read(*h, once), 0);
  const auto dropped = h->stats().wrong_family;
  EXPECT_GT(dropped, 0U);
  EXPECT_LT(dropped, 300U);
  int reads = 1;
  while (read(*h, once) == 0) ASSERT_LT(++reads, 20);
  EXPECT_EQ(packet_read().packet_id, id);
  EXPECT_EQ(h->stats().wrong_family, 300U);
}

TEST_F(handle_test, a_packet_that_the_kernel_had_to_cut_is_not_cut_by_returning_it) {
  auto h = listen();
  const auto payload = payload_of(65535);
  queue(payload);
  ASSERT_EQ(read(*h), 112 + 65532);
  ASSERT_EQ(packet_read().data_len, 65531U);
  std::vector<unsigned char> returned(packet_read().payload, packet_read().payload + 65531);
  EXPECT_EQ(h->set_verdict(packet_read().packet_id, 1, std::nullopt, 65531, returned.data()), 40 + 65531);
  EXPECT_EQ(kernel.verdicts().back().value, 1U);
  EXPECT_FALSE(kernel.verdicts().back().payload);

  // Changed, it can't be had whole: better none than a packet without its end.
  queue(payload);
  ASSERT_GT(read(*h), 0);
  returned[8] ^= 1;
  EXPECT_EQ(h->set_verdict(packet_read().packet_id, 1, std::nullopt, 65531, returned.data()), 40 + 65531);
  EXPECT_EQ(kernel.verdicts().back().value, 0U);
  EXPECT_EQ(h->stats().accepted, 1U);
  EXPECT_EQ(h->stats().dropped, 1U) << "though the program said accept";

  // Where the program asked for less, or the packet is no longer than that, it is cut to what is returned.
  queue(payload_of(65531));
  ASSERT_GT(read(*h), 0);
  EXPECT_EQ(h->set_verdict(packet_read().packet_id, 1, std::nullopt, 65531, returned.data()), 40 + 65531);
  EXPECT_TRUE(kernel.verdicts().back().payload);
}

TEST_F(handle_test, refusals_name_the_verdict_and_undo_its_count) {
  auto h = listen();
  EXPECT_EQ(h->set_verdict(7, 1, std::nullopt, 0, nullptr), 40);
  EXPECT_EQ(h->set_verdict(0xfffffff0, 0x10001, std::nullopt, 0, nullptr), 40);
  EXPECT_EQ(h->stats().accepted, 1U);
  ASSERT_EQ(read(*h), 60);
  EXPECT_EQ(error_read(), ENOENT);
  EXPECT_NE(std::strstr(h->last().text(), "verdict on packet 7: no such packet waits"), nullptr) << h->last().text();
  ASSERT_EQ(read(*h), 60);
  EXPECT_EQ(error_read(), EINVAL);
  EXPECT_STREQ(h->last().text(),
               "verdict on packet 4294967280: 0x10001 is no verdict: expected NF_DROP (0) to NF_STOP (5)");
  EXPECT_EQ(h->stats().accepted, 0U);
  EXPECT_EQ(h->stats().refused, 2U);
}

TEST_F(handle_test, without_a_queue_a_verdict_has_no_packet) {
  auto h = create();
  EXPECT_EQ(h->set_verdict(1, 1, std::nullopt, 0, nullptr), 40);
  ASSERT_EQ(read(*h), 60);
  EXPECT_EQ(error_read(), ENOENT);
  EXPECT_EQ(h->set_verdict(1, 6, std::nullopt, 0, nullptr), 40);
  ASSERT_EQ(read(*h), 60);
  EXPECT_EQ(error_read(), EINVAL);
}

TEST_F(handle_test, a_packet_that_nobody_listens_to_is_dropped_and_counted) {
  auto h = listen();
  queue(payload_of(40), ipv6);
  EXPECT_EQ(read(*h, once), 0);
  EXPECT_EQ(h->stats().wrong_family, 1U);
  EXPECT_EQ(h->stats().received, 0U);
  const auto verdicts = kernel.verdicts();
  ASSERT_EQ(verdicts.size(), 1U);
  EXPECT_EQ(verdicts[0].value, 0U);
}

TEST_F(handle_test, the_refusal_of_our_own_drop_is_not_for_the_program) {
  auto h = listen();
  const auto id = queue(payload_of(40), ipv6);
  ASSERT_EQ(h->set_verdict(id, 1, std::nullopt, 0, nullptr), 40);  // so that the drop comes too late
  EXPECT_EQ(read(*h, once), 0);
  EXPECT_EQ(read(*h, once), 0);
  EXPECT_EQ(h->stats().refused, 0U);
}

TEST_F(handle_test, a_message_that_does_not_fit_is_used_up_and_its_packet_waits) {
  auto h = listen();
  const auto id = queue(payload_of(84));
  kernel.settle();
  EXPECT_EQ(h->read(std::span(buffer).first(195), patient), -1);
  EXPECT_STREQ(thread_error_text(), "Received message truncated");
  EXPECT_EQ(packet_read().packet_id, id);
  EXPECT_EQ(h->read(buffer, once), 0);
  EXPECT_EQ(kernel.find_queue(0)->waiting.size(), 1U);
}

TEST_F(handle_test, the_end_of_the_kernel_is_an_error_and_no_endless_loop) {
  netlink::scripted_kernel* mortal = new netlink::scripted_kernel;
  owned_handle h(create_handle(0, ipv4, *mortal, no_environment));
  ASSERT_EQ(h->set_mode(IPQ_COPY_PACKET, 0), 56);
  mortal->settle();
  delete mortal;
  EXPECT_EQ(h->read(buffer, 0), -1);
  EXPECT_STREQ(thread_error_text(), "Received EOF on netlink socket");
}

TEST_F(handle_test, two_families_have_each_its_own_packets_mode_and_refusals) {
  auto four = listen(ipv4, 30);
  auto six = create(ipv6);
  ASSERT_EQ(six->set_mode(IPQ_COPY_META, 0), 56);
  const auto id6 = queue(payload_of(84), ipv6);
  ASSERT_EQ(read(*six), 112);
  EXPECT_EQ(packet_read().packet_id, id6);
  EXPECT_FALSE(is_readable(*four));
  const auto id4 = queue(payload_of(84));
  ASSERT_EQ(read(*four), 112 + 32);
  EXPECT_EQ(packet_read().packet_id, id4);
  EXPECT_EQ(packet_read().data_len, 30U);
  EXPECT_FALSE(is_readable(*six));
  six->set_verdict(99, 6, std::nullopt, 0, nullptr);
  ASSERT_EQ(read(*six), 60);
  EXPECT_EQ(error_read(), EINVAL);
  four->set_verdict(98, 1, std::nullopt, 0, nullptr);
  ASSERT_EQ(read(*four), 60);
  EXPECT_EQ(error_read(), ENOENT);
  EXPECT_FALSE(is_readable(*six));
}

TEST_F(handle_test, signals_of_the_descriptor_stay_when_the_other_family_joins) {
  static std::atomic<int> signals;
  signals = 0;
  struct sigaction counting {
  }, before{};
  counting.sa_handler = [](int) { ++signals; };
  sigaction(SIGIO, &counting, &before);
  auto four = listen();
  ASSERT_EQ(::fcntl(four->fd, F_SETOWN, ::getpid()), 0);
  ASSERT_EQ(::fcntl(four->fd, F_SETFL, O_ASYNC), 0);
  auto six = create(ipv6);
  kernel.settle();
  signals = 0;
  queue(payload_of(40));
  ASSERT_EQ(read(*four), 152);
  for (int tries = 0; signals == 0 && tries < 2000; ++tries) ::usleep(5000);  // any thread may handle it
  EXPECT_GE(signals, 1);
  signals = 0;
  ASSERT_EQ(six->set_mode(IPQ_COPY_PACKET, 0), 56);
  queue(payload_of(40), ipv6);
  ASSERT_EQ(read(*six), 152);
  EXPECT_EQ(signals, 0) << "for what is not the handle's";
  ::fcntl(four->fd, F_SETFL, 0);
  sigaction(SIGIO, &before, nullptr);
}

// Also where a child may go on with both, as any that has become another program might have.
TEST_F(handle_test, one_of_two_families_takes_its_fail_open_along) {
  for (const bool forks : {false, true}) {
    auto four = listen();
    auto six = create(ipv6);
    ASSERT_EQ(six->set_fail_open(1), 0);
    ASSERT_EQ(six->set_mode(IPQ_COPY_META, 0), 56);
    kernel.settle();
    ASSERT_EQ(kernel.find_queue(0)->flags, 1U);
    if (forks) {
      const pid_t child = ::fork();
      if (child == 0) ::_exit(0);
      ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    }
    six.reset();
    kernel.settle();
    EXPECT_EQ(kernel.find_queue(0)->flags, 0U) << forks;
  }
}

TEST_F(handle_test, one_of_two_families_takes_its_packets_along) {
  auto four = listen(), six = listen(ipv6);
  const auto read_one = queue(payload_of(40), ipv6);
  ASSERT_EQ(read(*six), 152);
  const auto unread = queue(payload_of(40), ipv6);
  const auto other = queue(payload_of(40));
  ASSERT_EQ(read(*four), 152);  // so the relay has seen all three
  six.reset();
  const auto left = kernel.find_queue(0);
  ASSERT_TRUE(left);
  EXPECT_EQ(left->waiting, std::vector{other});
  const auto verdicts = kernel.verdicts();
  ASSERT_EQ(verdicts.size(), 2U);
  EXPECT_EQ(verdicts[0].id, read_one);
  EXPECT_EQ(verdicts[1].id, unread);
  // From now on they are nobody's.
  queue(payload_of(40), ipv6);
  queue(payload_of(40));
  ASSERT_EQ(read(*four), 152);
  EXPECT_EQ(four->stats().wrong_family, 1U);
}

TEST_F(handle_test, a_queue_number_of_its_own_ends_the_sharing) {
  auto four = create(), six = create(ipv6);
  EXPECT_EQ(six->through_kernel(), four->through_kernel());
  kernel.refuse_sockets(EMFILE);
  EXPECT_EQ(set_queue(*six, 6), -1);
  kernel.refuse_sockets(0);
  EXPECT_EQ(six->through_kernel(), four->through_kernel());
  const int fd = six->fd;
  ASSERT_EQ(set_queue(*six, 6), 0);
  EXPECT_EQ(six->fd, fd);
  EXPECT_NE(six->through_kernel(), four->through_kernel());
  ASSERT_EQ(six->set_mode(IPQ_COPY_PACKET, 0), 56);
  ASSERT_EQ(four->set_mode(IPQ_COPY_PACKET, 0), 56);
  kernel.settle();
  kernel.queue_packet({.queue = 6, .family = 10, .hook = 3, .payload = payload_of(40)});
  ASSERT_EQ(read(*six), 152);
  EXPECT_FALSE(is_readable(*four));
  queue(payload_of(40));
  ASSERT_EQ(read(*four), 152);
  EXPECT_EQ(six->status().queue, 6U);
}

TEST_F(handle_test, settings_are_refused_by_value_and_when_it_is_too_late) {
  auto h = create();
  EXPECT_EQ(set_queue(*h, 65536), -1);
  EXPECT_STREQ(thread_error_text(), "set queue: 65536: expected a number from 0 to 65535");
  EXPECT_EQ(h->set_max_length(0), -1);
  EXPECT_EQ(h->set_fail_open(2), -1);
  EXPECT_EQ(h->set_debug(-1), -1);
  EXPECT_STREQ(h->last().text(), "set debug: -1: expected 0 or 1");
  ASSERT_EQ(h->set_mode(IPQ_COPY_META, 0), 56);
  errno = 0;
  EXPECT_EQ(h->set_max_length(10), -1);
  EXPECT_EQ(errno, EBUSY);
  EXPECT_EQ(set_queue(*h, 1), -1);
  EXPECT_EQ(h->set_fail_open(1), -1);
  EXPECT_STREQ(h->last().text(), "set fail open: must come before the first ipq_set_mode()");
}

}  // namespace
}  // namespace ipq::compat
