// SPDX-License-Identifier: MIT
#include "privileges.hpp"

#include <cap-ng.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#ifdef __SANITIZE_ADDRESS__
namespace {
volatile bool leaks_are_unseen = false;
}
// LeakSanitizer asks this at the end. It looks for leaks from a process of its own, which the filter forbids.
extern "C" [[gnu::visibility("default")]] int __lsan_is_turned_off();
int __lsan_is_turned_off() {
  return leaks_are_unseen ? 1 : 0;
}
#endif

namespace tool {
namespace {

// What serving takes: the queue's socket, the output, the clock, memory, threads and their locks.
constexpr int allowed_calls[] = {
    // reading and writing what is open
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pwrite64),
    SCMP_SYS(close),
    SCMP_SYS(lseek),
    SCMP_SYS(_llseek),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(ftruncate),
    SCMP_SYS(dup),
    SCMP_SYS(fcntl),
    SCMP_SYS(fcntl64),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(recvmmsg_time64),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(recv),
    SCMP_SYS(send),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(ppoll_time64),
    SCMP_SYS(select),
    SCMP_SYS(_newselect),
    SCMP_SYS(pselect6),
    // looking at files: /proc for counters, rules at a reload
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(fstat64),
    SCMP_SYS(fstatat64),
    SCMP_SYS(stat64),
    SCMP_SYS(lstat64),
    SCMP_SYS(statx),
    SCMP_SYS(getdents64),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(getcwd),
    // the metrics' listening socket, which is open
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(shutdown),
    // memory
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    // threads, locks, signals and the clock
    SCMP_SYS(futex),
    SCMP_SYS(futex_time64),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_setaffinity),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigreturn),
    SCMP_SYS(rt_sigtimedwait),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(capget),
    SCMP_SYS(getrusage),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_nanosleep_time64),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_gettime64),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(sysinfo),
    SCMP_SYS(uname),
    // the end: of threads, of the process, and waiting for the one that removes rules
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(wait4),
    SCMP_SYS(waitid),
    SCMP_SYS(waitpid),
#ifdef __SANITIZE_ADDRESS__
    // UndefinedBehaviorSanitizer tries through a pipe whether memory can be read.
    SCMP_SYS(pipe),
    SCMP_SYS(pipe2),
#endif
};

constexpr const char* no_filters =
    "restrict system calls: this kernel, or what confines this process, has no seccomp filters (CONFIG_SECCOMP_FILTER)";

struct release_filter {
  void operator()(void* filter) const noexcept { seccomp_release(filter); }
};
using filter = std::unique_ptr<void, release_filter>;

// Adds rules until one fails; a call that this architecture has not is passed over by libseccomp.
class rule_adder {
 public:
  explicit rule_adder(scmp_filter_ctx to) noexcept : to_(to) {}
  template <class... Comparison>
  void allow(int call, Comparison... when) noexcept {
    add(SCMP_ACT_ALLOW, call, when...);
  }
  template <class... Comparison>
  void add(std::uint32_t action, int call, Comparison... when) noexcept {
    if (error_ == 0) error_ = -seccomp_rule_add(to_, action, call, sizeof...(when), when...);
  }
  [[nodiscard]] int error() const noexcept { return error_; }

 private:
  scmp_filter_ctx to_;
  int error_ = 0;
};

}  // namespace

outcome<void> drop_capabilities() {
  const auto wrong = [](const char* what) {
    return fail(failed, fmt::format("give up rights: {}: {}", what, std::strerror(errno)));
  };
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return wrong("no_new_privs");
  if (capng_get_caps_process() != 0) return wrong("read capabilities");
  const bool has_net_admin = capng_have_capability(CAPNG_PERMITTED, CAP_NET_ADMIN) == 1;
  capng_clear(CAPNG_SELECT_CAPS);
  if (has_net_admin) {
    for (const auto set : {CAPNG_EFFECTIVE, CAPNG_PERMITTED}) capng_update(CAPNG_ADD, set, CAP_NET_ADMIN);
  }
  if (capng_apply(CAPNG_SELECT_CAPS) != 0) return wrong("drop capabilities");
  return {};
}

outcome<void> check_system_call_filters() {
  // A kernel that has them looks for the filter, at no address.
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, nullptr, 0, 0) != 0 && errno == EFAULT) return {};
  return fail(kernel_lacks, no_filters);
}

outcome<void> restrict_system_calls() {
  const filter made(seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (!made) return fail(failed, "restrict system calls: out of memory");
  rule_adder rules(made.get());
  for (const int call : allowed_calls) rules.allow(call);
  // Files for reading alone.
  constexpr scmp_datum_t writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
  rules.allow(SCMP_SYS(open), SCMP_A1(SCMP_CMP_MASKED_EQ, writing, 0));
  rules.allow(SCMP_SYS(openat), SCMP_A2(SCMP_CMP_MASKED_EQ, writing, 0));
  // No code but what is there.
  rules.allow(SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  rules.allow(SCMP_SYS(mmap2), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  rules.allow(SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  // Threads, not processes. The flags of clone3 can't be seen; ENOSYS makes the C library use clone.
  rules.allow(SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
  rules.add(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
  // Signals between threads, as that of abort(): not to the other processes of the user.
  rules.allow(SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(::getpid()), 0));
  // The C library names threads and reads limits.
  rules.allow(SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0));
  rules.allow(SCMP_SYS(prlimit64), SCMP_A2(SCMP_CMP_EQ, 0, 0));
  int error = rules.error();
  if (error == 0) error = -seccomp_attr_set(made.get(), SCMP_FLTATR_CTL_TSYNC, 1);
  if (error == 0) error = -seccomp_attr_set(made.get(), SCMP_FLTATR_CTL_NNP, 0);
  if (error == 0) error = -seccomp_attr_set(made.get(), SCMP_FLTATR_API_SYSRAWRC, 1);  // what the kernel says
  if (error == 0) error = -seccomp_load(made.get());
  if (error == EINVAL || error == ENOSYS || error == EOPNOTSUPP) {
    return fail(kernel_lacks, no_filters);
  }
  if (error != 0) return fail(failed, fmt::format("restrict system calls: {}", std::strerror(error)));
#ifdef __SANITIZE_ADDRESS__
  leaks_are_unseen = true;
#endif
  return {};
}

}  // namespace tool
