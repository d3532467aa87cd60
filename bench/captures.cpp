// SPDX-License-Identifier: MIT
// How fast captures are read, judged and written, beside tcpdump on the same file; and in how much memory. Each run is
// a process of its own.
#include <fcntl.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include <ipq/capture.hpp>
#include <ipq/decode.hpp>
#include <ipq/udp.hpp>

#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>

#include "failure.hpp"
#include "mixed_capture.hpp"
#include "scenario.hpp"

namespace bench {
namespace {

#ifdef IPQ_COMMAND
constexpr const char* ipq_command = IPQ_COMMAND;
#else
constexpr const char* ipq_command = "";  // not in every build
#endif

enum class task { read, write, filter };
enum class contestant_kind { library, command, tcpdump };

constexpr unsigned rounds = 5;  // each takes seconds

// Room for what a run writes, made when it is first needed.
class outputs {
 public:
  // For captures of so many packets.
  explicit outputs(std::uint64_t packets) : folder_(folder_with_room(packets * 600)) {}

  void prepare() {
    if (packets_) return;
    packets_.emplace(folder_);
    text_.emplace(folder_);
  }
  const std::string& folder() const { return folder_; }
  const nameless_file& packets() const { return *packets_; }
  const nameless_file& text() const { return *text_; }

  // Whoever writes up to `bytes` of packets next empties a longer file and so finds memory at hand: a guest soon gives
  // free memory back to its host, and to get it again takes longer than to write.
  void clear(std::uint64_t bytes) const {
    for (const auto* file : {&*packets_, &*text_}) {
      if (::ftruncate(file->fd(), 0) != 0) throw failure(with_errno("empty a file"));
    }
    if (bytes == 0) return;
    if (const int error = ::posix_fallocate(packets_->fd(), 0, static_cast<off_t>(bytes + 1))) {
      throw failure("fill a file: " + std::string(std::strerror(error)));
    }
  }

 private:
  std::string folder_;
  std::optional<nameless_file> packets_, text_;
};

// What the scenarios of one capture share.
class workshop {
 public:
  // `path`: of the capture that is repeated; "": a mixture is made.
  workshop(std::uint64_t packets, std::string path, std::shared_ptr<outputs> out)
      : packets_(packets), path_(std::move(path)), out_(std::move(out)) {}

  void prepare() {
    if (capture_) return;
    const frames from = path_.empty() ? mixed_frames(20'000) : frames_of(path_);
    if (from.count == 0) throw failure(path_ + " has no packets");
    capture_.emplace(out_->folder());
    out_->prepare();
    count_ = write_repeated(capture_->fd(), from, packets_);
  }
  const nameless_file& capture() const { return *capture_; }
  const outputs& out() const { return *out_; }
  std::uint64_t count() const { return count_; }

 private:
  std::uint64_t packets_;
  std::string path_;
  std::shared_ptr<outputs> out_;
  std::optional<nameless_file> capture_;
  std::uint64_t count_ = 0;
};

struct ran {
  double seconds = 0;
  double mebibytes = 0;  // of memory, at most
};

// The most that a process had since it became its program. Of a process that has ended the system tells the most since
// fork(), which is what this one has.
double peak_of(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  }
  throw failure("no VmHWM in /proc/" + std::to_string(process) + "/status");
}

// Runs a program in a process of its own, in which a status other than 0 is a failure, while `feed` goes on here.
// `start` makes it that program, and returns where it could not.
ran run_apart(const std::string& name, const std::function<void()>& start, const std::function<void()>& feed = {}) {
  int gate[2];
  if (::pipe2(gate, O_CLOEXEC) != 0) throw failure(with_errno("pipe"));
  const double begun = now(CLOCK_MONOTONIC);
  const pid_t child = ::fork();
  if (child < 0) throw failure(with_errno("fork"));
  if (child == 0) {
    char open = 0;
    ::close(gate[1]);
    if (::read(gate[0], &open, 1) == 1) start();
    ::_exit(1);
  }
  ::close(gate[0]);
  // It stops where it ends, with its memory still there.
  const bool seized = ::ptrace(PTRACE_SEIZE, child, nullptr, PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL) == 0;
  const failure refused(with_errno("ptrace"));
  // If not, it ends by itself, as behind a gate that is closed.
  const bool opened = seized && ::write(gate[1], "", 1) == 1;
  ::close(gate[1]);
  if (opened && feed) feed();
  ran made;
  int status = 0;
  for (;;) {
    if (::waitpid(child, &status, 0) < 0) {
      if (errno == EINTR) continue;
      throw failure(with_errno("waitpid"));
    }
    if (!WIFSTOPPED(status)) break;
    const bool ends = status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8);
    if (ends) made.mebibytes = peak_of(child);
    ::ptrace(PTRACE_CONT, child, nullptr, ends || status >> 16 != 0 ? 0 : WSTOPSIG(status));
  }
  made.seconds = now(CLOCK_MONOTONIC) - begun;
  if (!seized) throw refused;
  if (status != 0) throw failure(name + " failed on a capture");
  return made;
}

void execute(std::vector<std::string> words, int output) {
  const int null = ::open("/dev/null", O_WRONLY);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(null, STDERR_FILENO);
  std::vector<char*> arguments;
  for (std::string& each : words) arguments.push_back(each.data());
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
}

// This program once more, which judges a capture and nothing else: judge_apart().
void execute_library(const std::string& capture, const std::string& passed, std::uint64_t frames, task wanted) {
  execute(
      {"/proc/self/exe", apart, capture, passed, std::to_string(frames), wanted == task::filter ? "filter" : "accept"},
      STDOUT_FILENO);
}

ipq::verdict accept(const ipq::packet&) {
  return ipq::verdict::accept();
}

ipq::verdict drop_dns(const ipq::packet& packet) {
  const auto layers = ipq::decode(packet.payload);
  if (!layers || !layers->has_transport || layers->transport != ipq::ip_protocol::udp) return ipq::verdict::accept();
  const auto udp = ipq::udp_view::parse(packet.payload.subspan(layers->transport_offset));
  const bool dns = udp && (udp->source_port() == 53 || udp->destination_port() == 53);
  return dns ? ipq::verdict::drop() : ipq::verdict::accept();
}

template <class Judge>
bool judge_all(const std::string& capture, const std::string& passed, std::uint64_t frames, Judge judge) {
  auto from = ipq::capture_reader::open(capture, {.passed = passed});
  return from && ipq::serve(*from, judge) && from->flush() && from->counts().frames == frames;
}

class captures final : public scenario {
 public:
  captures(description what, std::vector<contestant_kind> who, std::shared_ptr<workshop> in, task wanted)
      : scenario(std::move(what)), who_(std::move(who)), in_(std::move(in)), task_(wanted) {}

