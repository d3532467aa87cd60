// SPDX-License-Identifier: MIT
// Packets are copied into memory, and encoded and written by another thread: whoever gives a verdict waits for neither.
#include "ipq/recorder.hpp"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "capture/block_writer.hpp"
#include "capture/output.hpp"

namespace ipq {

using namespace capture;

namespace {

using namespace std::chrono_literals;

constexpr std::size_t least_memory = 1 << 20;
// Between two wake-ups of the writer: what is gathered is to fit the processor's cache, where both use it.
constexpr auto gathering = 1ms;

/// What waits to be written, in front of the bytes that its views will point to.
struct waiting {
  std::size_t size;  ///< with the bytes
  packet about;
  verdict given = verdict::accept();
  std::int64_t time;
  std::optional<std::chrono::nanoseconds> took;
  std::array<const std::string*, 4> names;  ///< in, out, physin, physout; null for none
};

/// The files of a recording that rotates: "traffic.00001.pcapng".
class numbered_files {
 public:
  explicit numbered_files(std::string_view path) {
    const auto name = path.rfind('/') + 1;  // 0 without a folder
    auto ending = path.rfind('.');
    if (ending == std::string_view::npos || ending < name + 1) ending = path.size();
    folder_ = name == 0 ? "." : path.substr(0, name);
    name_at_ = name;
    before_ = std::string(path.substr(0, ending)) + ".";
    behind_ = path.substr(ending);
  }

  [[nodiscard]] std::string path_of(std::uint64_t number) const {
    std::string digits = std::to_string(number);
    digits.insert(0, least_digits - std::min<std::size_t>(digits.size(), least_digits), '0');
    return before_ + digits + behind_;
  }
  /// The highest number in the folder, 0 without one, and where it can't be read.
  [[nodiscard]] std::uint64_t last() const {
    const std::string_view before = std::string_view(before_).substr(name_at_);
    std::uint64_t highest = 0;
    std::error_code none;
    for (std::filesystem::directory_iterator at(folder_, none), end; !none && at != end; at.increment(none)) {
      const std::string name = at->path().filename().string();
      if (name.size() < before.size() + least_digits + behind_.size() || !name.starts_with(before) ||
          !name.ends_with(behind_)) {
        continue;
      }
      const char* const digits = name.data() + before.size();
      const char* const end_of_digits = name.data() + name.size() - behind_.size();
      std::uint64_t number = 0;
      const auto [read, fault] = std::from_chars(digits, end_of_digits, number);
      if (fault == std::errc{} && read == end_of_digits && number <= most) highest = std::max(highest, number);
    }
    return highest;
  }

 private:
  static constexpr std::size_t least_digits = 5;
  static constexpr std::uint64_t most = ~std::uint64_t{0} / 2;

  std::string folder_, before_, behind_;
  std::size_t name_at_ = 0;  ///< in before_
};

std::unexpected<error> refuse(const char* advice) {
  auto made = failed("open recording", EINVAL);
  made.error().advice = advice;
  return made;
}

bool rotates(const recorder_options& options) {
  return options.rotate_bytes != 0 || options.rotate_after.count() != 0;
}

std::int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::int64_t time_of(const packet& which, const record_times& times) {
  if (times.came) return times.came->count();
  if (!which.timestamp) return now();
  constexpr std::int64_t most = 9'000'000'000;
  return std::clamp<std::int64_t>(which.timestamp->seconds, 0, most) * 1'000'000'000 +
         std::clamp<std::int64_t>(which.timestamp->microseconds, 0, 999'999) * 1000;
}

}  // namespace

class recorder::core {
 public:
  /// `opened`: instead of the path.
  core(std::string path, descriptor opened, const recorder_options& options)
      : path_(std::move(path)),
        options_(options),
        filling_(options.memory / 2),
        opened_(std::move(opened)),
        writing_(options.memory / 2) {}
  core(const core&) = delete;
  core& operator=(const core&) = delete;
  ~core() { static_cast<void>(close()); }

