// SPDX-License-Identifier: MIT
// Compiles with libpcap and looks through the result for what is unsafe or senseless here.
#include "program.hpp"

namespace ipq::tool::rules {
namespace {

// bpf(4) of Linux keeps these offsets for what is no byte of a packet; libpcap's own interpreter never matches there.
constexpr bpf_u_int32 first_special_offset = 0xfff00000;

const char* what_is_wrong_with(const bpf_program& code) noexcept {
  for (u_int at = 0; at < code.bf_len; ++at) {
    const bpf_insn& each = code.bf_insns[at];
    // libpcap follows header chains by jumping back, and a crafted packet can keep it there for ever.
    if (each.code == (BPF_JMP | BPF_JA) && static_cast<bpf_int32>(each.k) < 0) {
      return "protochain is not supported: a crafted packet could hold its loop for ever";
    }
    if (BPF_CLASS(each.code) == BPF_LD && BPF_MODE(each.code) == BPF_ABS && each.k >= first_special_offset) {
      return "this asks for what only a capturing device knows; test [hook=...] or [indev=...] instead";
    }
  }
  return nullptr;
}

}  // namespace

void program::free_code::operator()(bpf_program* code) const noexcept {
  pcap_freecode(code);
  delete code;
}

std::expected<program, std::string> program::compile(const std::string& text) {
  constexpr int most_bytes = 262144;
  const std::unique_ptr<pcap_t, decltype(&pcap_close)> handle(pcap_open_dead(DLT_RAW, most_bytes), &pcap_close);
  if (!handle) return std::unexpected("no memory for libpcap");
  owned_code code(new bpf_program{});
  if (pcap_compile(handle.get(), code.get(), text.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0) {
    std::string message = pcap_geterr(handle.get());
    return std::unexpected(std::move(message));
  }
  if (const char* wrong = what_is_wrong_with(*code)) return std::unexpected(wrong);
  return program(std::move(code));
}

}  // namespace ipq::tool::rules
