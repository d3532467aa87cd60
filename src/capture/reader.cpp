// SPDX-License-Identifier: MIT
// The formats are read here and not through libpcap, whose reader of pcapng hides the names of interfaces and the
// comments that hold our verdicts, and refuses files with interfaces of several link types.
#include <atomic>
#include <cerrno>
#include <cmath>
#include <new>
#include <vector>

#include "capture/format.hpp"
#include "capture/interface_table.hpp"
#include "capture/link.hpp"
#include "capture/note.hpp"
#include "capture/open_batch.hpp"
#include "capture/pace.hpp"
#include "capture/readiness.hpp"
#include "capture/window.hpp"
#include "ipq/capture.hpp"

namespace ipq {

using namespace capture;

namespace {

constexpr std::size_t max_head = 16 << 20;   // and of one block that is copied
constexpr std::uint8_t last_input_hook = 2;  // prerouting, input and forward know where a packet came from

error fault_of(int code, const char* why) {
  error made = failed("read capture", code).error();
  made.advice = why;
  return made;
}

/// Nanoseconds since 1970.
packet_time to_packet_time(std::int64_t time) noexcept {
  std::int64_t seconds = time / 1'000'000'000, rest = time % 1'000'000'000;
  if (rest < 0) [[unlikely]] {
    --seconds;
    rest += 1'000'000'000;
  }
  return {seconds, rest / 1000};
}

}  // namespace

class capture_reader::core {
 public:
  core(input opened, readiness ready, const capture_options& options)
      : options_(options),
        window_(std::move(opened)),
        ready_(std::move(ready)),
        pace_(options.pace),
        batch_(options.unanswered) {}
  core(const core&) = delete;
  core& operator=(const core&) = delete;
  ~core() = default;

  /// Reads as far as is needed to know that it is a capture, if that needs no waiting.
  result<void> look_at_beginning();
  /// Before the first receive.
  result<void> open_passed();
  [[nodiscard]] batch_result receive(clock::time_point deadline, bool wait);
  void stop() noexcept {
    stopped_.store(true, std::memory_order_relaxed);
    ready_.stop();
  }
  [[nodiscard]] open_batch& handed_out() noexcept { return batch_; }
  [[nodiscard]] int fd() const noexcept { return ready_.fd(); }
  [[nodiscard]] statistics stats() const;
  [[nodiscard]] std::string_view interface_name(std::uint32_t index) const noexcept {
    return interfaces_.name_of(index);
  }
  [[nodiscard]] capture_counts counts() const noexcept {
    capture_counts now = counts_;
    now.bytes = window_.file().position();
    now.file_size = window_.file().size();
    return now;
  }

 private:
  enum class step : std::uint8_t { done, needs_input, not_due, fault };

  step begin();
  step fill();
  step take_other(std::size_t size);
  step take_frame(const frame& found, std::size_t size);
  step pass_over_frame(frame_kind what, std::uint32_t link_type, std::size_t size);
  [[nodiscard]] std::optional<note> find_note(const frame& of) const;
  step take_note(note noted, const frame& found, packet& into, capture_frame& about, std::size_t& size);
  void set_readiness(step where) noexcept;
  /// rest() is not enough: `size` bytes would be.
  step need(std::size_t size) noexcept {
    window_.need(size);
    return step::needs_input;
  }
  step fault(error what) {
    fault_ = what;
    return step::fault;
  }
  step damaged(const char* why) {
    error made = fault_of(EBADMSG, why);
    made.packet = counts_.frames + 1;
    made.offset = window_.offset();
    return fault(made);
  }

