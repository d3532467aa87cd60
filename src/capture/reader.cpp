// SPDX-License-Identifier: MIT
// The formats are read here and not through libpcap, whose reader of pcapng hides the names of interfaces and the
// comments that hold our verdicts, and refuses files with interfaces of several link types.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <new>
#include <unordered_map>
#include <vector>

#include "capture/format.hpp"
#include "capture/input.hpp"
#include "capture/interface_table.hpp"
#include "capture/ledger.hpp"
#include "capture/link.hpp"
#include "capture/note.hpp"
#include "capture/readiness.hpp"
#include "ipq/capture.hpp"

namespace ipq {

using namespace capture;

namespace {

constexpr std::size_t batch_size = 64;
constexpr std::size_t buffer_size = 256 << 10;
constexpr std::size_t max_head = 16 << 20;
constexpr std::uint8_t last_input_hook = 2;  // prerouting, input and forward know where a packet came from

error fault_of(int code, const char* why) {
  error made = failed("read capture", code).error();
  made.advice = why;
  return made;
}

std::string_view text_of(bytes value) {
  return {reinterpret_cast<const char*>(value.data()), value.size()};
}

}  // namespace

class capture_reader::core {
 public:
  core(input opened, readiness ready, const capture_options& options)
      : options_(options),
        input_(std::move(opened)),
        ready_(std::move(ready)),
        ledger_(std::make_shared<ledger>(options.unanswered)) {
    buffer_.resize(buffer_size);
    packets_.reserve(batch_size);
    frames_.reserve(batch_size);
    answers_.reserve(batch_size);
    originals_.reserve(batch_size);
  }
  core(const core&) = delete;
  core& operator=(const core&) = delete;
  ~core() {
    static_cast<void>(finish_batch());
    ledger_->close();
  }

  /// Reads as far as is needed to know that it is a capture, if that needs no waiting.
  result<void> look_at_beginning();
  /// Before the first receive.
  result<void> open_passed();
  [[nodiscard]] result<batch> receive(clock::time_point deadline, bool wait);
  result<void> set_verdict(const packet& which, const verdict& given);
  [[nodiscard]] result<held_packet> hold(const packet& which);
  result<void> flush() { return ledger_->flush(); }
  result<void> duplicate(const packet& which, bytes copy);
  void stop() noexcept {
    stopped_.store(true, std::memory_order_relaxed);
    ready_.stop();
  }
  [[nodiscard]] int fd() const noexcept { return ready_.fd(); }
  [[nodiscard]] statistics stats() const;
  [[nodiscard]] const capture_frame* frame_of(const packet& which) const noexcept;
  [[nodiscard]] std::string_view interface_name(std::uint32_t index) const noexcept { return names_.name_of(index); }
  [[nodiscard]] capture_counts counts() const noexcept {
    capture_counts now = counts_;
    now.bytes = input_.position();
    now.file_size = input_.size();
    return now;
  }

 private:
  enum class answer : std::uint8_t { undecided, decided, held };
  enum class step : std::uint8_t { done, needs_input, not_due, fault };

  [[nodiscard]] bytes unread() const noexcept { return bytes(buffer_).subspan(begin_, end_ - begin_); }
  result<void> finish_batch();
  step begin();
  step fill();
  step take_other(std::size_t size);
  step take_frame(const frame& found, std::size_t size);
  step take_note(const frame& found, packet& into, capture_frame& about, std::size_t& size);
  bool is_due(std::int64_t time);
  void advance(std::size_t size) noexcept {
    begin_ += size;
    offset_ += size;
  }
  result<void> read_more();
  void set_readiness(step where) noexcept;
  step fault(error what) {
    fault_ = what;
    return step::fault;
  }
  step damaged(const char* why) {
    error made = fault_of(EBADMSG, why);
    made.packet = counts_.frames + 1;
    made.offset = offset_;
    return fault(made);
  }
  [[nodiscard]] std::uint32_t interface_of(const frame& found, const link_result& link);
  [[nodiscard]] std::optional<std::size_t> find(const packet& which) const noexcept;
  result<std::size_t> find_undecided(const packet& which, const char* operation) const noexcept;

