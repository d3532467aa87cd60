// SPDX-License-Identifier: MIT
#include "compat/error.hpp"

#include <libipq/libipq.h>

#include <algorithm>
#include <cstring>

#include "netlink/signals_off.hpp"

namespace ipq::compat {
namespace {

using text_buffer = std::array<char, 256>;

constexpr std::array texts{
    "Unknown error",
    "Implementation error",
    "Unable to create netlink handle",
    "Unable to create netlink socket",
    "Unable to bind netlink socket",
    "Unable to allocate buffer",
    "Failed to receive netlink message",
    "Received EOF on netlink socket",
    "Invalid peer address length",
    "Sent message truncated",
    "Received message truncated",
    "Received error from netlink",
    "Failed to send netlink message",
    "Operation not supported",
    "Receive buffer size invalid",
    "Timeout",
    "Invalid protocol specified",
    "Invalid setting",
};
static_assert(texts.size() == IPQ_ERR_SETTING + 1);

thread_local int last_number = IPQ_ERR_NONE;
thread_local text_buffer last_text;

void copy_text(std::string_view text, text_buffer& into) noexcept {
  const std::size_t length = std::min(text.size(), into.size() - 1);
  std::memcpy(into.data(), text.data(), length);
  into[length] = '\0';
}

}  // namespace

const char* error_text(int number) noexcept {
  const bool known = number >= 0 && static_cast<std::size_t>(number) < texts.size();
  return texts[known ? static_cast<std::size_t>(number) : 0];
}

void set_thread_error(int number) noexcept {
  last_number = number;
}

void set_thread_error(std::string_view setting_text) noexcept {
  last_number = IPQ_ERR_SETTING;
  copy_text(setting_text, last_text);
}

int thread_error() noexcept {
  return last_number;
}

char* thread_error_text() noexcept {
  return last_number == IPQ_ERR_SETTING ? last_text.data() : const_cast<char*>(error_text(last_number));
}

void last_error::set(int number, std::string_view text) noexcept {
  const netlink::signals_off no_handlers;
  if (in_use_.test_and_set(std::memory_order_acquire)) return;
  number_.store(number, std::memory_order_relaxed);
  copy_text(text, text_);
  in_use_.clear(std::memory_order_release);
}

const char* last_error::text() const noexcept {
  static thread_local text_buffer copy;
  const netlink::signals_off no_handlers;
  if (in_use_.test_and_set(std::memory_order_acquire)) {
    // Being written or copied at this moment.
    copy_text(error_text(number()), copy);
  } else {
    copy = text_;
    in_use_.clear(std::memory_order_release);
  }
  return copy.data();
}

}  // namespace ipq::compat
