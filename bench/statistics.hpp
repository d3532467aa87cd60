// SPDX-License-Identifier: MIT
// Median and range of a handful of numbers.
#pragma once

#include <algorithm>
#include <vector>

namespace bench {

struct summary {
  double median = 0, least = 0, most = 0;
};

// values must not be empty.
inline summary summary_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

}  // namespace bench
