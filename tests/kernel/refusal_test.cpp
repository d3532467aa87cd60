// SPDX-License-Identifier: MIT
// What the kernel refuses, and that programs hear the true reason: no right, or a queue that is taken.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "child.hpp"
#include "flow.hpp"
#include "process.hpp"
#include "unit/without_capability.hpp"

namespace kernel_tests {
namespace {

using refusal = flow_test;

std::string error_of(const ipq_handle* h) {
  return std::to_string(read_error(h).error());
}

const std::string eperm = std::to_string(EPERM), ebusy = std::to_string(EBUSY);

TEST_F(refusal, without_cap_net_admin_is_eperm_after_create_and_set_mode_succeed) {
  for (auto protocol : {ipv4, ipv6}) {
    child program{[&](const child::line& line) {
      drop_all_capabilities();
      handle h{protocol};
      line.say("created");
      int sent = 0;
      const int error = errno_after([&] { sent = ipq_set_mode(h, IPQ_COPY_PACKET, 0); });
      line.say(std::to_string(sent) + " " + std::to_string(error));
      const message m = read_error(h);
      line.say(std::to_string(m.data.size()) + " " + std::to_string(m.error()));
      line.say(nothing_to_read(h) ? "nothing more" : "something more");
    }};
    EXPECT_EQ(program.hear(), "created");
    EXPECT_EQ(program.hear(), "56 " + std::to_string(untouched_errno));
    EXPECT_EQ(program.hear(), "76 " + eperm);
    EXPECT_EQ(program.hear(), "nothing more");
    EXPECT_EQ(program.wait(), 0);
  }
}

TEST_F(refusal, without_cap_net_admin_is_eperm_even_where_the_queue_is_taken) {
  handle owner{ipv4, IPQ_COPY_PACKET};
  child program{[](const child::line& line) {
    drop_all_capabilities();
    handle h{ipv4, IPQ_COPY_PACKET};
    line.say(error_of(h));
  }};
  EXPECT_EQ(program.hear(), eperm);
}

// Every capability that counts nowhere: the right is the one over the namespace's owner.
TEST_F(refusal, with_capabilities_of_another_user_namespace_is_eperm) {
  child program{[](const child::line& line) {
    // By clone, since unshare is refused to a process with threads, and ThreadSanitizer has one of its own.
    const long inside = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
    if (inside < 0) throw std::runtime_error("clone(CLONE_NEWUSER)");
    if (inside > 0) {
      waitpid(static_cast<pid_t>(inside), nullptr, 0);
      return;
    }
    handle h{ipv4, IPQ_COPY_PACKET};
    line.say(error_of(h));
    _exit(0);
  }};
  EXPECT_EQ(program.hear(), eperm);
}

TEST_F(refusal, of_a_verdict_after_the_right_is_dropped_is_eperm) {
  flow4().rule();
  child program{[&](const child::line& line) {
    handle h{ipv4, IPQ_COPY_PACKET};
    line.say("ready");
    const message packet = read_packet(h);
    drop_all_capabilities();
    int sent = 0;
    const int error = errno_after([&] { sent = ipq_set_verdict(h, packet.id(), NF_ACCEPT, 0, nullptr); });
    line.say(std::to_string(sent) + " " + std::to_string(error));
    const message m = read_error(h);
    line.say(std::to_string(m.data.size()) + " " + std::to_string(m.error()));
  }};
  EXPECT_EQ(program.hear(), "ready");
  flow4().send("held");
  EXPECT_EQ(program.hear(), "40 " + std::to_string(untouched_errno));
  EXPECT_EQ(program.hear(), "60 " + eperm);
  EXPECT_TRUE(flow4().nothing_arrived());
}

// As a program does that is privileged only where it has to be: the reason is that of the verdict, not of the read.
TEST_F(refusal, of_a_verdict_without_the_right_is_eperm_where_the_right_is_back_when_it_is_read) {
  flow4().rule();
  child program{[&](const child::line& line) {
    handle h{ipv4, IPQ_COPY_PACKET};
    line.say("ready");
    const message packet = read_packet(h);
    {
      const unit_tests::without_net_admin unprivileged;
      set_verdict(h, packet.id());
    }
    line.say(error_of(h));
    line.say(ipq_handle_errstr(h));
    set_verdict(h, packet.id());
    line.wait_for_go();
  }};
  EXPECT_EQ(program.hear(), "ready");
  flow4().send("held");
  EXPECT_EQ(program.hear(), eperm);
  const std::string words = program.hear();
  EXPECT_NE(words.find("CAP_NET_ADMIN"), std::string::npos) << words;
  EXPECT_EQ(flow4().arrived(), "held");
  program.go();
}

TEST_F(refusal, of_a_taken_queue_is_ebusy_without_a_descriptor_to_ask_with) {
  handle owner{ipv4, IPQ_COPY_PACKET};
  child program{[](const child::line& line) {
    handle h{ipv4, IPQ_COPY_PACKET};
    const int first_free = dup(0);
    close(first_free);
    const rlimit none{static_cast<rlim_t>(first_free), 4096};
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) throw std::runtime_error("setrlimit");
    line.say(error_of(h));
  }};
  EXPECT_EQ(program.hear(), ebusy);
}

TEST_F(refusal, of_a_mode_where_another_process_owns_the_queue_is_ebusy) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle owner{protocol, IPQ_COPY_PACKET};
    child program{[&](const child::line& line) {
      handle h{protocol};
      int sent = 0;
      const int error = errno_after([&] { sent = ipq_set_mode(h, IPQ_COPY_META, 0); });
      line.say(std::to_string(sent) + " " + std::to_string(error));
      const message m = read_error(h);
      line.say(std::to_string(m.data.size()) + " " + std::to_string(m.error()));
      line.say(nothing_to_read(h) ? "nothing more" : "something more");
      line.wait_for_go();
    }};
    EXPECT_EQ(program.hear(), "56 " + std::to_string(untouched_errno));
    EXPECT_EQ(program.hear(), "76 " + ebusy);
    EXPECT_EQ(program.hear(), "nothing more");
    packets.send("the owner's");
    set_verdict(owner, read_packet(owner).id());
    EXPECT_EQ(packets.arrived(), "the owner's");
    EXPECT_TRUE(nothing_to_read(owner));
    program.go();
    EXPECT_EQ(program.wait(), 0);
  }
}

