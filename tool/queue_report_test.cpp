// SPDX-License-Identifier: MIT
#include "queue_report.hpp"

#include <gtest/gtest.h>

namespace tool {
namespace {

TEST(queue_report, owner_that_can_not_be_told_is_an_empty_label) {
  const queue_report report{.queues = {{.number = 3, .port_id = 7, .waiting = 2}}, .feeds = {}};
  const auto text = to_prometheus(report);
  EXPECT_NE(text.find("\nipq_queue_waiting_packets{queue=\"3\",owner=\"\",pid=\"\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(to_json(report, true).find("\"pid\":null"), std::string::npos);
}

}  // namespace
}  // namespace tool
