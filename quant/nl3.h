// SPDX-License-Identifier: Apache-2.0
//
// NL3: 32 values of 3 bits that stand for 8 unevenly spaced levels, with one scale, 3.5 bits per value. Our own, for
// the values of a key/value cache. This pair owns the levels, the layout and the portable functions.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// The levels that lose least for values of a normal distribution where the largest of 32 becomes -127 (Lloyd's
/// iteration, with the scales of levels.h).
inline constexpr int8_t kLevelsNL3[8] = {-127, -76, -44, -18, 7, 33, 63, 104};

/// byte  0  d      f16, scale
/// byte  2  ql[8]  bits 2i and 2i + 1 of ql[j] are the low bits of the code q[8i + j], for i in 0 .. 3
/// byte 10  qh[4]  bit i of qh[j] is the third bit of q[4i + j], for i in 0 .. 7
/// x[j] = d * kLevelsNL3[q[j]]
struct BlockNL3 {
  static constexpr uint32_t kSize = 32;
  uint16_t d;
  uint8_t ql[8];
  uint8_t qh[4];
};
static_assert(sizeof(BlockNL3) == 14 && alignof(BlockNL3) == 2);

extern const Format kFormatNL3;

}  // namespace thimble