  /// `fd`: instead of the path, -1 for none.
  static result<recorder> start(const std::string& path, int fd, const recorder_options& options);
  result<void> begin();
  bool record(const packet& which, const verdict& given, const record_times& times);
  result<void> close();
  [[nodiscard]] recorder_counts counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }
  [[nodiscard]] std::optional<error> failure() const {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

 private:
  struct known_name {
    std::uint32_t index = 0;
    const std::string* name = nullptr;
  };
  const std::string* name_of(std::uint32_t index, known_name& last);
  void run() noexcept;
  void write_waiting(std::size_t used);
  void write(std::byte* at);
  result<void> open_file();
  result<output> open_numbered();
  result<void> flush();
  [[nodiscard]] bool must_rotate(std::int64_t time) const;
  void lose(error cause);

  const std::string path_;
  const recorder_options options_;

  mutable std::mutex mutex_;
  std::condition_variable work_, room_;
  std::vector<std::byte> filling_;
  std::size_t used_ = 0;  ///< of filling_
  bool idle_ = true;      ///< the writer sleeps until it is woken
  bool closing_ = false;
  recorder_counts counts_;
  std::optional<error> failure_;           ///< of now
  std::optional<error> loss_;              ///< the first that a packet was lost by
  std::unordered_set<std::string> names_;  ///< which stay where they are, for the writer to read
  std::array<known_name, 4> last_names_;   ///< of waiting::names

  // The writer's own.
  descriptor opened_;  ///< until file_ has it
  std::vector<std::byte> writing_;
  std::optional<output> file_;
  block_writer blocks_;
  std::uint64_t in_buffer_ = 0;             ///< packets that file_ has and could not write yet
  std::uint64_t written_ = 0;               ///< packets
  std::uint64_t written_before_ = 0;        ///< bytes of earlier files
  std::optional<std::int64_t> first_time_;  ///< the earliest in file_
  std::optional<std::uint64_t> number_;     ///< of file_, where they are numbered

  std::thread writer_;
};

// ---- in the threads of the program

const std::string* recorder::core::name_of(std::uint32_t index, known_name& last) {
  if (index == 0) return nullptr;
  const std::string_view name = options_.interface_name ? options_.interface_name(index) : std::string_view();
  // Asked anew, as interfaces are renamed; but most often it is what it was.
  if (last.index == index && (name.empty() || *last.name == name)) return last.name;
  last = {index, &*names_.insert(name.empty() ? "if" + std::to_string(index) : std::string(name)).first};
  return last.name;
}

bool recorder::core::record(const packet& which, const verdict& given, const record_times& times) {
  const bytes replacement = given.payload();
  const std::size_t size = sizeof(waiting) + which.l2_header.size() + which.payload.size() + replacement.size();
  constexpr std::size_t alignment = alignof(waiting);
  const std::size_t space = (size + alignment - 1) / alignment * alignment;
  const std::int64_t time = time_of(which, times);

  std::unique_lock lock(mutex_);
  if (space > filling_.size() - used_ && options_.wait_when_full && space <= filling_.size()) {
    work_.notify_one();
    room_.wait(lock, [&] { return space <= filling_.size() - used_ || closing_; });
  }
  if (closing_ || space > filling_.size() - used_) {
    ++counts_.lost;
    return false;
  }
  auto* entry = new (filling_.data() + used_)
      waiting{.size = space,
              .about = which,
              .given = given,
              .time = time,
              .took = times.took,
              .names = {name_of(which.indev, last_names_[0]), name_of(which.outdev, last_names_[1]),
                        name_of(which.physindev, last_names_[2]), name_of(which.physoutdev, last_names_[3])}};
  std::byte* at = filling_.data() + used_ + sizeof(waiting);
  const auto keep = [&](bytes view) {
    if (!view.empty()) std::memcpy(at, view.data(), view.size());
    at += view.size();
    return bytes(at - view.size(), view.size());
  };
  entry->about.l2_header = keep(which.l2_header);
  entry->about.payload = keep(which.payload);
  entry->given = given.with_payload(keep(replacement));
  entry->about.conntrack = {};
  entry->about.security_context = {};
  const std::size_t before = used_;
  used_ += space;
  ++counts_.recorded;
  const std::size_t half = filling_.size() / 2;
  if (idle_ || (before < half && used_ >= half)) {
    idle_ = false;
    lock.unlock();
    work_.notify_one();
  }
  return true;
}

result<void> recorder::core::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  work_.notify_one();
  room_.notify_all();
  if (writer_.joinable()) writer_.join();
  const std::lock_guard lock(mutex_);
  if (failure_) return std::unexpected(*failure_);
  if (loss_) return std::unexpected(*loss_);
  return {};
}

result<void> recorder::core::begin() {
  if (const auto opened = open_file(); !opened) return opened;
  if (const auto flushed = flush(); !flushed) return flushed;
  // The program's signals are for its own threads.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    writer_ = std::thread([this] { run(); });
  } catch (const std::system_error& refused) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return failed("start recorder", refused.code().value());
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return {};
}

