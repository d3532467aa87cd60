// SPDX-License-Identifier: MIT
// A capture file as a source of packets: what is written for a queue runs on it without a kernel and without rights,
// the same way every time.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ipq/error.hpp"
#include "ipq/packet.hpp"
#include "ipq/source.hpp"
#include "ipq/verdict.hpp"

namespace ipq {

struct capture_options {
  /// Of all packets, but for those of a recording, which says its own; as packet::hook, 0 to 4 (EINVAL).
  std::uint8_t hook = 2;
  /// Name of the interface of packets whose file names none, as pcap never does. Empty: such packets have no interface.
  std::string interface = {};

  /// How often as fast as the packets were captured: 1 in their own time, 10 in a tenth of it; 0 as fast as possible.
  /// Finite and not negative (EINVAL).
  double pace = 0;

  /// File to write what passes to, in the capture's own format; empty: none; "-": standard output. Packets are written
  /// in the order of their verdicts, as they came, or with their replacement behind their link header, and a check
  /// sequence (FCS) where the file says that frames have one; if that is not of 4 bytes, of zeros. Frames that are no
  /// packets here are left out, and of what pcapng has beside them statistics, what is not to be copied, and blocks of
  /// more than 16 MiB. A length at which the capture cut frames is not kept, as replacements may be longer. An existing
  /// file is overwritten.
  std::string passed = {};

  /// For packets that the program passes over: not answered and not held when the next batch is asked for, or held and
  /// forgotten. Without a payload (EINVAL).
  verdict unanswered = verdict::drop();
};

/// What a recording says about the verdict that a packet once had; see recorder.
struct recorded_verdict {
  verdict given = verdict::accept();                  ///< with its replacement, which is a view as the packet's payload
  std::uint32_t id = 0;                               ///< the packet's at that time
  std::optional<std::chrono::nanoseconds> took = {};  ///< from the packet to its verdict
};

/// What a capture says of a packet beside what a queue would say.
struct capture_frame {
  std::uint64_t number = 0;         ///< of the frame in the file, from 1, as Wireshark counts
  std::uint64_t offset = 0;         ///< of its record, in bytes; in a packed file, of the unpacked ones
  std::chrono::nanoseconds time{};  ///< since 1970; what is beyond 2^62 ns, 146 years, before or behind counts as that
  std::optional<recorded_verdict> recorded = {};
};

/// Frames = packets received + not_ip + malformed + unknown_link; in a recording there is one more for each packet that
/// was changed: what replaced it.
struct capture_counts {
  std::uint64_t frames = 0;
  std::uint64_t not_ip = 0;        ///< ARP and the like: passed over, but for what a recording has with its verdict
  std::uint64_t malformed = 0;     ///< said to be IP, without a whole header of that version: passed over
  std::uint64_t unknown_link = 0;  ///< of an interface whose link type is not known here: passed over
  std::uint64_t bytes = 0;         ///< read of the file, and its size; of the packed one, if it is packed
  std::uint64_t file_size = 0;     ///< 0 where it is not known, as of a pipe
  std::uint64_t left_out = 0;      ///< blocks that were too large for capture_options::passed
};

/// Reads pcap (any byte order, microseconds and nanoseconds) and pcapng (several sections and interfaces), plain or
/// packed with gzip or Zstandard, of Ethernet with VLAN tags, raw IP, Linux cooked (1 and 2), null and loop. The file
/// is read in pieces: memory does not depend on its size, and it may be a pipe. A file in Zstandard takes the window
/// that it was packed with: at most 8 MiB, but for `--long` and `--ultra`, up to 128 MiB; wider ones are not read.
///
/// Packets are as a queue's would be. Ids count from 1. `vlan` is the outermost tag, l2_header the whole header of
/// Ethernet. Interfaces have indices by the order in which their names come up, from 1. The interface of a packet is
/// its indev at prerouting, input and forward, and its outdev else. Padding behind a packet is cut off. The timestamp
/// is the capture's. `truncated` are packets of which the capture has only the beginning.
///
/// A recording of `recorder` gives the packets back as they were, with hook, marks, interfaces and owner, and of a
/// bridge also those that are no IP; its verdicts are in frame_of().
class capture_reader final : public source {
 public:
  /// "-" is standard input. Errors: EINVAL a bad option, or `passed` is the capture itself; EWOULDBLOCK another
  /// writer has `passed` open; EBADMSG not a capture, or a damaged one; EPROTONOSUPPORT a format or link type that is
  /// not read; those of open(2) and read(2).
  [[nodiscard]] static result<capture_reader> open(const std::string& path, const capture_options& options = {});
  capture_reader(capture_reader&&) noexcept;
  capture_reader& operator=(capture_reader&&) noexcept;
  /// What was decided is written; call flush() before to learn whether it could be. Whoever holds packets yet can't
  /// decide them any more.
  ~capture_reader() override;

  /// Up to 64 packets. Errors besides those of source, each told once, with the number of the packet and its place,
  /// behind all packets before it, and followed by ENODATA: EBADMSG the file is damaged or cut, EPROTONOSUPPORT no
  /// frame was of a known link type, with the place of the first; those of read(2).
  [[nodiscard]] batch_result receive(clock::time_point deadline = clock::time_point::max()) & override;
  [[nodiscard]] batch_result try_receive() & override;
  batch_result receive(clock::time_point deadline = clock::time_point::max()) && = delete;
  batch_result try_receive() && = delete;

  /// Errors of writing `passed`, in these three: those of write(2), as ENOSPC or EPIPE, which raises no SIGPIPE; with
  /// the number and place of the first packet that is not written. What could not be written is kept for the next call.
  result<void> set_verdict(const packet& which, const verdict& answer) override;
  /// ENOMEM also where, with capture_options::passed, what the file says beside held packets takes more than 64 MiB.
  [[nodiscard]] result<held_packet> hold(const packet& which) override;
  result<void> flush() override;
  /// Writes one more packet to `passed`, with these bytes behind the link header of `which`, of the last batch. If that
  /// is held, it is written behind it, if it passes. Errors: EINVAL `which` is not of this batch or undecided yet, or
  /// the bytes are more than 65531; ENODEV it was held and is decided.
  result<void> duplicate(const packet& which, std::span<const std::byte> bytes);
  void stop() noexcept override;

  /// Not that of the file: readable when a packet is there and due, at the end, and after stop().
  [[nodiscard]] int fd() const noexcept override;
  /// in_kernel is empty. `malformed` is that of counts().
  [[nodiscard]] statistics stats() const override;

  /// Of a packet of the last batch, valid as long; nothing for others.
  [[nodiscard]] const capture_frame* frame_of(const packet& which) const noexcept;
  /// "" if there is none with this index, or it has no name. Valid as long as the reader.
  [[nodiscard]] std::string_view interface_name(std::uint32_t index) const noexcept;
  [[nodiscard]] capture_counts counts() const noexcept;

 private:
  class core;
  explicit capture_reader(std::unique_ptr<core> made) noexcept;
  std::unique_ptr<core> core_;
};

}  // namespace ipq
