// SPDX-License-Identifier: MIT
// Attributes of the sending socket that take a whole machine to set: the class of its cgroup, a security label.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>
#include <thread>

#include "stock_test.hpp"

namespace stock_kernels {
namespace {

using namespace kernel_tests;

class attribute : public flow_test {};

// A mounted net_cls hierarchy, where the calling process is in a class of its own.
class traffic_class {
 public:
  explicit traffic_class(std::string_view id) {
    if (mkdtemp(place_.data()) == nullptr) fail("make a folder");
    if (mount("net_cls", place_.c_str(), "cgroup", 0, "net_cls") != 0) fail("mount net_cls");
    if (mkdir(group().c_str(), 0755) != 0) fail("make a cgroup");
    write_file(group() + "/net_cls.classid", id);
    write_file(group() + "/cgroup.procs", std::to_string(getpid()));
  }
  traffic_class(const traffic_class&) = delete;
  traffic_class& operator=(const traffic_class&) = delete;
  ~traffic_class() {
    std::ofstream(place_ + "/cgroup.procs") << getpid() << std::flush;
    rmdir(group().c_str());
    umount(place_.c_str());
    rmdir(place_.c_str());
  }

 private:
  [[noreturn]] static void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }
  static void write_file(const std::string& path, std::string_view text) {
    if (!(std::ofstream(path) << text << std::flush)) fail(path.c_str());
  }
  std::string group() const { return place_ + "/group"; }

  std::string place_ = "/tmp/ipq_net_cls_XXXXXX";
};

TEST_F(attribute, class_of_the_senders_cgroup) {
  if (!may_change_the_machine()) GTEST_SKIP() << "takes a machine of its own: ./dev test-kernels";
  const traffic_class own("0x00100001");
  flow4().rule("-A OUTPUT", "NFQUEUE --queue-num 3");
  ipq::queue q = must_open();
  const udp_socket from{near_ns(), near_address};
  from.send(far_address, flow::port, "classified");
  const ipq::owned_packet queued = take(q);
  EXPECT_EQ(flow4().arrived(), "classified");
  if (!queued->cgroup_classid) GTEST_SKIP() << "this kernel has no NFQA_CGROUP_CLASSID";
  EXPECT_EQ(*queued->cgroup_classid, 0x00100001u);
}

TEST_F(attribute, class_is_not_told_where_there_is_none) {
  flow4().rule("-A OUTPUT", "NFQUEUE --queue-num 3");
  ipq::queue q = must_open();
  flow4().send("x");
  const ipq::owned_packet queued = take(q);
  EXPECT_FALSE(queued->cgroup_classid);
}

TEST_F(attribute, security_context_that_a_rule_sets) {
  // AppArmor's label of processes without a profile; SELinux would have a policy first.
  const outcome labelled =
      run(split("iptables-legacy -w -t mangle -A OUTPUT -p udp --dport 5000 -j SECMARK --selctx unconfined"));
  if (labelled.status != 0)
    GTEST_SKIP() << "this kernel has no SECMARK rules for its security module: " << labelled.output;
  flow4().rule("-A OUTPUT", "NFQUEUE --queue-num 3");
  {
    ipq::queue q = must_open({.security_context = true});
    flow4().send("labelled");
    const ipq::owned_packet queued = take(q);
    EXPECT_EQ(queued->security_context, "unconfined");
    EXPECT_EQ(flow4().arrived(), "labelled");
  }
  ipq::queue q = must_open();
  flow4().send("unasked");
  const ipq::owned_packet queued = take(q);
  EXPECT_EQ(queued->security_context, "");
}

TEST_F(attribute, priority_set_by_a_rule_and_by_a_verdict) {
  flow4().rule("-t mangle -A OUTPUT", "CLASSIFY --set-class 1:2");
  flow4().rule("-t mangle -A OUTPUT", "NFQUEUE --queue-num 3").rule("-A OUTPUT", "NFQUEUE --queue-num 4");
  ipq::queue q = must_open(), behind = must_open({.number = 4});
  flow4().send("x");
  const ipq::owned_packet queued = take(q, ipq::verdict::accept().with_priority(0x00030004));
  EXPECT_EQ(queued->priority, 0x00010002u);
  const ipq::owned_packet next = take(behind);
  EXPECT_EQ(next->priority, 0x00030004u);
}

// One connection's data, once with the segments that would be sent and once before they are cut.
TEST_F(attribute, unsplit_segments) {
  iptables("-A OUTPUT -p tcp --dport 5000 -j NFQUEUE --queue-num 3");
  const tcp_listener listener{far_ns(), far_address, flow::port};
  constexpr size_t size = 100'000, mtu = 1500;
  for (const bool gso : {false, true}) {
    SCOPED_TRACE(gso);
    ipq::queue q = must_open({.gso = gso});
    size_t largest = 0, unsplit = 0;
    std::thread reader([&] {
      static_cast<void>(ipq::serve(q, [&](const ipq::packet& queued) {
        largest = std::max(largest, queued.payload.size());
        unsplit += queued.gso;
        return ipq::verdict::accept();
      }));
    });
    {
      const descriptor from = tcp_connect(near_ns(), far_address, flow::port), to = listener.accept();
      const std::string data(size, 'x');
      std::thread sender([&] { EXPECT_EQ(send(from.get(), data.data(), size, 0), static_cast<ssize_t>(size)); });
      std::string arrived;
      while (arrived.size() < size) {
        char part[65536];
        const ssize_t length = recv(to.get(), part, sizeof part, 0);
        if (length <= 0) break;
        arrived.append(part, static_cast<size_t>(length));
      }
      sender.join();
      EXPECT_EQ(arrived, data);
    }
    q.stop();
    reader.join();
    if (gso) {
      EXPECT_GT(largest, 2 * mtu);
      EXPECT_GT(unsplit, 0u);
    } else {
      EXPECT_LE(largest, mtu);
      EXPECT_EQ(unsplit, 0u);
    }
  }
}

}  // namespace
}  // namespace stock_kernels
