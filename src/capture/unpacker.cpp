// SPDX-License-Identifier: MIT
// gzip through zlib, Zstandard through libzstd; both also as several streams behind one another.
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <new>

#include "capture/input.hpp"
#include "capture/packing.hpp"

namespace ipq::capture {
namespace {

std::unexpected<error> refuse(int code, const char* why) {
  auto made = failed("read capture", code);
  made.error().advice = why;
  return made;
}

uInt at_most_int(std::size_t size) {
  return static_cast<uInt>(std::min<std::size_t>(size, INT_MAX));
}

class gzip final : public unpacker {
 public:
  gzip() {
    constexpr int largest_window = 15, gzip_only = 16;
    if (::inflateInit2(&stream_, largest_window + gzip_only) != Z_OK) throw std::bad_alloc();
  }
  gzip(const gzip&) = delete;
  gzip& operator=(const gzip&) = delete;
  ~gzip() override { ::inflateEnd(&stream_); }

  result<progress> unpack(std::span<const std::byte> packed, std::span<std::byte> to) override {
    if (complete_) {
      // Zeros that fill up the last block, of tapes and the like, are the end, too, and gzip passes over them.
      const auto member = std::ranges::find_if(packed, [](std::byte each) { return each != std::byte{}; });
      if (packed.empty() || member != packed.begin()) {
        return progress{static_cast<std::size_t>(member - packed.begin()), 0};
      }
      if (::inflateReset(&stream_) != Z_OK) return refuse(EBADMSG, "the gzip data is damaged");
      complete_ = false;
    }
    // zlib takes no const, and does not write.
    stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));
    stream_.avail_in = at_most_int(packed.size());
    stream_.next_out = reinterpret_cast<Bytef*>(to.data());
    stream_.avail_out = at_most_int(to.size());
    const uInt in = stream_.avail_in, out = stream_.avail_out;
    const int status = ::inflate(&stream_, Z_NO_FLUSH);
    if (status == Z_MEM_ERROR) return refuse(ENOMEM, "unpacking gzip");
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR && stream_.avail_out == out) {
      return refuse(EBADMSG, "the gzip data is damaged");
    }  // what came out before the damage is good, and zlib says the same again
    complete_ = status == Z_STREAM_END;
    return progress{in - stream_.avail_in, out - stream_.avail_out};
  }
  bool complete() const noexcept override { return complete_; }

 private:
  z_stream stream_{};
  bool complete_ = false;
};

class zstandard final : public unpacker {
 public:
  zstandard() : stream_(::ZSTD_createDStream()) {
    if (stream_ == nullptr) throw std::bad_alloc();
  }
  zstandard(const zstandard&) = delete;
  zstandard& operator=(const zstandard&) = delete;
  ~zstandard() override { ::ZSTD_freeDStream(stream_); }

  result<progress> unpack(std::span<const std::byte> packed, std::span<std::byte> to) override {
    ZSTD_inBuffer in{packed.data(), packed.size(), 0};
    ZSTD_outBuffer out{to.data(), to.size(), 0};
    std::size_t left = 0;
    if (!damaged_) left = ::ZSTD_decompressStream(stream_, &out, &in);
    if (::ZSTD_isError(left) != 0) {
      damaged_ = true;
      too_wide_ = ::ZSTD_getErrorCode(left) == ZSTD_error_frameParameter_windowTooLarge;
    }
    if (damaged_ && out.pos == 0) {
      return too_wide_
                 ? refuse(EPROTONOSUPPORT, "Zstandard with a window of over 128 MiB; unpack it: zstd -d --long=31")
                 : refuse(EBADMSG, "the Zstandard data is damaged");
    }
    if (in.pos != 0 || out.pos != 0) complete_ = left == 0;
    return progress{in.pos, out.pos};
  }
  bool complete() const noexcept override { return complete_; }

 private:
  ZSTD_DStream* stream_;
  bool complete_ = false;
  bool damaged_ = false;
  bool too_wide_ = false;  ///< and not damaged: as `zstd -d` does it takes 128 MiB and no more
};

}  // namespace

result<std::unique_ptr<unpacker>> find_unpacker(std::span<const std::byte> beginning) {
  try {
    switch (find_packing(beginning)) {
      case packing::gzip:
        return std::make_unique<gzip>();
      case packing::zstandard:
        return std::make_unique<zstandard>();
      case packing::none:
        break;
    }
  } catch (const std::bad_alloc&) {
    return failed("read capture", ENOMEM);
  }
  return nullptr;
}

}  // namespace ipq::capture