  void prepare(const std::vector<std::size_t>&) override { in_->prepare(); }

  sample run(std::size_t index) override {
    in_->out().clear(task_ == task::write ? in_->capture().size() : 0);
    const auto ran = run_apart(what().contestants[index], [&] { start(who_[index]); });
    if (who_[index] == command) check_summary();
    if (task_ == task::write) check_size(what().contestants[index]);
    sample made{.packets = in_->count()};
    made.figures = {static_cast<double>(in_->count()) / ran.seconds / 1e6, ran.mebibytes};
    return made;
  }

 private:
  using enum contestant_kind;

  void start(contestant_kind who) const {
    const std::string in = in_->capture().path();
    if (who == library) {
      return execute_library(in, task_ == task::write ? in_->out().packets().path() : "", in_->count(), task_);
    }
    if (who == tcpdump) {
      // As root it would become another user, which is not possible everywhere: here it is not root.
      static_cast<void>(::unshare(CLONE_NEWUSER));
      if (task_ == task::write) return execute({"tcpdump", "-r", in, "-w", in_->out().packets().path()}, STDOUT_FILENO);
      return execute({"tcpdump", "-r", in, "-w", "/dev/null", "not udp port 53"}, STDOUT_FILENO);
    }
    std::vector<std::string> words{ipq_command, "replay", in, "--json"};
    words.emplace_back(task_ == task::filter ? "drop : udp port 53" : "accept");
    if (task_ == task::write) words.insert(words.end(), {"--passed", in_->out().packets().path()});
    return execute(words, in_->out().text().fd());
  }
  void check_size(const std::string& name) const {
    const std::uint64_t written = in_->out().packets().size(), most = in_->capture().size();
    if (written < most / 100 * 95 || written > most) throw failure(name + " did not write what it should");
  }

  void check_summary() const {
    ::lseek(in_->out().text().fd(), 0, SEEK_SET);
    std::ifstream file(in_->out().text().path());
    const std::string said{std::istreambuf_iterator<char>(file), {}};
    if (said.find("\"frames\": " + std::to_string(in_->count()) + ",") == std::string::npos) {
      throw failure("ipq replay did not see every frame: " + said);
    }
  }

  std::vector<contestant_kind> who_;
  std::shared_ptr<workshop> in_;
  task task_;
};

// What comes through a pipe has no end that could be known, and no place where it could all be kept.
class stream final : public scenario {
 public:
  stream(description what, std::vector<contestant_kind> who, std::uint64_t bytes)
      : scenario(std::move(what)), who_(std::move(who)), bytes_(bytes) {}

