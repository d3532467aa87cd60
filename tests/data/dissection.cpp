// SPDX-License-Identifier: MIT
#include "dissection.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string_view>

namespace test_data {
namespace {

using bytes = std::span<const std::byte>;

constexpr const char* packet_attributes[] = {"0",
                                             "PACKET_HDR",
                                             "VERDICT_HDR",
                                             "MARK",
                                             "TIMESTAMP",
                                             "IFINDEX_INDEV",
                                             "IFINDEX_OUTDEV",
                                             "IFINDEX_PHYSINDEV",
                                             "IFINDEX_PHYSOUTDEV",
                                             "HWADDR",
                                             "PAYLOAD",
                                             "CT",
                                             "CT_INFO",
                                             "CAP_LEN",
                                             "SKB_INFO",
                                             "EXP",
                                             "UID",
                                             "GID",
                                             "SECCTX",
                                             "VLAN",
                                             "L2HDR",
                                             "PRIORITY",
                                             "CGROUP_CLASSID"};

template <class T>
T number(bytes from, std::size_t at) {
  T value;
  std::memcpy(&value, from.data() + at, sizeof value);
  return value;
}

class writer {
 public:
  std::string text;

  // Sixteen bytes a line, the comment behind the first.
  void line(bytes some, const std::string& comment) {
    constexpr std::size_t wide = 16;
    for (std::size_t at = 0; at < std::max<std::size_t>(some.size(), 1); at += wide) {
      std::string hex;
      for (std::byte byte : some.subspan(at, std::min(wide, some.size() - at))) {
        char digits[4];
        std::snprintf(digits, sizeof digits, "%02x ", std::to_integer<unsigned>(byte));
        hex += digits;
      }
      hex.resize(wide * 3, ' ');
      if (at == 0 && !comment.empty()) hex += "# " + comment;
      hex.erase(hex.find_last_not_of(' ') + 1);
      text += hex + "\n";
    }
  }
};

void attributes(writer& out, bytes rest, const std::function<std::string(std::uint16_t)>& name) {
  while (rest.size() >= 4) {
    const std::size_t length = number<std::uint16_t>(rest, 0);
    const std::uint16_t type = number<std::uint16_t>(rest, 2) & 0x3fff;
    const std::size_t padded = std::min(rest.size(), (length + 3) & ~std::size_t{3});
    out.line(rest.first(4), name(type) + ", length " + std::to_string(length));
    if (padded > 4) out.line(rest.subspan(4, padded - 4), "");
    rest = rest.subspan(padded);
  }
  if (!rest.empty()) out.line(rest, "left over");
}

std::string attribute_name(std::uint16_t type) {
  return type < std::size(packet_attributes) ? packet_attributes[type] : std::to_string(type);
}

std::string link_attribute_name(std::uint16_t type) {
  if (type == 3) return "IFLA_IFNAME";
  return "attribute " + std::to_string(type);
}

void error_body(writer& out, bytes body, std::uint16_t flags) {
  const auto code = number<std::int32_t>(body, 0);
  out.line(body.first(4), "error " + std::to_string(code));
  out.line(body.subspan(4, 16), "header of the request");
  const bool capped = flags & 0x100;
  std::size_t echoed = 20;
  if (!capped && code != 0)
    echoed = std::min<std::size_t>(body.size(), 4 + ((number<std::uint32_t>(body, 4) + 3) & ~3u));
  if (echoed > 20) out.line(body.subspan(20, echoed - 20), "rest of the request");
  attributes(out, body.subspan(echoed), [](std::uint16_t type) {
    return type == 1   ? "NLMSGERR_ATTR_MSG"
           : type == 2 ? "NLMSGERR_ATTR_OFFS"
           : type == 4 ? "NLMSGERR_ATTR_POLICY"
                       : "attribute " + std::to_string(type);
  });
}

}  // namespace

std::string dissect(const std::string& about, bytes datagram) {
  utsname kernel{};
  uname(&kernel);
  writer out;
  const std::string release = kernel.release;
  out.text = "# SPDX-License-Identifier: MIT\n# " + about + ". Linux " + release.substr(0, release.find('-')) + ".\n";
  const auto type = number<std::uint16_t>(datagram, 4);
  const auto flags = number<std::uint16_t>(datagram, 6);
  char header[100];
  std::snprintf(header, sizeof header, "nlmsghdr: length %u, type 0x%x, flags 0x%x, sequence, port id",
                number<std::uint32_t>(datagram, 0), type, flags);
  out.line(datagram.first(16), header);
  const bytes body = datagram.subspan(16);
  if (type == 2) {
    error_body(out, body, flags);
  } else if (type == 0x300) {
    out.line(body.first(4), "nfgenmsg: family, version, queue");
    attributes(out, body.subspan(4), attribute_name);
  } else {
    out.line(body.first(16), "ifinfomsg");
    attributes(out, body.subspan(16), link_attribute_name);
  }
  return out.text;
}

bool has_attribute(bytes datagram, std::uint16_t type) {
  for (bytes rest = datagram.subspan(20); rest.size() >= 4;) {
    const std::size_t length = number<std::uint16_t>(rest, 0);
    if ((number<std::uint16_t>(rest, 2) & 0x3fff) == type) return true;
    rest = rest.subspan(std::min(rest.size(), (length + 3) & ~std::size_t{3}));
  }
  return false;
}

}  // namespace test_data
