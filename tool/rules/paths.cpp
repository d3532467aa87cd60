// SPDX-License-Identifier: MIT
// A walk over the branches of a BPF program. What it does not understand it takes for unknown, never for impossible.
#include "paths.hpp"

#include <algorithm>
#include <array>

namespace ipq::tool::rules {
namespace {

constexpr std::size_t most_paths = 2048;
constexpr std::size_t most_steps = 200'000;
constexpr std::size_t deepest = 1500;  // branches on one way: the stack has to hold them

// What is known of a register.
struct symbol {
  enum class kind : std::uint8_t { unknown, constant, field, header_length };
  kind what = kind::unknown;
  std::uint32_t value = 0;  // constant; or, for header_length, where the header begins
  field of = {};
};

struct machine {
  symbol a = {symbol::kind::constant, 0, {}};
  symbol x = {symbol::kind::constant, 0, {}};
  std::array<symbol, BPF_MEMWORDS> memory{};
};

std::uint32_t largest(const field& of) noexcept {
  return (of.size == 1 ? 0xffu : of.size == 2 ? 0xffffu : 0xffffffffu) & of.mask;
}

class walk {
 public:
  explicit walk(std::span<const bpf_insn> code) : code_(code) {}

  std::optional<std::vector<path>> run() {
    follow(0, machine{});
    if (gave_up_) return std::nullopt;
    return std::move(found_);
  }

 private:
  void follow(std::size_t at, machine now) {
    if (++depth_ > deepest) gave_up_ = true;
    go_on(at, now);
    --depth_;
  }

  void go_on(std::size_t at, machine& now) {
    for (;;) {
      if (gave_up_ || at >= code_.size() || ++steps_ > most_steps) {
        gave_up_ = true;
        return;
      }
      const bpf_insn& each = code_[at];
      switch (BPF_CLASS(each.code)) {
        case BPF_RET:
          if (BPF_RVAL(each.code) == BPF_A ? is_zero(now.a) : each.k == 0) return;
          found_.push_back(known_);
          gave_up_ = found_.size() > most_paths;
          return;
        case BPF_JMP:
          if (BPF_OP(each.code) == BPF_JA) {
            if (each.k >= code_.size()) {
              gave_up_ = true;
              return;
            }
            at += each.k;
            break;
          }
          branch(at, each, now);
          return;
        case BPF_LD:
          now.a = load(each, now);
          break;
        case BPF_LDX:
          now.x = load(each, now);
          break;
        case BPF_ST:
          store(each, now, now.a);
          break;
        case BPF_STX:
          store(each, now, now.x);
          break;
        case BPF_ALU:
          now.a = compute(each, now);
          break;
        default:  // BPF_MISC
          if (BPF_MISCOP(each.code) == BPF_TAX) {
            now.x = now.a;
          } else {
            now.a = now.x;
          }
          break;
      }
      ++at;
    }
  }

  static bool is_zero(const symbol& what) noexcept { return what.what == symbol::kind::constant && what.value == 0; }

  static symbol load(const bpf_insn& each, const machine& now) noexcept {
    field of;
    of.size = BPF_SIZE(each.code) == BPF_B ? 1 : BPF_SIZE(each.code) == BPF_H ? 2 : 4;
    of.offset = each.k;
    switch (BPF_MODE(each.code)) {
      case BPF_IMM:
        return {symbol::kind::constant, each.k, {}};
      case BPF_MEM:
        return each.k < BPF_MEMWORDS ? now.memory[each.k] : symbol{};
      case BPF_ABS:
        return {symbol::kind::field, 0, of};
      case BPF_MSH:
        return {symbol::kind::header_length, each.k, {}};
      case BPF_IND:
        if (now.x.what == symbol::kind::header_length) {
          of.behind_header = true;
          of.header = now.x.value;
          return {symbol::kind::field, 0, of};
        }
        if (now.x.what == symbol::kind::constant && each.k <= 0xffffffff - now.x.value) {
          of.offset += now.x.value;
          return {symbol::kind::field, 0, of};
        }
        return {};
      default:
        return {};
    }
  }