TEST_F(refusal, of_a_verdict_for_another_process_is_ebusy_also_where_a_mode_was_tried_since) {
  handle owner{ipv4, IPQ_COPY_PACKET};
  child program{[](const child::line& line) {
    handle h{ipv4};
    set_verdict(h, 1);
    ipq_set_mode(h, IPQ_COPY_PACKET, 0);
    line.say(error_of(h));
    line.say(error_of(h));
  }};
  EXPECT_EQ(program.hear(), ebusy);
  EXPECT_EQ(program.hear(), ebusy);
}

// As above; the owner goes before the program has read that there was one.
TEST_F(refusal, of_a_mode_that_came_too_early_is_made_good) {
  flow4().rule();
  child program{[](const child::line& line) {
    line.wait_for_go();
    handle h{ipv4};
    set_verdict(h, 1);
    ipq_set_mode(h, IPQ_COPY_PACKET, 0);
    line.say("refused");
    line.wait_for_go();
    ipq_set_mode(h, IPQ_COPY_PACKET, 0);
    line.say(error_of(h));
    line.say(error_of(h));
    line.say(nothing_to_read(h) ? "listening" : "refused");
    set_verdict(h, read_packet(h).id());
  }};
  handle owner{ipv4, IPQ_COPY_PACKET};
  program.go();
  ASSERT_EQ(program.hear(), "refused");
  owner.destroy();
  program.go();
  EXPECT_EQ(program.hear(), ebusy);
  EXPECT_EQ(program.hear(), ebusy);
  EXPECT_EQ(program.hear(), "listening");
  flow4().send("taken over");
  EXPECT_EQ(flow4().arrived(), "taken over");
}