// ---- in the writer's

void recorder::core::run() noexcept {
  for (;;) {
    std::size_t used = 0;
    bool last = false;
    {
      std::unique_lock lock(mutex_);
      idle_ = used_ == 0;
      work_.wait(lock, [&] { return used_ != 0 || closing_; });
      // Woken by the first packet, it lets others come: a wake-up is dear to whoever gives it.
      work_.wait_for(lock, gathering, [&] { return used_ >= filling_.size() / 2 || closing_; });
      idle_ = false;
      std::swap(filling_, writing_);
      used = std::exchange(used_, 0);
      last = closing_;
    }
    room_.notify_all();
    write_waiting(used);
    if (last) break;
  }
  const std::lock_guard lock(mutex_);
  counts_.lost += in_buffer_;
  counts_.recorded -= in_buffer_;
}

void recorder::core::write_waiting(std::size_t used) {
  for (std::size_t at = 0; at < used;) {
    // The bytes moved when the two buffers were exchanged only in name: their views hold.
    const std::size_t size = std::launder(reinterpret_cast<waiting*>(writing_.data() + at))->size;
    write(writing_.data() + at);
    at += size;
  }
  static_cast<void>(flush());
}

void recorder::core::write(std::byte* at) {
  const waiting& entry = *std::launder(reinterpret_cast<waiting*>(at));
  try {
    if (must_rotate(entry.time)) {
      if (const auto flushed = flush(); !flushed) return lose(flushed.error());
      written_before_ += file_->size();
      file_.reset();
    }
    if (!file_) {
      if (const auto opened = open_file(); !opened) return lose(opened.error());
    }
    if (file_->is_full()) {
      if (const auto flushed = flush(); !flushed) return lose(flushed.error());
    }
    const auto name = [&](std::size_t which) {
      return entry.names[which] == nullptr ? std::string_view() : std::string_view(*entry.names[which]);
    };
    blocks_.write(entry.about, entry.given, {.in = name(0), .out = name(1), .physin = name(2), .physout = name(3)},
                  entry.time, entry.took);
    file_->end_record();
    ++in_buffer_;
    // Where the packets' clock goes back, time counts from there.
    first_time_ = std::min(first_time_.value_or(entry.time), entry.time);
  } catch (const std::bad_alloc&) {
    lose(failed("write recording", ENOMEM).error());
  }
}

