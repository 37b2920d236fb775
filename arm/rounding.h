// SPDX-License-Identifier: Apache-2.0
//
// The rounding of activations to 8 bits, for every instruction set. V::Magnitude(x) is the largest magnitude of a
// block, NaN if it holds one; V::RoundBlock(x, inverse, codes) writes the codes of x * inverse and returns their sum.
#pragma once

#include "core/kernels.h"

namespace thimble {

/// Codes and sum of a block of activations; all zero and a scale of 0 or NaN where no code can tell the values: below
/// kSmallest they are zero, infinite and NaN they must not become finite.
template <class V>
struct Rounding {
  static constexpr float kSmallest = 0x1p-118f;  // 127 / kSmallest is finite, kSmallest / 127 has all its bits
  static constexpr float kLargest = 3.40282347e38f;

  float scale;
  float inverse;
  bool ordinary;

  explicit Rounding(float magnitude)
      : scale(magnitude * (1.0f / 127.0f)),
        inverse(127.0f / magnitude),
        ordinary(magnitude >= kSmallest && magnitude <= kLargest) {
    if (!ordinary) scale = magnitude < kSmallest ? 0.0f : __builtin_nanf("");
  }

  int32_t Round(const float* x, int8_t* codes) const {
    if (ordinary) return V::RoundBlock(x, inverse, codes);
    for (size_t i = 0; i < Activations::kBlock; ++i) codes[i] = 0;
    return 0;
  }
};

/// Kernels::quantise.
template <class V>
[[gnu::always_inline]] inline void RoundToken(const Activations& a, size_t t) {
  const size_t blocks = a.cols / Activations::kBlock;
  const float* x = a.x + t * a.cols;
  int8_t* codes = a.codes + t * a.cols;
  float* scales = a.scales + t * blocks;
  int32_t* sums = a.sums + t * blocks;
  for (size_t b = 0; b < blocks; ++b, x += Activations::kBlock, codes += Activations::kBlock) {
    const Rounding<V> rounding(V::Magnitude(x));
    scales[b] = rounding.scale;
    sums[b] = rounding.Round(x, codes);
  }
}

}  // namespace thimble
