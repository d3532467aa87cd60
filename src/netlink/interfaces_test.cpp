// SPDX-License-Identifier: MIT
#include "netlink/interfaces.hpp"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "data/message_bytes.hpp"
#include "data/recorded.hpp"
#include "netlink/scripted_kernel.hpp"
#include "unit/jumping_out.hpp"

namespace ipq::netlink {
namespace {

using namespace std::chrono_literals;

constexpr std::uint16_t ethernet = 1, loopback = 772;

class interface_names : public testing::Test {
 protected:
  scripted_kernel kernel;
  interfaces names{kernel};

  std::string name_of(std::uint32_t index) { return names.find(index).name.data(); }
  /// After this, announcements are looked at again.
  static void wait_out_memory() { std::this_thread::sleep_for(interfaces::max_age + 1us); }
};

TEST_F(interface_names, name_and_type) {
  kernel.set_interface(1, "lo", loopback);
  kernel.set_interface(2, "eth0", ethernet);
  EXPECT_EQ(name_of(1), "lo");
  EXPECT_EQ(names.find(1).type, loopback);
  EXPECT_EQ(name_of(2), "eth0");
  EXPECT_EQ(names.find(2).type, ethernet);
}

TEST_F(interface_names, index_0_is_none_and_asks_nobody) {
  kernel.set_interface(0, "zero", ethernet);
  EXPECT_EQ(name_of(0), "");
  EXPECT_EQ(names.find(0).type, 0);
  EXPECT_EQ(kernel.open_sockets(NETLINK_ROUTE), 0u);
}

TEST_F(interface_names, unknown_one_is_empty_until_it_comes) {
  EXPECT_EQ(name_of(7), "");
  kernel.set_interface(7, "late", ethernet);
  EXPECT_EQ(name_of(7), "late");
}

TEST_F(interface_names, are_asked_for_once) {
  kernel.set_interface(2, "eth0", ethernet);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(name_of(2), "eth0");
    if (i % 10 == 0) wait_out_memory();
  }
  EXPECT_EQ(kernel.requests().size(), 1u);
  EXPECT_EQ(kernel.requests()[0].type, std::uint16_t{RTM_GETLINK});
  EXPECT_EQ(kernel.requests()[0].flags, std::uint16_t{NLM_F_REQUEST});
}

TEST_F(interface_names, rename_is_followed) {
  kernel.set_interface(2, "before", ethernet);
  EXPECT_EQ(name_of(2), "before");
  kernel.set_interface(2, "after", ethernet);
  wait_out_memory();
  EXPECT_EQ(name_of(2), "after");
}

TEST_F(interface_names, re_creation_is_followed) {
  kernel.set_interface(2, "eth0", ethernet);
  EXPECT_EQ(name_of(2), "eth0");
  kernel.remove_interface(2);
  wait_out_memory();
  EXPECT_EQ(name_of(2), "");
  kernel.set_interface(3, "eth0", loopback);
  wait_out_memory();
  EXPECT_EQ(name_of(2), "");
  EXPECT_EQ(name_of(3), "eth0");
  EXPECT_EQ(names.find(3).type, loopback);
}

TEST_F(interface_names, change_of_one_is_no_change_of_another) {
  kernel.set_interface(2, "two", ethernet);
  kernel.set_interface(3, "three", ethernet);
  EXPECT_EQ(name_of(2), "two");
  kernel.set_interface(3, "drei", ethernet);
  wait_out_memory();
  EXPECT_EQ(name_of(2), "two");
  EXPECT_EQ(name_of(3), "drei");
}

TEST_F(interface_names, more_than_are_remembered) {
  for (std::uint32_t index = 1; index <= 200; ++index) {
    kernel.set_interface(index, "if" + std::to_string(index), static_cast<std::uint16_t>(index));
  }
  for (int round = 0; round < 2; ++round) {
    for (const std::uint32_t index : {1u, 33u, 65u, 1u, 2u, 200u, 32u, 64u, 128u}) {
      EXPECT_EQ(name_of(index), "if" + std::to_string(index));
      EXPECT_EQ(names.find(index).type, index);
    }
  }
}

TEST_F(interface_names, largest_index) {
  kernel.set_interface(0xffffffff, "huge", ethernet);
  EXPECT_EQ(name_of(0xffffffff), "huge");
}

TEST_F(interface_names, longest_name_fits_and_a_longer_one_is_cut) {
  kernel.set_interface(2, "fifteen_letters", ethernet);
  kernel.set_interface(3, "more_than_fifteen_letters", ethernet);
  EXPECT_EQ(name_of(2), "fifteen_letters");
  EXPECT_EQ(name_of(3), "more_than_fifte");
}

TEST_F(interface_names, leave_errno_alone) {
  kernel.set_interface(2, "eth0", ethernet);
  for (const std::uint32_t index : {0u, 2u, 2u, 9u}) {
    errno = EXDEV;
    EXPECT_EQ(names.find(index).type, index == 2 ? ethernet : 0);
    EXPECT_EQ(errno, EXDEV);
  }
}

TEST_F(interface_names, without_sockets_there_are_none) {
  kernel.set_interface(2, "eth0", ethernet);
  kernel.refuse_sockets(EMFILE);
  errno = EXDEV;
  EXPECT_EQ(name_of(2), "");
  EXPECT_EQ(errno, EXDEV);
  kernel.refuse_sockets(0);
  EXPECT_EQ(name_of(2), "eth0");
}

TEST_F(interface_names, keep_two_sockets_however_often_they_are_asked_for) {
  for (std::uint32_t index = 1; index <= 100; ++index) {
    kernel.set_interface(index, "x", ethernet);
    wait_out_memory();
    EXPECT_EQ(name_of(index), "x");
  }
  EXPECT_EQ(kernel.open_sockets(NETLINK_ROUTE), 2u);
}

TEST_F(interface_names, answer_to_a_question_that_was_given_up_is_passed_over) {
  kernel.set_interface(2, "right", ethernet);
  kernel.set_handler([](const scripted_request& request) {
    auto stale = test_data::recorded("link_loopback");
    const std::uint32_t sequence = request.sequence - 1;
    std::memcpy(stale.data() + 8, &sequence, sizeof sequence);
    auto right = test_data::recorded("link_veth");
    std::memcpy(right.data() + 8, &request.sequence, sizeof request.sequence);
    return scripted_kernel::answers{stale, right};
  });
  EXPECT_EQ(name_of(2), "near0");
}

TEST_F(interface_names, refusals_and_nonsense_are_no_interface) {
  using test_data::bytes_of;
  using test_data::message_bytes;
  const auto answered_by = [&](const auto& answer) {
    kernel.set_handler(
        [&answer](const scripted_request& request) { return scripted_kernel::answers{answer(request)}; });
    return name_of(2);
  };
  EXPECT_EQ(answered_by([](const auto& request) { return scripted_kernel::answer(request, EPERM); }), "");
  EXPECT_EQ(answered_by([](const auto& request) { return scripted_kernel::answer(request, 0); }), "");
  EXPECT_EQ(answered_by([](const auto&) { return bytes_of("?"); }), "");
  EXPECT_EQ(answered_by([](const auto& request) {  // a header without a body
              return message_bytes(RTM_NEWLINK, 0, request.sequence).raw(byte_vector(15)).done();
            }),
            "");
  EXPECT_EQ(answered_by([](const auto& request) {  // a length that lies
              return message_bytes(RTM_NEWLINK, 0, request.sequence).raw(byte_vector(16)).done(0x80000020);
            }),
            "");
  EXPECT_EQ(
      answered_by([](const auto& request) {  // no name
        return message_bytes(RTM_NEWLINK, 0, request.sequence).raw(byte_vector(16)).attribute(4, bytes_of("x")).done();
      }),
      "");
  EXPECT_EQ(answered_by([](const auto& request) {  // a name without its NUL
              return message_bytes(RTM_NEWLINK, 0, request.sequence)
                  .raw(byte_vector(16))
                  .attribute(3, bytes_of("eth"))
                  .done();
            }),
            "eth");
}

TEST(interface, recorded_answers_are_understood) {
  scripted_kernel kernel;
  interfaces names(kernel);
  kernel.set_handler([](const scripted_request& request) {
    auto link = test_data::recorded(request.bytes.at(20) == std::byte{1} ? "link_loopback" : "link_veth");
    std::memcpy(link.data() + 8, &request.sequence, sizeof request.sequence);
    return scripted_kernel::answers{link};
  });
  EXPECT_STREQ(names.find(1).name.data(), "lo");
  EXPECT_EQ(names.find(1).type, loopback);
  EXPECT_STREQ(names.find(2).name.data(), "near0");
  EXPECT_EQ(names.find(2).type, ethernet);
}

TEST(interface, end_of_the_kernel_leaves_what_is_remembered) {
  auto kernel = std::make_unique<scripted_kernel>();
  kernel->set_interface(2, "eth0", ethernet);
  kernel->set_interface(3, "eth1", ethernet);
  interfaces names(*kernel);
  EXPECT_STREQ(names.find(2).name.data(), "eth0");
  kernel.reset();  // the sockets that it gave end; it is not asked for others
  std::this_thread::sleep_for(interfaces::max_age + 1us);
  EXPECT_STREQ(names.find(2).name.data(), "eth0");
  EXPECT_STREQ(names.find(3).name.data(), "");
}

TEST_F(interface_names, may_be_asked_for_by_several_threads) {
  for (std::uint32_t index = 1; index <= 40; ++index) {
    kernel.set_interface(index, "if" + std::to_string(index), ethernet);
  }
  std::vector<std::thread> threads;
  for (std::uint32_t offset = 0; offset < 4; ++offset) {
    threads.emplace_back([&, offset] {
      for (std::uint32_t i = 0; i < 200; ++i) {
        const std::uint32_t index = 1 + (i * 7 + offset) % 40;
        EXPECT_EQ(name_of(index), "if" + std::to_string(index));
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

/// A signal handler that asks while the interrupted code does: here, in the middle of opening a socket.
class interrupting_source final : public socket_source {
 public:
  explicit interrupting_source(const socket_source& real) : real_(real) {}
  [[nodiscard]] result<socket> open(int protocol, std::uint32_t groups) const noexcept override {
    if (interrupt != nullptr) {
      auto* const once = std::exchange(interrupt, nullptr);
      seen = once->find(2).name.data();
    }
    return real_.open(protocol, groups);
  }
  mutable interfaces* interrupt = nullptr;
  mutable std::string seen;

 private:
  const socket_source& real_;
};

TEST_F(interface_names, may_be_asked_for_in_a_signal_handler) {
  kernel.set_interface(1, "lo", loopback);
  kernel.set_interface(2, "eth0", ethernet);
  interrupting_source source(kernel);
  interfaces interrupted(source);
  source.interrupt = &interrupted;
  EXPECT_STREQ(interrupted.find(1).name.data(), "lo");
  EXPECT_EQ(source.seen, "eth0");
  EXPECT_STREQ(interrupted.find(2).name.data(), "eth0");
}

TEST(interface, of_the_machine) {
  const unsigned index = ::if_nametoindex("lo");
  if (index == 0) GTEST_SKIP() << "there is no interface lo here";
  interfaces names(kernel());
  EXPECT_STREQ(names.find(index).name.data(), "lo");
  EXPECT_EQ(names.find(index).type, loopback);
  EXPECT_STREQ(names.find(0x7ffffff0).name.data(), "");
}

TEST(remembered_interface, is_read_whole_or_not_at_all_while_it_is_written) {
  const auto make = [](char letter, std::uint16_t type) {
    interface made;
    made.name.fill(letter);
    made.name.back() = '\0';
    made.type = type;
    return made;
  };
  const std::array versions{make('a', 1), make('b', 2)};
  remembered_interface place;
  place.store(7, versions[0]);
  std::atomic<bool> done = false;
  std::atomic<int> written = 0;
  std::thread writer([&] {
    for (; !done; ++written) place.store(7, versions[static_cast<std::size_t>(written % 2)]);
  });
  int seen = 0;
  while (seen < 10'000 || written < 10'000) {
    std::array<char, 16> name{};
    const auto type = place.load(7, name);
    if (!type) continue;
    ++seen;
    ASSERT_TRUE(type == 1 || type == 2);
    ASSERT_EQ(name, versions[*type - 1u].name);
  }
  done = true;
  writer.join();
  std::array<char, 16> none{};
  EXPECT_FALSE(place.load(8, none));
  place.forget();
  EXPECT_FALSE(place.load(7, none));
  EXPECT_STREQ(none.data(), "");
}

TEST(interfaces, are_asked_for_as_ever_after_handlers_have_jumped_out_of_it) {
  interfaces names{kernel()};
  unit_tests::jump_out_of([&] { static_cast<void>(names.find(9999)); }, 300);  // none, so it is asked for each time
  // Who finds the memory in use needs a socket of its own, which is refused now.
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const interface found = names.find(1);
  ::setrlimit(RLIMIT_NOFILE, &before);
  char name[IF_NAMESIZE] = {};
  EXPECT_STREQ(found.name.data(), ::if_indextoname(1, name));
}

/// Closes what has these numbers, as a program does that closes what it did not open, and takes them for pairs.
std::vector<socket> take_numbers(int from, int to) {
  for (int fd = from; fd < to; ++fd) ::close(fd);
  std::vector<socket> own;
  while (own.empty() || own.back().fd() < to) {
    auto pair = open_pair().value();
    own.push_back(std::move(pair.first));
    own.push_back(std::move(pair.second));
  }
  return own;
}

TEST(interfaces, leave_descriptors_of_the_program_alone_that_have_the_numbers_of_theirs) {
  socket lowest = open_pair().value().first;
  const int from = lowest.fd();
  lowest = socket();
  std::vector<socket> own;
  {
    interfaces names{kernel()};
    EXPECT_STREQ(names.find(1).name.data(), "lo");
    const int to = open_pair().value().first.fd();  // behind theirs
    own = take_numbers(from, to);
    for (const socket& each : own) ASSERT_TRUE(each.send(std::as_bytes(std::span("own", 3))));
    std::this_thread::sleep_for(interfaces::max_age + 1us);
    EXPECT_STREQ(names.find(1).name.data(), "lo");
    EXPECT_STREQ(names.find(9999).name.data(), "");
    EXPECT_STREQ(names.find(1).name.data(), "lo");
  }
  for (const socket& each : own) {
    std::byte bytes[64];
    const auto received = each.receive(bytes, waiting::not_at_all);
    ASSERT_TRUE(received) << each.fd();
    EXPECT_EQ(received->length, 3U);
    EXPECT_FALSE(each.receive(bytes, waiting::not_at_all));
  }
}

TEST(interfaces, are_asked_for_in_a_child_of_fork_whatever_another_thread_did) {
  interfaces names{kernel()};
  std::atomic<bool> done = false;
  std::thread asking([&] {
    while (!done) static_cast<void>(names.find(9999));
  });
  int without = 0;
  for (int number = 0; number < 60; ++number) {
    const pid_t child = ::fork();
    if (child == 0) {
      names.after_fork_in_child();
      static_cast<void>(names.find(9999));  // opens its own
      const rlimit none{0, 0};
      ::setrlimit(RLIMIT_NOFILE, &none);
      ::_exit(names.find(1).name[0] == 'l' ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    without += status != 0 ? 1 : 0;
  }
  done = true;
  asking.join();
  EXPECT_EQ(without, 0);
}

}  // namespace
}  // namespace ipq::netlink
