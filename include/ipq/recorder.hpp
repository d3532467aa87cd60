// SPDX-License-Identifier: MIT
// Packets and their verdicts in a file: pcapng, for Wireshark, tcpdump and capture_reader.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "ipq/error.hpp"
#include "ipq/packet.hpp"
#include "ipq/verdict.hpp"

namespace ipq {

struct recorder_options {
  /// The name of an interface. Called by record(), for each packet, on its thread and one thread at a time; the name is
  /// copied. None, or an empty name: "if3" for index 3.
  std::function<std::string_view(std::uint32_t index)> interface_name = {};

  std::size_t memory = 16 << 20;  ///< bytes that may wait to be written, at least 1 MiB
  /// Whether record() waits while the memory is full. For what can wait, as the replay of a file; else the packet is
  /// lost to the recording, and counted.
  bool wait_when_full = false;

  /// Begins another file when this one has so many bytes, or so much time between its packets; 0: never. The files of a
  /// path "traffic.pcapng" then are traffic.00001.pcapng and so on; those that are there stay, and the numbers go on
  /// behind theirs. The time is not negative, and standard output has no other file (EINVAL).
  std::uint64_t rotate_bytes = 0;
  std::chrono::nanoseconds rotate_after{0};
};

/// When a packet came and how long its verdict took, where that is known.
struct record_times {
  std::optional<std::chrono::nanoseconds> came = {};  ///< since 1970; none: packet::timestamp, and without one, now
  std::optional<std::chrono::nanoseconds> took = {};
};

struct recorder_counts {
  std::uint64_t recorded = 0;  ///< written, or waiting to be
  std::uint64_t lost = 0;      ///< not recorded: the memory was full, or the file could not be written
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;  ///< written, of all files
};

/// Writes packets with their verdicts, from any thread, on a thread of its own. Each packet has a comment that says
/// "verdict accept, mark 0x1, id 17, queue 0, hook forward, in eth0, out eth1, took 31 us", and beside it what pcapng
/// has options for: packet id, queue, direction, and the verdict in the numbers of Linux' traffic control, which are
/// the only ones that Wireshark knows. The link type is Ethernet; a packet without a link header gets one with its
/// hardware address as the source. A packet that its verdict replaced is followed by the one that took its place. Only
/// whole blocks are written, at the latest some 2 ms after the packet: what a crash leaves can be read up to there.
class recorder {
 public:
  /// Overwrites an existing file, unless it rotates; "-" is standard output. Errors: EINVAL a bad option; EWOULDBLOCK
  /// another recorder or capture_options::passed writes to the file, in this process or another; those of open(2),
  /// write(2) and pthread_create(3).
  [[nodiscard]] static result<recorder> open(const std::string& path, const recorder_options& options = {});
  /// Writes to a file that is open already, as one that a right was needed for that is gone: an ordinary file is
  /// emptied first. `fd` is the recorder's from here on, also if there is an error. Errors: EINVAL a bad option, of
  /// which rotation is one, as there is no path; EBADF; EWOULDBLOCK as of open(); those of ftruncate(2), write(2)
  /// and pthread_create(3).
  [[nodiscard]] static result<recorder> adopt(int fd, const recorder_options& options = {});
  recorder(recorder&&) noexcept;
  recorder& operator=(recorder&&) noexcept;
  /// Writes what waits; call close() before to learn whether it could be.
  ~recorder();

  /// Copies the packet, and the replacement in its verdict. It takes no system call but a wake-up a millisecond at
  /// most, and never waits for the file, unless told so. False if the packet is lost.
  bool record(const packet& which, const verdict& given, const record_times& times = {});

  /// Writes what waits and ends the recording. Fails if writing has lost something, now or before, also if it could be
  /// written again later: the errors are those of open(2) and write(2), the latter with the number of the first packet
  /// that is not written, as it was recorded, and where in the file it would begin.
  result<void> close();

  /// From any thread.
  [[nodiscard]] recorder_counts counts() const;
  /// What keeps packets from being written now: nothing lost yet, as long as there is memory, and tried again.
  [[nodiscard]] std::optional<error> failure() const;

 private:
  class core;
  explicit recorder(std::unique_ptr<core> made) noexcept;
  std::unique_ptr<core> core_;
};

}  // namespace ipq