  const capture_options options_;
  input input_;
  readiness ready_;
  std::atomic<bool> stopped_ = false;
  std::unique_ptr<format> format_;
  bool pcapng_ = false;
  bool begun_ = false;  ///< what stands before all packets is read
  std::shared_ptr<section> section_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0, end_ = 0;  ///< what of buffer_ is still to be looked at
  std::size_t needed_ = 0;           ///< bytes of the next record, as far as that is known
  std::uint64_t offset_ = 0;         ///< of begin_ in the file
  std::uint64_t skip_ = 0;           ///< bytes of a block that is passed over
  bool at_end_ = false;
  std::optional<error> fault_;  ///< to be told when all before it is
  bool ended_ = false;

  std::vector<packet> packets_;
  std::vector<capture_frame> frames_;  ///< of packets_, each at the same index, as the next two
  std::vector<answer> answers_;
  std::vector<original> originals_;  ///< only where something is written
  std::size_t undecided_ = 0;
  tally tally_;
  std::uint64_t received_ = 0;
  capture_counts counts_;
  std::uint32_t last_unknown_link_ = 0;

  interface_table names_;
  std::vector<std::uint32_t> indices_;                         ///< of the section's interfaces
  std::unordered_map<std::uint32_t, std::uint32_t> captured_;  ///< by the index that a frame itself has (cooked 2)

  bool paced_ = false;  ///< the time of the first packet is known
  std::int64_t first_time_ = 0;
  clock::time_point started_{};
  clock::time_point due_{};  ///< when the next packet is