// Whose it is comes first, whatever is asked of it.
TEST_F(refusal, of_what_is_invalid_is_ebusy_too_where_another_process_owns_the_queue) {
  handle owner{ipv4, IPQ_COPY_PACKET};
  child program{[](const child::line& line) {
    handle h{ipv4};
    if (ipq_set_mode(h, 9, 0) != sent_mode) throw std::runtime_error(last_error(h));
    line.say(error_of(h));
    set_verdict(h, 1, 77);
    line.say(error_of(h));
    drop_all_capabilities();
    ipq_set_mode(h, 9, 0);
    line.say(error_of(h));
  }};
  EXPECT_EQ(program.hear(), ebusy);
  EXPECT_EQ(program.hear(), ebusy);
  EXPECT_EQ(program.hear(), eperm);
}

TEST_F(refusal, of_an_invalid_mode_is_einval_where_nobody_owns_the_queue) {
  const handle h{ipv4};
  ASSERT_EQ(ipq_set_mode(h, 9, 0), sent_mode);
  EXPECT_EQ(read_error(h).error(), EINVAL);
}

TEST_F(refusal, of_a_verdict_for_another_process_is_ebusy) {
  flow4().rule();
  handle owner{ipv4, IPQ_COPY_PACKET};
  flow4().send("the owner's");
  const message packet = read_packet(owner);
  child thief{[&](const child::line& line) {
    handle h{ipv4};
    set_verdict(h, packet.id(), NF_DROP);
    line.say(error_of(h));
  }};
  EXPECT_EQ(thief.hear(), ebusy);
  set_verdict(owner, packet.id());
  EXPECT_EQ(flow4().arrived(), "the owner's");
}

// As md5qd of Quagga does, which writes its verdicts into the descriptor.
TEST_F(refusal, of_a_message_that_the_program_sent_itself_is_read) {
  flow4().rule();
  const handle h{ipv4, IPQ_COPY_PACKET};
  const struct {
    nlmsghdr header = {sizeof(nlmsghdr) + 4, IPQM_VERDICT, NLM_F_REQUEST, 77, 0};
    unsigned char body[4] = {};
  } own;
  ASSERT_EQ(send(h.fd(), &own, sizeof own, 0), static_cast<ssize_t>(sizeof own));
  ASSERT_TRUE(readable(h.fd()));
  const message m = read_error(h);
  EXPECT_EQ(m.error(), EINVAL);
  EXPECT_EQ(m.data.size(), 36u);
  nlmsgerr answer;
  memcpy(&answer, m.data.data() + sizeof(nlmsghdr), sizeof answer);
  EXPECT_EQ(answer.msg.nlmsg_type, IPQM_VERDICT);
  EXPECT_EQ(answer.msg.nlmsg_seq, 77u);
  EXPECT_FALSE(readable(h.fd()));
  flow4().send("and on");
  set_verdict(h, read_packet(h).id());
  EXPECT_EQ(flow4().arrived(), "and on");
}

TEST_F(refusal, ends_when_the_owner_goes) {
  flow4().rule();
  // Started first: a child of the owner would inherit its descriptors and keep the queue.
  child program{[&](const child::line& line) {
    line.wait_for_go();
    handle h{ipv4, IPQ_COPY_PACKET};
    line.say(error_of(h));
    line.wait_for_go();
    if (ipq_set_mode(h, IPQ_COPY_PACKET, 0) != sent_mode) throw std::runtime_error(last_error(h));
    line.say("listening");
    set_verdict(h, read_packet(h).id());
  }};
  handle owner{ipv4, IPQ_COPY_PACKET};
  program.go();
  EXPECT_EQ(program.hear(), ebusy);
  owner.destroy();
  program.go();
  EXPECT_EQ(program.hear(), "listening");
  flow4().send("taken over");
  EXPECT_EQ(flow4().arrived(), "taken over");
}

TEST_F(refusal, message_of_a_taken_queue_names_the_owner) {
  // Started first: a child of the owner has the owner's socket too, and is as good an owner.
  child program{[](const child::line& line) {
    line.wait_for_go();
    handle h{ipv4, IPQ_COPY_PACKET};
    read_error(h);
    line.say(std::to_string(ipq_handle_errno(h)) + " " + ipq_handle_errstr(h));
  }};
  handle owner{ipv4, IPQ_COPY_PACKET};
  program.go();
  const std::string words = program.hear();
  EXPECT_TRUE(words.starts_with(std::to_string(IPQ_ERR_NLRECV) + " ")) << words;
  if (queue_counters_are_shown()) {
    EXPECT_NE(words.find("pid " + std::to_string(getpid())), std::string::npos) << words;
  }
}