  static void store(const bpf_insn& each, machine& now, const symbol& what) noexcept {
    if (each.k < BPF_MEMWORDS) now.memory[each.k] = what;
  }

  static symbol compute(const bpf_insn& each, const machine& now) noexcept {
    symbol made = now.a;
    if (BPF_OP(each.code) != BPF_AND || BPF_SRC(each.code) != BPF_K) return {};
    if (made.what == symbol::kind::constant) {
      made.value &= each.k;
    } else if (made.what == symbol::kind::field) {
      made.of.mask &= each.k;
    } else {
      return {};
    }
    return made;
  }

  void branch(std::size_t at, const bpf_insn& each, const machine& now) {
    const std::size_t yes = at + 1 + each.jt, no = at + 1 + each.jf;
    if (now.a.what != symbol::kind::field || BPF_SRC(each.code) != BPF_K) {
      follow(yes, now);
      follow(no, now);
      return;
    }
    const std::uint32_t k = each.k;
    const field& of = now.a.of;
    switch (BPF_OP(each.code)) {
      case BPF_JEQ:
        if (const auto range = equal(of, k)) assuming(*range, yes, now);
        // A field that can only be k does not get here.
        if (const auto range = known_range(of); range.first != k || range.last != k) follow(no, now);
        return;
      case BPF_JGT:
        if (k != 0xffffffff) assuming({of, k + 1, largest(of)}, yes, now);
        assuming({of, 0, k}, no, now);
        return;
      case BPF_JGE:
        assuming({of, k, largest(of)}, yes, now);
        if (k != 0) assuming({of, 0, k - 1}, no, now);
        return;
      default:
        follow(yes, now);
        follow(no, now);
    }
  }

  // Where a field is when it equals k under its mask; nothing if it can't. A mask of leading ones, as a network has,
  // makes it a range of the whole field.
  static std::optional<field_range> equal(const field& of, std::uint32_t k) noexcept {
    if ((k & ~largest(of)) != 0) return std::nullopt;
    field whole = of;
    whole.mask = 0xffffffff;
    const std::uint32_t rest = largest(whole) & ~of.mask;
    if ((rest & (rest + 1)) == 0) return field_range{whole, k, k | rest};
    return field_range{of, k, k};
  }

  [[nodiscard]] field_range known_range(const field& of) const noexcept {
    for (const field_range& each : known_) {
      if (each.of == of) return each;
    }
    return {of, 0, largest(of)};
  }

  // Follows a branch on which a field is in a range as well; not if that contradicts what is known.
  void assuming(field_range range, std::size_t at, const machine& now) {
    if (of_whole_size(range.of)) range.of.mask = 0xffffffff;
    const auto known = std::ranges::find(known_, range.of, &field_range::of);
    if (known == known_.end()) {
      if (range.first > range.last) return;
      known_.push_back(range);
      follow(at, now);
      known_.pop_back();
      return;
    }
    const auto index = known - known_.begin();
    const field_range before = *known;
    range.first = std::max(range.first, before.first);
    range.last = std::min(range.last, before.last);
    if (range.first > range.last) return;
    known_[static_cast<std::size_t>(index)] = range;
    follow(at, now);
    known_[static_cast<std::size_t>(index)] = before;
  }

  // Whether its mask leaves out nothing.
  static bool of_whole_size(const field& of) noexcept {
    field whole = of;
    whole.mask = 0xffffffff;
    return largest(of) == largest(whole);
  }

  std::span<const bpf_insn> code_;
  path known_;
  std::vector<path> found_;
  std::size_t steps_ = 0, depth_ = 0;
  bool gave_up_ = false;
};

}  // namespace

std::optional<std::vector<path>> accepting_paths(std::span<const bpf_insn> code) {
  return walk(code).run();
}

}  // namespace ipq::tool::rules