  const capture_options options_;
  window window_;
  readiness ready_;
  std::atomic<bool> stopped_ = false;
  std::unique_ptr<format> format_;
  bool pcapng_ = false;
  bool begun_ = false;  ///< what stands before all packets is read
  std::shared_ptr<section> section_;
  interface_table interfaces_;
  pace pace_;
  open_batch batch_;
  std::uint64_t received_ = 0;
  capture_counts counts_;
  std::uint32_t unknown_link_ = 0;    ///< of the first frame with one
  std::uint64_t unknown_offset_ = 0;  ///< of that frame
  std::optional<error> fault_;        ///< to be told when all before it is
  bool ended_ = false;
};

/// The format, and what of it stands before all packets.
auto capture_reader::core::begin() -> step {
  if (!format_) {
    if (window_.rest().size() < magic_size && !window_.at_end()) return need(magic_size);
    auto found = find_format(window_.rest());
    if (!found) return fault(found.error());
    pcapng_ = load<std::uint32_t>(window_.rest().data()) == block::section;
    format_ = std::move(*found);
    section_ = std::make_shared<section>();
  }
  if (pcapng_) {
    begun_ = true;
    return step::done;
  }
  frame none;
  const auto header = format_->next(window_.rest(), none);
  if (header.what == format::kind::more && !window_.at_end()) return need(header.size);
  if (header.what == format::kind::more) return fault(fault_of(EBADMSG, "the file ends within its header"));
  if (header.what == format::kind::damaged) return fault(fault_of(EBADMSG, format_->fault()));
  const std::uint32_t link = format_->interfaces()[0].link_type;
  if (!is_known(link)) return fault(fault_of(EPROTONOSUPPORT, describe_unknown(link)));
  begun_ = true;
  return take_other(header.size);
}

result<void> capture_reader::core::look_at_beginning() {
  while (!window_.file().waits()) {
    const auto where = begin();
    if (where == step::fault) return std::unexpected(*fault_);
    if (where == step::done) break;
    if (const auto read = window_.read_more(); !read) return read;
  }
  set_readiness(window_.file().waits() ? step::needs_input : step::done);
  return {};
}

result<void> capture_reader::core::open_passed() {
  auto opened = output::open(options_.passed, window_.file().fd());
  if (!opened) return std::unexpected(opened.error());
  batch_.written().write_to(passed(*std::move(opened)));
  if (section_ && !section_->head.empty()) batch_.written().begin(section_);
  return {};
}

auto capture_reader::core::fill() -> step {
  if (!begun_) {
    if (const auto where = begin(); where != step::done) return where;
  }
  while (batch_.packets().size() < open_batch::most) {
    if (!window_.skipped()) [[unlikely]] {
      if (!window_.at_end()) return step::needs_input;
      return damaged("the file ends here, within a block: it is cut, or still being written");
    }
    const bytes rest = window_.rest();
    // A new section forgets the interfaces of the one before, whose packets may still be in the batch.
    if (pcapng_ && !batch_.packets().empty() && rest.size() >= 4 && load<std::uint32_t>(rest.data()) == block::section)
      break;
    frame found;
    const auto record = format_->next(rest, found);
    switch (record.what) {
      case format::kind::frame:
        if (found.has_time && !pace_.is_due(found.time)) return step::not_due;
        if (const auto taken = take_frame(found, record.size); taken != step::done) return taken;
        break;
      case format::kind::other:
        if (const auto taken = take_other(record.size); taken != step::done) return taken;
        // Also where the file has no packets for long.
        if (batch_.written().is_full()) return step::done;
        break;
      case format::kind::more:
        if (!window_.at_end()) return need(record.size);
        if (!rest.empty()) return damaged("the file ends here, within a record: it is cut, or still being written");
        if (counts_.frames != 0 && counts_.frames == counts_.unknown_link) {
          error unknown = fault_of(EPROTONOSUPPORT, describe_unknown(unknown_link_));
          unknown.packet = 1;
          unknown.offset = unknown_offset_;
          return fault(unknown);
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
  const std::uint32_t type =
      pcapng_ ? in_order(load<std::uint32_t>(window_.rest().data()), format_->swapped()) : block::section;
  const bool copies = batch_.writes() && type != block::interface_statistics && type != block::custom_not_to_copy;
  if (size > max_record && (!copies || size > max_head)) {
    counts_.left_out += copies ? 1 : 0;
    window_.skip(size);
    return step::done;
  }
  if (window_.rest().size() < size) {
    if (!window_.at_end()) return need(size);
    return damaged("the file ends here, within a block: it is cut, or still being written");
  }
  const bytes record = window_.rest().first(size);
  if (size > max_record && load<std::uint32_t>(record.data() + size - 4, format_->swapped()) != size) {
    return damaged("a block whose two lengths differ");
  }
  const bool is_interface = pcapng_ && type == block::interface;
  if (type == block::section) {
    section_ = std::make_shared<section>();
    section_->pcapng = pcapng_;
    section_->swapped = format_->swapped();
    interfaces_.begin_section();
    batch_.begin_section(section_);
  }
  if (type == block::section || is_interface) {
    if (section_->head.size() + size > max_head) return damaged("a section that describes interfaces with over 16 MiB");
    batch_.written().grow_head(section_, record);
  } else if (copies) {
    batch_.written().add(section_, record);
  }
  if (type == block::section ? !pcapng_ : is_interface) {
    const auto& name = format_->interfaces().back().name;
    interfaces_.add_to_section(name.empty() ? options_.interface : name);
  }
  window_.advance(size);
  return step::done;
}

auto capture_reader::core::pass_over_frame(frame_kind what, std::uint32_t link_type, std::size_t size) -> step {
  batch_.take_back();
  ++counts_.frames;
  if (!is_known(link_type)) {
    if (counts_.unknown_link++ == 0) {
      unknown_link_ = link_type;
      unknown_offset_ = window_.offset();
    }
  } else {
    ++(what == frame_kind::malformed ? counts_.malformed : counts_.not_ip);
  }
  window_.advance(size);
  return step::done;
}

auto capture_reader::core::take_frame(const frame& found, std::size_t size) -> step {
  const std::uint32_t link_type = format_->interfaces()[found.interface].link_type;
  packet& each = batch_.add_packet();
  const auto link = parse_link(link_type, found.data, found.original_length, format_->swapped(), each);
  auto noted = found.options.empty() || !link.whole ? std::nullopt : find_note(found);
  // What was judged is a packet, whatever it carries: a bridge's queue has more than IP.
  if (link.kind != frame_kind::ip && !noted) return pass_over_frame(link.kind, link_type, size);
  each.hook = options_.hook;
  (each.hook <= last_input_hook ? each.indev : each.outdev) = link.interface_index == 0
                                                                  ? interfaces_.in_section(found.interface)
                                                                  : interfaces_.of_captured(link.interface_index);
  capture_frame& frame = batch_.add_frame();
  // What passes is the packet alone, and not what replaced it once.
  const bytes record = window_.rest().first(size);
  std::size_t frames = 1;
  if (noted) [[unlikely]] {
    // With all that it had behind it.
    each.payload = found.data.subspan(link.header);
    each.original_length = found.original_length - link.header;
    each.truncated = each.payload.size() < each.original_length;
    if (const auto taken = take_note(*std::move(noted), found, each, frame, size); taken != step::done) {
      batch_.take_back();
      return taken;
    }
    frames += size != record.size() ? 1 : 0;
  }
  each.id = static_cast<std::uint32_t>(++received_);
  each.timestamp = to_packet_time(found.time);
  frame.number = counts_.frames + 1;
  frame.offset = window_.offset();
  frame.time = std::chrono::nanoseconds(found.time);
  batch_.complete({.record = record,
                   .frame_at = static_cast<std::uint32_t>(found.data.data() - record.data()),
                   .size = static_cast<std::uint32_t>(found.data.size()),
                   .link_size = link.header,
                   .interface = found.interface,
                   .check_size = format_->interfaces()[found.interface].check_size,
                   .options = found.options,
                   .recorded = frame.recorded.has_value(),
                   .number = frame.number,
                   .offset = frame.offset});
  counts_.frames += frames;
  window_.advance(size);
  return step::done;
}

/// What a recording says of the packet.
std::optional<note> capture_reader::core::find_note(const frame& of) const {
  std::optional<note> noted;
  bytes options = of.options;
  for (option each{}; !noted && next_option(options, format_->swapped(), each);) {
    if (each.code == option_code::comment) noted = parse_note(text_of(each.value));
  }
  return noted;
}

/// Where the packet was changed, the one that replaced it is taken, too.
auto capture_reader::core::take_note(note noted, const frame& found, packet& into, capture_frame& about,
                                     std::size_t& size) -> step {
  if (noted.changed) {
    const bytes rest = window_.rest().subspan(size);
    const bool whole = rest.size() >= 8;
    if (whole && load<std::uint32_t>(rest.data(), format_->swapped()) == block::packet) {
      frame next;
      const auto record = format_->next(rest, next);
      if (record.what == format::kind::more && !window_.at_end()) return need(size + record.size);
      option each{};
      bytes next_options = next.options;
      if (record.what == format::kind::frame && next_option(next_options, format_->swapped(), each) &&
          each.code == option_code::comment && parse_replacement_note(text_of(each.value)) == noted.about.id) {
        // Not parsed: it need not be IP any more.
        const auto link = static_cast<std::size_t>(into.payload.data() - found.data.data());
        noted.given = noted.given.with_payload(next.data.subspan(std::min(link, next.data.size())));
        size += record.size;
      }
    } else if (!whole && !window_.at_end()) {
      return need(size + 8);
    }
  }
  about.recorded = recorded_verdict{.given = noted.given, .id = noted.about.id, .took = noted.took};
  restore(noted, interfaces_, into);
  return step::done;
}

batch_result capture_reader::core::receive(clock::time_point deadline, bool wait_for_it) {
  if (const auto finished = batch_.finish(); !finished) return std::unexpected(finished.error());
  for (;;) {
    if (stopped_.load(std::memory_order_relaxed)) return failed("receive", ECANCELED);
    if (fault_) {
      ended_ = true;
      ready_.set_ready();
      return std::unexpected(*std::exchange(fault_, std::nullopt));
    }
    if (ended_) {
      if (const auto flushed = batch_.flush(); !flushed) return std::unexpected(flushed.error());
      return failed("receive", ENODATA);
    }
    const auto where = fill();
    if (!batch_.packets().empty()) {
      set_readiness(where);
      return batch(batch_.packets(), {});
    }
    if (where == step::done) {
      if (const auto made = batch_.written().make_room(); !made) return std::unexpected(made.error());
    }
    if (where == step::needs_input) {
      const auto read = window_.read_more();
      if (read) continue;
      if (!read.error().is(EAGAIN)) {
        error what = read.error();
        what.packet = counts_.frames + 1;
        what.offset = window_.offset() + window_.rest().size();
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
  if (where == step::not_due) return ready_.set_ready_at(pace_.due());
  const input& file = window_.file();
  if (where == step::needs_input && file.waits() && !file.has_more()) return ready_.await_input();
  ready_.set_ready();
}

statistics capture_reader::core::stats() const {
  const tally given = batch_.verdicts();
  statistics now{.received = received_,
                 .accepted = given.accepted,
                 .dropped = given.dropped,
                 .repeated = given.repeated,
                 .stopped = given.stopped,
                 .requeued = given.requeued,
                 .unanswered = given.unanswered,
                 .malformed = counts_.malformed};
  now.undecided = received_ - now.accepted - now.dropped - now.repeated - now.stopped - now.requeued;
  return now;
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

batch_result capture_reader::receive(clock::time_point deadline) & {
  return core_->receive(deadline, true);
}
batch_result capture_reader::try_receive() & {
  return core_->receive({}, false);
}
result<void> capture_reader::set_verdict(const packet& which, const verdict& answer) {
  return core_->handed_out().set_verdict(which, answer);
}
result<held_packet> capture_reader::hold(const packet& which) {
  return core_->handed_out().hold(which);
}
result<void> capture_reader::flush() {
  return core_->handed_out().flush();
}
result<void> capture_reader::duplicate(const packet& which, std::span<const std::byte> bytes) {
  return core_->handed_out().duplicate(which, bytes);
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
  return core_->handed_out().frame_of(which);
}
std::string_view capture_reader::interface_name(std::uint32_t index) const noexcept {
  return core_->interface_name(index);
}
capture_counts capture_reader::counts() const noexcept {
  return core_->counts();
}

}  // namespace ipq