  sample run(std::size_t index) override {
    const frames from = mixed_frames(5'000);
    const std::uint64_t repeats = bytes_ / from.records.size() + 1, count = from.count * repeats;
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw failure(with_errno("pipe"));
    const auto feed = [&] {
      ::close(ends[0]);
      std::signal(SIGPIPE, SIG_IGN);
      write_repeated(ends[1], from, count);
      ::close(ends[1]);
    };
    const auto start = [&] {
      ::dup2(ends[0], STDIN_FILENO);
      if (who_[index] == contestant_kind::library) return execute_library("-", "", count, task::read);
      execute({ipq_command, "replay", "-", "accept"}, ::open("/dev/null", O_WRONLY));
    };
    const auto ran = run_apart(what().contestants[index], start, feed);
    sample made{.packets = count};
    made.figures = {static_cast<double>(count) / ran.seconds / 1e6, ran.mebibytes};
    return made;
  }

 private:
  std::vector<contestant_kind> who_;
  std::uint64_t bytes_;
};

description describe(std::string name, const std::vector<contestant_kind>& who, const char* of_tcpdump) {
  description what{.table = "captures", .name = std::move(name), .most_rounds = rounds};
  what.figures = {{"million packets a second", "million_packets_per_second", 2}, {"memory, MiB", "mebibytes", 1}};
  for (const auto each : who) {
    using enum contestant_kind;
    what.contestants.emplace_back(each == library ? "libipq++" : each == command ? "ipq replay" : of_tcpdump);
  }
  return what;
}

}  // namespace

int judge_apart(std::span<char* const> words) {
  if (words.size() != 4) return 2;
  const std::string capture = words[0], passed = words[1];
  const std::uint64_t frames = std::stoull(words[2]);
  const bool right = std::string_view(words[3]) == "filter" ? judge_all(capture, passed, frames, drop_dns)
                                                            : judge_all(capture, passed, frames, accept);
  return right ? 0 : 1;
}

void add_captures(scenarios& to, const ground& on, const std::string& path) {
  if (std::system("tcpdump --version >/dev/null 2>&1") != 0) throw unavailable("captures, as there is no tcpdump");
  std::vector<contestant_kind> ours{contestant_kind::library};
  if (!std::string_view(ipq_command).empty()) ours.push_back(contestant_kind::command);
  std::vector<contestant_kind> all = ours;
  all.push_back(contestant_kind::tcpdump);
  const std::size_t tcpdump = ours.size();
  const auto each_of_ours = [&](goal one) {
    std::vector<goal> goals;
    for (one.subject = 0; one.subject < ours.size(); ++one.subject) goals.push_back(one);
    return goals;
  };
  const std::uint64_t packets = std::min<std::uint64_t>(on.packets * 250, 5'000'000);
  const auto out = std::make_shared<outputs>(packets);
  const auto add = [&](const std::string& about, const std::string& of) {
    const auto shared = std::make_shared<workshop>(packets, of, out);
    description what = describe(about + "read a capture, accept all", ours, "");
    what.goals = each_of_ours({0, 0, std::nullopt, goal::kind::at_least, 3});
    to.push_back(std::make_unique<captures>(std::move(what), ours, shared, task::read));

    what = describe(about + "the same, and write what passes", all, "tcpdump -w");
    what.goals = each_of_ours({0, 0, tcpdump, goal::kind::at_least, 1});
    to.push_back(std::make_unique<captures>(std::move(what), all, shared, task::write));

    what = describe(about + "read a capture, one filter", all, "tcpdump FILTER");
    what.goals = each_of_ours({0, 0, tcpdump, goal::kind::at_least, 1});
    to.push_back(std::make_unique<captures>(std::move(what), all, shared, task::filter));
  };
  add("", path);
  // What people have recorded, where it lies beside the project.
  const std::string recorded = IPQ_MORE_CAPTURES "/example2.pcap";
  if (path.empty() && ::access(recorded.c_str(), R_OK) == 0) add("example2.pcap: ", recorded);

  const std::uint64_t bytes = on.packets * 500'000;
  description what = describe("read " + std::to_string(bytes / 1'000'000) + " MB from a pipe", ours, "");
  what.goals = each_of_ours({1, 0, std::nullopt, goal::kind::at_most, 64});
  what.most_rounds = 1;
  to.push_back(std::make_unique<stream>(std::move(what), ours, bytes));
}

}  // namespace bench
