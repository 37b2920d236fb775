// SPDX-License-Identifier: Apache-2.0
//
// Codes that stand for unevenly spaced levels: the nearest level of a value, and the scale of a block of 32 values that
// loses little. What formats with such codes are encoded by; how codes lie in a block is their own business.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "quant/half.h"
#include "quant/lanes.h"

namespace thimble {

/// Writes 32 values as codes of kCount levels, ascending, of which the first is -127 and the largest in magnitude.
template <size_t kCount>
class LevelCodes {
 public:
  static constexpr size_t kBlock = 32;

  explicit constexpr LevelCodes(const int8_t (&levels)[kCount]) {
    size_t code = 0;
    for (int y = -kEnd; y <= kEnd; ++y) {
      while (code + 1 < kCount && 2 * y > levels[code] + levels[code + 1]) ++code;
      codes_[y + kEnd] = static_cast<uint8_t>(code);
      nearest_[y + kEnd] = static_cast<float>(levels[code]);
    }
  }

  /// The codes of x[32], and the scale, an F16. Scales are tried that take the largest magnitude to -127, to a tenth
  /// less than that and to 127, each moved to the least squares of its levels; the one that loses least is kept. A
  /// block that holds what is no number, or has no finite scale, gets a scale that is no number.
  uint16_t Encode(const float* x, uint8_t* codes) const {
    float top = 0.0f;
    uint32_t highest = 0;
    for (size_t i = 0; i < kBlock; ++i) {
      const uint32_t magnitude = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu;
      top = magnitude > highest ? x[i] : top;
      highest = magnitude > highest ? magnitude : highest;
    }
    const float bound = std::bit_cast<float>(highest);
    const bool none = bound < kSmallest;
    uint16_t scale = none ? uint16_t{0} : kNoNumber;
    if (bound >= kSmallest && bound <= kLargest) {
      float best = -1.0f, kept = 0.0f;
      for (const float end : {-127.0f, -114.3f, 127.0f}) {
        float levels[kBlock];
        for (size_t i = 0; i < kBlock; ++i) levels[i] = nearest_[Index(x[i], end / top)];
        const float product = Dot(x, levels), square = Dot(levels, levels);
        const float gain = product / square * product;  // that much less than the sum of squares is lost
        kept = gain > best ? product / square : kept;
        best = gain > best ? gain : best;
      }
      scale = F16FromF32(kept);
    }
    const float value = F32FromF16(scale);
    const float inverse = none || value == 0.0f ? 0.0f : 1.0f / value;
    for (size_t i = 0; i < kBlock; ++i) codes[i] = codes_[Index(x[i], inverse)];
    return scale;
  }

 private:
  static constexpr int kEnd = 127;
  static constexpr float kSmallest = 0x1p-18f;  // of a block: scales of less have hardly a bit in F16
  static constexpr float kLargest = 65504.0f * 114.0f;
  static constexpr uint16_t kNoNumber = 0x7e00;

  static float Dot(const float* a, const float* b) {
    Lanes lanes;
    lanes.Add(a, b, kBlock);
    return lanes.Fold();
  }

  // Where the level nearest to x * inverse stands; any place for what is no number.
  static size_t Index(float x, float inverse) {
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: leaves the nearest integer in the low bits
    const float y = x * inverse;
    const float bounded = y < -127.0f ? -127.0f : y > 127.0f ? 127.0f : y;
    const uint32_t bits = std::bit_cast<uint32_t>(bounded + kRound) - (0x4b400000u - kEnd);
    return bits <= 2 * kEnd ? bits : kEnd;
  }

  uint8_t codes_[2 * kEnd + 1] = {};
  float nearest_[2 * kEnd + 1] = {};
};

}  // namespace thimble
