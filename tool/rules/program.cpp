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
      return "protochain is not supported: a crafted packet could hold its loop for ever: expected 'proto'";
    }
    if (BPF_CLASS(each.code) == BPF_LD && BPF_MODE(each.code) == BPF_ABS && each.k >= first_special_offset) {
      return "this asks for what only a capturing device knows: expected a test as [hook=...] or [indev=...]";
    }
  }
  return nullptr;
}

// What is wrong, empty if nothing is.
std::string compile_into(bpf_program& code, const std::string& text, bool optimize) {
  constexpr int most_bytes = 262144;
  const std::unique_ptr<pcap_t, decltype(&pcap_close)> handle(pcap_open_dead(DLT_RAW, most_bytes), &pcap_close);
  if (!handle) return "no memory for libpcap";
  if (pcap_compile(handle.get(), &code, text.c_str(), optimize ? 1 : 0, PCAP_NETMASK_UNKNOWN) != 0) {
    return pcap_geterr(handle.get());
  }
  const char* wrong = what_is_wrong_with(code);
  return wrong != nullptr ? wrong : "";
}

}  // namespace

void program::free_code::operator()(bpf_program* code) const noexcept {
  pcap_freecode(code);
  delete code;
}

std::expected<program, std::string> program::compile(const std::string& text) {
  owned_code code(new bpf_program{});
  if (auto refused = compile_into(*code, text, true); !refused.empty()) return std::unexpected(std::move(refused));
  return program(std::move(code));
}

std::string program::refusal_of(const std::string& text) {
  const owned_code code(new bpf_program{});
  return compile_into(*code, text, false);
}

}  // namespace ipq::tool::rules
