// SPDX-License-Identifier: MIT
// A filter of the pcap-filter language, compiled by libpcap for packets that begin at their network header.
#pragma once

#include <pcap/pcap.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>

namespace ipq::tool::rules {

class program {
 public:
  /// Errors are libpcap's texts, or ours for what it compiles but can't do for queued packets.
  [[nodiscard]] static std::expected<program, std::string> compile(const std::string& text);

  /// What compile() would say, but for what the optimizer finds. Empty: it would compile.
  [[nodiscard]] static std::string refusal_of(const std::string& text);

  /// `length` is what the filter calls len, and at least payload.size().
  [[nodiscard]] bool matches(std::span<const std::byte> payload, std::uint32_t length) const noexcept {
    pcap_pkthdr header{};
    header.caplen = static_cast<bpf_u_int32>(payload.size());
    header.len = length;
    return pcap_offline_filter(code_.get(), &header, reinterpret_cast<const u_char*>(payload.data())) != 0;
  }

  [[nodiscard]] std::span<const bpf_insn> instructions() const noexcept { return {code_->bf_insns, code_->bf_len}; }

 private:
  struct free_code {
    void operator()(bpf_program* code) const noexcept;
  };
  using owned_code = std::unique_ptr<bpf_program, free_code>;
  explicit program(owned_code code) noexcept : code_(std::move(code)) {}

  owned_code code_;
};

}  // namespace ipq::tool::rules
