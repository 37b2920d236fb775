// SPDX-License-Identifier: Apache-2.0
//
// The one order in which this project adds up products. Sixteen running sums, folded pairwise at the end: a compiler
// may keep them in any vector registers and still gives the same bits on every machine (with -ffp-contract=off).
#pragma once

#include <cstddef>

namespace thimble {

inline constexpr size_t kLanes = 16;

struct Lanes {
  float sum[kLanes] = {};

  /// Adds w[i] * x[i] to lane i % 16 for i in [0, n). Every call begins at lane 0, so only the last may have an n that
  /// is no multiple of 16.
  void Add(const float* w, const float* x, size_t n) {
    float s[kLanes];  // a copy that never meets a variable index, so that it lives in registers
    for (size_t lane = 0; lane < kLanes; ++lane) s[lane] = sum[lane];
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) s[lane] += w[i + lane] * x[i + lane];
    }
    for (size_t lane = 0; lane < kLanes; ++lane) sum[lane] = s[lane];
    for (size_t lane = 0; i + lane < n; ++lane) sum[lane] += w[i + lane] * x[i + lane];
  }

  float Fold() {
    for (size_t width = kLanes / 2; width > 0; width /= 2) {
      for (size_t lane = 0; lane < width; ++lane) sum[lane] += sum[lane + width];
    }
    return sum[0];
  }
};

/// Sum of a[i] * b[i] for i in [0, n), in the order of Lanes.
float DotF32(const float* a, const float* b, size_t n);

}  // namespace thimble