TEST_F(refusal, of_a_taken_queue_names_the_owner_wherever_the_reader_is) {
  child program{[&](const child::line& line) {
    line.wait_for_go();
    handle h{ipv4, IPQ_COPY_PACKET};
    const inside elsewhere{far_ns()};
    line.say(std::to_string(read_error(h).error()));
    line.say(ipq_handle_errstr(h));
    line.say(std::to_string(status_of(h).peer_portid));
  }};
  handle owner{ipv4, IPQ_COPY_PACKET};
  program.go();
  EXPECT_EQ(program.hear(), ebusy);
  const std::string words = program.hear(), port = program.hear();
  if (queue_counters_are_shown()) {
    EXPECT_NE(words.find("pid " + std::to_string(getpid())), std::string::npos) << words;
    EXPECT_EQ(port, std::to_string(static_cast<ipq_handle*>(owner)->local.nl_pid));
  }
}

// The right that counts is that over the queue's namespace.
TEST_F(refusal, without_the_right_over_the_queues_namespace_is_eperm_though_the_reader_has_one_of_its_own) {
  handle owner{ipv4, IPQ_COPY_PACKET};
  child program{[](const child::line& line) {
    const long inside = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
    if (inside < 0) throw std::runtime_error("clone(CLONE_NEWUSER)");
    if (inside > 0) {
      waitpid(static_cast<pid_t>(inside), nullptr, 0);
      return;
    }
    handle h{ipv4, IPQ_COPY_PACKET};
    if (unshare(CLONE_NEWNET) != 0) throw std::runtime_error("unshare(CLONE_NEWNET)");
    line.say(error_of(h));
    _exit(0);
  }};
  EXPECT_EQ(program.hear(), eperm);
}

TEST_F(refusal, message_of_a_missing_right_names_the_capability) {
  child program{[](const child::line& line) {
    drop_all_capabilities();
    handle h{ipv4, IPQ_COPY_PACKET};
    read_error(h);
    line.say(std::to_string(ipq_handle_errno(h)) + " " + ipq_handle_errstr(h));
  }};
  const std::string words = program.hear();
  EXPECT_TRUE(words.starts_with(std::to_string(IPQ_ERR_NLRECV) + " ")) << words;
  EXPECT_NE(words.find("CAP_NET_ADMIN"), std::string::npos) << words;
}

// As a daemon of root's does that is privileged only around what takes it: ip_queue looked at who sends.
TEST_F(refusal, of_a_handle_made_without_the_right_ends_when_the_right_is_raised) {
  flow4().rule();
  child program{[&](const child::line& line) {
    std::optional<handle> h;
    {
      const unit_tests::without_net_admin unprivileged;
      h.emplace(ipv4);
    }
    if (ipq_set_mode(*h, IPQ_COPY_PACKET, 0) != sent_mode) throw std::runtime_error("no mode");
    line.say("ready");
    const message packet = read_packet(*h);
    const bytes payload = packet.payload();
    set_verdict(*h, packet.id(), NF_ACCEPT, payload);
    line.say("accepted");
  }};
  EXPECT_EQ(program.hear(), "ready");
  flow4().send("passes");
  EXPECT_EQ(program.hear(), "accepted");
  EXPECT_EQ(flow4().arrived(), "passes");
}

TEST_F(refusal, of_a_mode_without_the_right_is_eperm_where_the_right_is_there_when_it_is_read) {
  child program{[&](const child::line& line) {
    handle h{ipv4};
    {
      const unit_tests::without_net_admin unprivileged;
      ipq_set_mode(h, IPQ_COPY_PACKET, 0);
    }
    line.say(error_of(h));
    ipq_set_mode(h, IPQ_COPY_PACKET, 0);
    line.say(nothing_to_read(h) ? "bound" : "refused");
  }};
  EXPECT_EQ(program.hear(), eperm);
  EXPECT_EQ(program.hear(), "bound");
}

}  // namespace
}  // namespace kernel_tests
