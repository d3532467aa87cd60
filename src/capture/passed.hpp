// SPDX-License-Identifier: MIT
// What passes, written in the format it came in: the file that was read, without what was not let through. Everything
// stays in the byte order of the original, so that what is not understood here is still copied right.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "capture/format.hpp"
#include "capture/output.hpp"
#include "ipq/verdict.hpp"

namespace ipq::capture {

/// Whether a packet with this verdict goes on: accepted, stopped, repeated without coming back, or given to a queue
/// that may be bypassed, as nobody listens to it.
[[nodiscard]] bool passes(const verdict& given) noexcept;

/// What stands before the packets of a file or section, for those that are written when another has begun. It grows
/// while it is written: under the ledger's lock.
struct section {
  /// Takes `record`, the next of the head, with no length in it that what passes would belie: that of the section, and
  /// one that a replacement may outgrow, as readers would not take that. Returns what was taken.
  bytes add(bytes record);

  std::vector<std::byte> head = {};
  bool pcapng = false;
  bool swapped = false;
};

/// A frame as it stands in its file.
struct original {
  bytes record = {};
  std::uint32_t frame_at = 0;   ///< in record
  std::uint32_t size = 0;       ///< of the frame, as far as it was captured
  std::uint32_t link_size = 0;  ///< of the link header
  std::uint32_t interface = 0;
  std::uint8_t check_size = 0;  ///< of the interface
  bytes options = {};
  bool recorded = false;     ///< its options say what became of it once
  std::uint64_t number = 0;  ///< as capture_frame has them
  std::uint64_t offset = 0;
};

class passed {
 public:
  explicit passed(output opened) : output_(std::move(opened)) { waiting_.reserve(output::most_records); }

  /// A record of the section's head, which has it already.
  void add_to_head(const std::shared_ptr<const section>& to, bytes record);
  /// A record between packets.
  void add(const std::shared_ptr<const section>& to, bytes record);
  /// `replacement` empty: as it was.
  void write(const std::shared_ptr<const section>& from, const original& frame, bytes replacement);

  [[nodiscard]] bool is_full() const noexcept { return output_.is_full(); }
  /// Errors: those of output::flush, about the first packet that is not written.
  result<void> flush();

 private:
  void begin(const std::shared_ptr<const section>& next);
  void write_without_note(const section& from, const original& frame);
  void write_changed(const section& from, const original& frame, bytes replacement);
  void write_block(const section& from, const original& frame, bytes link, bytes rest, std::uint32_t original_size,
                   bytes options);

  output output_;
  std::shared_ptr<const section> current_;
  struct place {
    std::uint64_t number = 0, offset = 0;
  };
  std::vector<place> waiting_;  ///< of the packets that are not written: the records of output_
};

}  // namespace ipq::capture