  std::shared_ptr<ledger> ledger_;
};

// ---- reading

/// The format, and what of it stands before all packets.
auto capture_reader::core::begin() -> step {
  if (!format_) {
    needed_ = magic_size;
    if (unread().size() < magic_size && !at_end_) return step::needs_input;
    auto found = find_format(unread());
    if (!found) return fault(found.error());
    pcapng_ = load<std::uint32_t>(unread().data()) == block::section;
    format_ = std::move(*found);
    section_ = std::make_shared<section>();
  }
  if (pcapng_) {
    begun_ = true;
    return step::done;
  }
  frame none;
  const auto header = format_->next(unread(), none);
  needed_ = header.size;
  if (header.what == format::kind::more && !at_end_) return step::needs_input;
  if (header.what == format::kind::more) return fault(fault_of(EBADMSG, "the file ends within its header"));
  if (header.what == format::kind::damaged) return fault(fault_of(EBADMSG, format_->fault()));
  const std::uint32_t link = format_->interfaces()[0].link_type;
  if (!is_known(link)) return fault(fault_of(EPROTONOSUPPORT, describe_unknown(link)));
  begun_ = true;
  return take_other(header.size);
}

result<void> capture_reader::core::look_at_beginning() {
  while (!input_.waits()) {
    const auto where = begin();
    if (where == step::fault) return std::unexpected(*fault_);
    if (where == step::done) break;
    if (const auto read = read_more(); !read) return read;
  }
  set_readiness(input_.waits() ? step::needs_input : step::done);
  return {};
}

result<void> capture_reader::core::open_passed() {
  auto opened = output::open(options_.passed, input_.fd());
  if (!opened) return std::unexpected(opened.error());
  ledger_->write_to(passed(*std::move(opened)));
  if (section_ && !section_->head.empty()) ledger_->add_to_head(section_, {});
  return {};
}

result<void> capture_reader::core::read_more() {
  // Views into the buffer have ended: it is only called without a batch.
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= std::exchange(begin_, 0);
  if (needed_ > buffer_.size()) buffer_.resize(needed_);
  const auto count = input_.read(std::span(buffer_).subspan(end_));
  if (!count) return std::unexpected(count.error());
  end_ += *count;
  at_end_ = *count == 0;
  return {};
}

auto capture_reader::core::fill() -> step {
  if (!begun_) {
    if (const auto where = begin(); where != step::done) return where;
  }
  while (packets_.size() < batch_size) {
    const bytes rest = unread();
    if (skip_ != 0) {
      const auto passed_over = static_cast<std::size_t>(std::min<std::uint64_t>(skip_, rest.size()));
      skip_ -= passed_over;
      advance(passed_over);
      needed_ = 1;
      if (skip_ != 0 && !at_end_) return step::needs_input;
      if (skip_ != 0) return damaged("the file ends here, within a block: it is cut, or still being written");
      continue;
    }
    // A new section forgets the interfaces of the one before, whose packets may still be in the batch.
    if (pcapng_ && !packets_.empty() && rest.size() >= 4 && load<std::uint32_t>(rest.data()) == block::section) break;
    frame found;
    const auto record = format_->next(rest, found);
    switch (record.what) {
      case format::kind::frame:
        if (options_.pace > 0 && !is_due(found.time)) return step::not_due;
        if (const auto taken = take_frame(found, record.size); taken != step::done) return taken;
        break;
      case format::kind::other:
        if (const auto taken = take_other(record.size); taken != step::done) return taken;
        break;
      case format::kind::more:
        needed_ = record.size;
        if (!at_end_) return step::needs_input;
        if (!rest.empty()) return damaged("the file ends here, within a record: it is cut, or still being written");
        if (counts_.frames != 0 && counts_.frames == counts_.unknown_link) {
          return fault(fault_of(EPROTONOSUPPORT, describe_unknown(last_unknown_link_)));
        }
        ended_ = true;
        return step::done;
      case format::kind::damaged:
        return damaged(format_->fault());
    }
  }
  return step::done;
}

auto capture_reader::core::take_other(std::size_t size) -> step {
  if (size > max_record) {
    skip_ = size;
    return step::done;
  }
  const bytes record = unread().first(size);
  const std::uint32_t type =
      pcapng_ ? in_order(load<std::uint32_t>(record.data()), format_->swapped()) : block::section;
  const bool is_interface = pcapng_ && type == block::interface;
  if (type == block::section) {
    section_ = std::make_shared<section>();
    section_->pcapng = pcapng_;
    section_->swapped = format_->swapped();
    indices_.clear();
    captured_.clear();
  }
  if (type == block::section || is_interface) {
    if (section_->head.size() + size > max_head) return damaged("a section that describes interfaces with over 16 MiB");
    section_->head.insert(section_->head.end(), record.begin(), record.end());
  }
  if (type == block::section && pcapng_) {
    // How long the section was; it may be shorter now.
    std::memset(section_->head.data() + 16, 0xff, 8);
  }
  if (type == block::section ? !pcapng_ : is_interface) {
    const auto& name = format_->interfaces().back().name;
    indices_.push_back(names_.index_of(name.empty() ? options_.interface : name));
  }
  if (ledger_->writes()) {
    if (type == block::section || is_interface) {
      ledger_->add_to_head(section_, record);
    } else if (type != block::interface_statistics && type != block::custom_not_to_copy) {
      ledger_->add(section_, record);
    }
  }
  advance(size);
  return step::done;
}

bool capture_reader::core::is_due(std::int64_t time) {
  const auto now = clock::now();
  if (!paced_) {
    paced_ = true;
    first_time_ = time;
    started_ = now;
  }
  // A century is as good as for ever, and can be added to a time.
  constexpr double most = 100.0 * 365 * 24 * 3600 * 1e9;
  const double since = (static_cast<double>(time) - static_cast<double>(first_time_)) / options_.pace;
  due_ = started_ + std::chrono::nanoseconds(static_cast<std::int64_t>(std::clamp(since, 0.0, most)));
  return due_ <= now;
}

std::uint32_t capture_reader::core::interface_of(const frame& found, const link_result& link) {
  if (link.interface_index == 0) return indices_[found.interface];
  const auto [known, fresh] = captured_.try_emplace(link.interface_index, 0);
  if (fresh) {
    known->second = names_.index_of("if" + std::to_string(link.interface_index));
    if (captured_.size() > interface_table::most) captured_.clear();
  }
  return known->second;
}

auto capture_reader::core::take_frame(const frame& found, std::size_t size) -> step {
  const std::uint32_t link_type = format_->interfaces()[found.interface].link_type;
  packet& each = packets_.emplace_back();
  const auto link = parse_link(link_type, found.data, found.original_length, format_->swapped(), each);
  if (link.kind != frame_kind::ip) {
    packets_.pop_back();
    ++counts_.frames;
    if (!is_known(link_type)) {
      ++counts_.unknown_link;
      last_unknown_link_ = link_type;
    } else {
      ++(link.kind == frame_kind::malformed ? counts_.malformed : counts_.not_ip);
    }
    advance(size);
    return step::done;
  }
  each.hook = options_.hook;
  const std::uint32_t interface = interface_of(found, link);
  (each.hook <= last_input_hook ? each.indev : each.outdev) = interface;
  capture_frame& frame = frames_.emplace_back();
  std::size_t frames = 1;
  if (!found.options.empty()) [[unlikely]] {
    const std::size_t first = size;
    if (const auto noted = take_note(found, each, frame, size); noted != step::done) {
      packets_.pop_back();
      frames_.pop_back();
      return noted;
    }
    frames += size != first ? 1 : 0;
  }
  each.id = static_cast<std::uint32_t>(++received_);
  std::int64_t seconds = found.time / 1'000'000'000, rest = found.time % 1'000'000'000;
  if (rest < 0) [[unlikely]] {
    --seconds;
    rest += 1'000'000'000;
  }
  each.timestamp = packet_time{seconds, rest / 1000};
  frame.number = counts_.frames + 1;
  frame.offset = offset_;
  frame.time = std::chrono::nanoseconds(found.time);
  if (ledger_->writes()) {
    const bytes record = unread().first(size);
    originals_.push_back({.record = record,
                          .frame_at = static_cast<std::uint32_t>(found.data.data() - record.data()),
                          .link_size = link.header,
                          .interface = found.interface,
                          .options = found.options});
  }
  answers_.push_back(answer::undecided);
  counts_.frames += frames;
  advance(size);
  return step::done;
}

/// What a recording says of the packet. Where it was changed, the packet that replaced it is taken, too.
auto capture_reader::core::take_note(const frame& found, packet& into, capture_frame& about, std::size_t& size)
    -> step {
  std::optional<note> noted;
  bytes options = found.options;
  for (option each{}; !noted && next_option(options, format_->swapped(), each);) {
    if (each.code == option_code::comment) noted = parse_note(text_of(each.value));
  }
  if (!noted) return step::done;
  if (noted->changed) {
    const bytes rest = unread().subspan(size);
    const bool whole = rest.size() >= 8;
    if (whole && load<std::uint32_t>(rest.data(), format_->swapped()) == block::packet) {
      frame next;
      const auto record = format_->next(rest, next);
      if (record.what == format::kind::more && !at_end_) {
        needed_ = size + record.size;
        return step::needs_input;
      }
      option each{};
      bytes next_options = next.options;
      if (record.what == format::kind::frame && next_option(next_options, format_->swapped(), each) &&
          each.code == option_code::comment && parse_replacement_note(text_of(each.value)) == noted->about.id) {
        // Not parsed: it need not be IP any more.
        const std::size_t link = static_cast<std::size_t>(into.payload.data() - found.data.data());
        noted->given = noted->given.with_payload(next.data.subspan(std::min(link, next.data.size())));
        size += record.size;
      }
    } else if (!whole && !at_end_) {
      needed_ = size + 8;
      return step::needs_input;
    }
  }
  about.recorded = recorded_verdict{.given = noted->given, .id = noted->about.id, .took = noted->took};
  const packet& was = noted->about;
  into.queue = was.queue;
  into.hook = was.hook;
  into.mark = was.mark;
  into.priority = was.priority;
  into.uid = was.uid;
  into.gid = was.gid;
  into.cgroup_classid = was.cgroup_classid;
  into.conntrack_info = was.conntrack_info;
  into.gso = was.gso;
  into.checksum_not_ready = was.checksum_not_ready;
  into.checksum_not_verified = was.checksum_not_verified;
  if (!noted->link_header) {
    into.hw_addr = was.hw_addr;
    into.hw_addr_length = was.hw_addr_length;
    into.l2_header = {};
  }
  into.indev = names_.index_of(parse_name(noted->names.in));
  into.outdev = names_.index_of(parse_name(noted->names.out));
  into.physindev = names_.index_of(parse_name(noted->names.physin));
  into.physoutdev = names_.index_of(parse_name(noted->names.physout));
  return step::done;
}

result<batch> capture_reader::core::receive(clock::time_point deadline, bool wait_for_it) {
  if (const auto finished = finish_batch(); !finished) return std::unexpected(finished.error());
  packets_.clear();
  frames_.clear();
  answers_.clear();
  originals_.clear();
  for (;;) {
    if (stopped_.load(std::memory_order_relaxed)) return failed("receive", ECANCELED);
    if (fault_) {
      ended_ = true;
      ready_.set_ready();
      return std::unexpected(*std::exchange(fault_, std::nullopt));
    }
    if (ended_) {
      if (const auto flushed = flush(); !flushed) return std::unexpected(flushed.error());
      return failed("receive", ENODATA);
    }
    const auto where = fill();
    if (!packets_.empty()) {
      undecided_ = packets_.size();
      set_readiness(where);
      return batch(packets_, {});
    }
    if (where == step::needs_input) {
      const auto read = read_more();
      if (read) continue;
      if (!read.error().is(EAGAIN)) {
        error what = read.error();
        what.packet = counts_.frames + 1;
        what.offset = offset_ + unread().size();
        fault_ = what;
        continue;
      }
    }
    set_readiness(where);
    if (where == step::done || where == step::fault) continue;
    if (!wait_for_it) return failed("receive", ETIMEDOUT);
    if (const auto waited = ready_.wait(deadline); !waited) return std::unexpected(waited.error());
  }
}

void capture_reader::core::set_readiness(step where) noexcept {
  if (where == step::not_due) return ready_.set_ready_at(due_);
  if (where == step::needs_input && input_.waits()) return ready_.await_input();
  ready_.set_ready();
}

// ---- verdicts

result<void> capture_reader::core::finish_batch() {
  if (undecided_ != 0) {
    for (std::size_t i = 0; i < answers_.size(); ++i) {
      if (answers_[i] != answer::undecided) continue;
      answers_[i] = answer::decided;
      --undecided_;
      tally_.count(options_.unanswered);
      ++tally_.unanswered;
      // What can't be written stays in the ledger; make_room says so.
      if (ledger_->writes()) static_cast<void>(ledger_->write(section_, originals_[i], options_.unanswered));
    }
  }
  return ledger_->make_room();
}

std::optional<std::size_t> capture_reader::core::find(const packet& which) const noexcept {
  const std::less<const packet*> before;
  if (!packets_.empty() && !before(&which, packets_.data()) && before(&which, packets_.data() + packets_.size())) {
    return static_cast<std::size_t>(&which - packets_.data());
  }
  // A copy of the packet.
  const auto same = std::ranges::find(packets_, which.id, &packet::id);
  if (same == packets_.end()) return std::nullopt;
  return static_cast<std::size_t>(same - packets_.begin());
}

result<std::size_t> capture_reader::core::find_undecided(const packet& which, const char* operation) const noexcept {
  const auto found = find(which);
  if (!found) return failed(operation, EINVAL);
  if (answers_[*found] != answer::undecided) return failed(operation, EALREADY);
  return *found;
}

result<void> capture_reader::core::set_verdict(const packet& which, const verdict& given) {
  const auto found = find_undecided(which, "set verdict");
  if (!found) return std::unexpected(found.error());
  if (given.payload().size() > verdict::max_payload) return failed("set verdict", EINVAL);
  if (!given.payload().empty() && packets_[*found].truncated) return failed("set verdict", EMSGSIZE);
  result<void> written;
  if (ledger_->writes()) {
    written = ledger_->write(section_, originals_[*found], given);
    if (!written && !given.payload().empty()) return written;
  }
  answers_[*found] = answer::decided;
  --undecided_;
  tally_.count(given);
  return written;
}

result<held_packet> capture_reader::core::hold(const packet& which) {
  const auto found = find_undecided(which, "hold packet");
  if (!found) return std::unexpected(found.error());
  try {
    ledger_->hold(packets_[*found].id, section_, ledger_->writes() ? originals_[*found] : original{});
  } catch (const std::bad_alloc&) {
    return failed("hold packet", ENOMEM);
  }
  answers_[*found] = answer::held;
  --undecided_;
  return held_packet(ledger_, packets_[*found].id, packets_[*found].truncated);
}

result<void> capture_reader::core::duplicate(const packet& which, bytes copy) {
  const auto found = find(which);
  if (!found || answers_[*found] == answer::undecided || copy.size() > verdict::max_payload) {
    return failed("duplicate packet", EINVAL);
  }
  if (answers_[*found] == answer::held) return ledger_->add_copy(packets_[*found].id, copy);
  if (!ledger_->writes()) return {};
  return ledger_->write(section_, originals_[*found], verdict::accept().with_payload(copy));
}

statistics capture_reader::core::stats() const {
  const tally held = ledger_->of_held();
  statistics now{.received = received_,
                 .accepted = tally_.accepted + held.accepted,
                 .dropped = tally_.dropped + held.dropped,
                 .repeated = tally_.repeated + held.repeated,
                 .stopped = tally_.stopped + held.stopped,
                 .requeued = tally_.requeued + held.requeued,
                 .unanswered = tally_.unanswered + held.unanswered,
                 .malformed = counts_.malformed};
  now.undecided = received_ - now.accepted - now.dropped - now.repeated - now.stopped - now.requeued;
  return now;
}

const capture_frame* capture_reader::core::frame_of(const packet& which) const noexcept {
  const auto found = find(which);
  return found ? &frames_[*found] : nullptr;
}

// ---- the reader

capture_reader::capture_reader(std::unique_ptr<core> made) noexcept : core_(std::move(made)) {}
capture_reader::capture_reader(capture_reader&&) noexcept = default;
capture_reader& capture_reader::operator=(capture_reader&&) noexcept = default;
capture_reader::~capture_reader() = default;

result<capture_reader> capture_reader::open(const std::string& path, const capture_options& options) {
  const auto refuse = [](const char* advice) {
    auto made = failed("open capture", EINVAL);
    made.error().advice = advice;
    return made;
  };
  if (options.hook > 4) return refuse("hook is 0 to 4");
  if (!(options.pace >= 0) || !std::isfinite(options.pace)) return refuse("pace is 0 or more");
  if (!options.unanswered.payload().empty()) return refuse("unanswered can't have a payload");
  auto opened = input::open(path);
  if (!opened) return std::unexpected(opened.error());
  auto ready = readiness::create(opened->waits() ? opened->fd() : -1);
  if (!ready) return std::unexpected(ready.error());
  try {
    auto made = std::make_unique<core>(*std::move(opened), *std::move(ready), options);
    if (const auto begun = made->look_at_beginning(); !begun) return std::unexpected(begun.error());
    // Only now: what is no capture leaves the output as it was.
    if (!options.passed.empty()) {
      if (const auto writing = made->open_passed(); !writing) return std::unexpected(writing.error());
    }
    return capture_reader(std::move(made));
  } catch (const std::bad_alloc&) {
    return failed("open capture", ENOMEM);
  }
}

result<batch> capture_reader::receive(clock::time_point deadline) & {
  return core_->receive(deadline, true);
}
result<batch> capture_reader::try_receive() & {
  return core_->receive({}, false);
}
result<void> capture_reader::set_verdict(const packet& which, const verdict& given) {
  return core_->set_verdict(which, given);
}
result<held_packet> capture_reader::hold(const packet& which) {
  return core_->hold(which);
}
result<void> capture_reader::flush() {
  return core_->flush();
}
result<void> capture_reader::duplicate(const packet& which, std::span<const std::byte> copy) {
  return core_->duplicate(which, copy);
}
void capture_reader::stop() noexcept {
  core_->stop();
}
int capture_reader::fd() const noexcept {
  return core_->fd();
}
statistics capture_reader::stats() const {
  return core_->stats();
}
const capture_frame* capture_reader::frame_of(const packet& which) const noexcept {
  return core_->frame_of(which);
}
std::string_view capture_reader::interface_name(std::uint32_t index) const noexcept {
  return core_->interface_name(index);
}
capture_counts capture_reader::counts() const noexcept {
  return core_->counts();
}

}  // namespace ipq