bool recorder::core::must_rotate(std::int64_t time) const {
  if (!file_ || !first_time_) return false;
  if (options_.rotate_bytes != 0 && file_->size() >= options_.rotate_bytes) return true;
  // Times may be so far apart that the difference is no number of nanoseconds.
  const auto since = static_cast<std::uint64_t>(time) - static_cast<std::uint64_t>(*first_time_);
  return options_.rotate_after.count() != 0 && time > *first_time_ &&
         since >= static_cast<std::uint64_t>(options_.rotate_after.count());
}

/// Behind all that are there, those of others that come up meanwhile included.
result<output> recorder::core::open_numbered() {
  const numbered_files files(path_);
  if (!number_) number_ = files.last();
  for (;;) {
    auto opened = output::create(files.path_of(*number_ + 1));
    if (!opened && !opened.error().is(EEXIST)) return opened;
    ++*number_;
    if (opened) return opened;
  }
}

result<void> recorder::core::open_file() {
  const std::uint64_t number = counts().files + 1;
  auto opened = opened_ ? output::adopt(std::move(opened_)) : rotates(options_) ? open_numbered() : output::open(path_);
  if (!opened) {
    auto made = std::unexpected(opened.error());
    made.error().operation = "open recording";
    return made;
  }
  file_.emplace(*std::move(opened));
  blocks_.begin(*file_);
  first_time_.reset();
  const std::lock_guard lock(mutex_);
  counts_.files = number;
  return {};
}

result<void> recorder::core::flush() {
  if (!file_) return {};
  const auto flushed = file_->flush();
  const std::uint64_t left = file_->records();
  written_ += in_buffer_ - left;
  in_buffer_ = left;
  const std::lock_guard lock(mutex_);
  counts_.bytes = written_before_ + file_->written();
  if (!flushed) {
    failure_ = flushed.error();
    failure_->operation = "write recording";
    if (in_buffer_ != 0) {
      failure_->packet = written_ + 1;
      failure_->offset = file_->written();
    }
    return std::unexpected(*failure_);
  }
  failure_.reset();
  return {};
}

// What waits in the file's buffer may still be written; this packet is not.
void recorder::core::lose(error cause) {
  if (file_) {
    cause.packet = written_ + in_buffer_ + 1;
    cause.offset = file_->size();
  }
  const std::lock_guard lock(mutex_);
  if (!file_) failure_ = cause;
  if (!loss_) loss_ = cause;
  ++counts_.lost;
  --counts_.recorded;
}

// ---- the recorder

recorder::recorder(std::unique_ptr<core> made) noexcept : core_(std::move(made)) {}
recorder::recorder(recorder&&) noexcept = default;
recorder& recorder::operator=(recorder&&) noexcept = default;
recorder::~recorder() = default;

result<recorder> recorder::open(const std::string& path, const recorder_options& options) {
  if (path == "-" && rotates(options)) return refuse("standard output can't rotate");
  return core::start(path, -1, options);
}

result<recorder> recorder::adopt(int fd, const recorder_options& options) {
  if (fd < 0) return failed("open recording", EBADF);
  return core::start({}, fd, options);
}

result<recorder> recorder::core::start(const std::string& path, int fd, const recorder_options& options) {
  descriptor opened(fd);
  if (fd >= 0 && rotates(options)) return refuse("a file that is open already can't rotate");
  if (options.memory < least_memory) return refuse("memory is at least 1 MiB");
  if (options.rotate_after.count() < 0) return refuse("rotate_after is not negative");
  try {
    auto made = std::make_unique<core>(path, std::move(opened), options);
    if (const auto begun = made->begin(); !begun) return std::unexpected(begun.error());
    return recorder(std::move(made));
  } catch (const std::bad_alloc&) {
    return failed("open recording", ENOMEM);
  }
}

bool recorder::record(const packet& which, const verdict& given, const record_times& times) {
  return core_->record(which, given, times);
}
result<void> recorder::close() {
  return core_->close();
}
recorder_counts recorder::counts() const {
  return core_->counts();
}
std::optional<error> recorder::failure() const {
  return core_->failure();
}

}  // namespace ipq
