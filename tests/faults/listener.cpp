// SPDX-License-Identifier: MIT
#include "listener.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>
#include <thread>

#include "kernel/live_queue.hpp"
#include "kernel/process.hpp"
#include "kernel/reader.hpp"

namespace fault_tests {
namespace {

using kernel_tests::child;

void work(const listener_plan& plan) {
  if (plan.per_packet.count() != 0) std::this_thread::sleep_for(plan.per_packet);
}

void serve_in_cpp(const listener_plan& plan, const child::line& line) {
  ipq::queue q = ipq::queue_tests::must_open(
      {.max_length = plan.max_length, .fail_open = plan.fail_open, .receive_buffer = plan.receive_buffer});
  line.say("open");
  ipq::queue_tests::must(ipq::serve(q, [&](const ipq::packet&) {
    work(plan);
    return ipq::verdict::accept();
  }));
}

void serve_in_c(const listener_plan& plan, const child::line& line) {
  ::setenv("LIBIPQ_QUEUE", std::to_string(ipq::queue_tests::number).c_str(), 1);
  ::setenv("LIBIPQ_MAX_LENGTH", std::to_string(plan.max_length).c_str(), 1);
  ::setenv("LIBIPQ_FAIL_OPEN", plan.fail_open ? "1" : "0", 1);
  const kernel_tests::handle h(kernel_tests::ipv4, IPQ_COPY_PACKET);
  const auto bytes = static_cast<int>(plan.receive_buffer);
  if (bytes != 0) ::setsockopt(h.fd(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  line.say("open");
  kernel_tests::bytes buffer(kernel_tests::large_enough);
  for (;;) {
    if (::ipq_read(h, buffer.data(), buffer.size(), 0) < 0) throw std::runtime_error(kernel_tests::last_error(h));
    if (::ipq_message_type(buffer.data()) != IPQM_PACKET) continue;
    work(plan);
    ::ipq_set_verdict(h, ::ipq_get_packet(buffer.data())->packet_id, NF_ACCEPT, 0, nullptr);
  }
}

}  // namespace

listener::listener(const listener_plan& plan)
    : child_([&plan](const child::line& line) {
        // A program that ends by SIGSEGV is to leave no file; a handler of a sanitizer would end it otherwise.
        const rlimit none{0, 0};
        ::setrlimit(RLIMIT_CORE, &none);
        ::signal(SIGSEGV, SIG_DFL);
        if (plan.written_with == library::cpp) {
          serve_in_cpp(plan, line);
        } else {
          serve_in_c(plan, line);
        }
      }) {
  if (child_.hear() != "open") throw std::runtime_error("the listener did not start");
}

void listener::end_by(int signal) {
  ::kill(child_.pid(), signal);
  ::kill(child_.pid(), SIGCONT);  // one that is stopped looks at its signals, and comes no further
  const int status = child_.wait();
  if (!WIFSIGNALED(status) || WTERMSIG(status) != signal) throw std::runtime_error("the listener ended in another way");
}

void listener::stop() const {
  ::kill(child_.pid(), SIGSTOP);
  int status = 0;
  if (::waitpid(child_.pid(), &status, WUNTRACED) != child_.pid() || !WIFSTOPPED(status)) {
    throw std::runtime_error("the listener did not stop");
  }
}

void listener::go_on() const {
  ::kill(child_.pid(), SIGCONT);
}

}  // namespace fault_tests
