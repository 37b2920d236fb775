// SPDX-License-Identifier: Apache-2.0
//
// The twelve bytes in which Q4_K and Q5_K pack 8 scales and 8 minimums of 6 bits. Nothing else belongs here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace thimble {

struct KScale {
  int scale;    // 0..63
  int minimum;  // 0..63
};

/// The codes of sub-block `sub` (0..7).
/// 0..3: bits 0-5 of byte sub and of byte 4 + sub.
/// 4..7: bits 0-3 are the low and high nibble of byte 4 + sub; bits 4-5 are the bits 6-7 left over in the first eight
/// bytes.
inline KScale KScaleOf(const uint8_t* scales, size_t sub) {
  if (sub < 4) return {scales[sub] & 63, scales[sub + 4] & 63};
  return {(scales[sub + 4] & 15) | (scales[sub - 4] >> 6) << 4, (scales[sub + 4] >> 4) | (scales[sub] >> 6) << 4};
}

}  // namespace thimble
