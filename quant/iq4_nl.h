// SPDX-License-Identifier: Apache-2.0
//
// IQ4_NL: 32 values of 4 bits that stand for 16 unevenly spaced levels, with one scale, 4.5 bits per value. This pair
// owns the levels, the layout and the portable decode; faster kernels in other rooms read the same struct.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// The levels of the codes of IQ4_NL and IQ4_XS.
inline constexpr int8_t kLevelsIQ4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// byte  0  d       f16, scale
/// byte  2  qs[16]  low nibbles are the codes q[0..15], high nibbles q[16..31]
/// x[j] = d * kLevelsIQ4[q[j]]
struct BlockIQ4_NL {
  static constexpr uint32_t kSize = 32;
  uint16_t d;
  uint8_t qs[16];
};
static_assert(sizeof(BlockIQ4_NL) == 18 && alignof(BlockIQ4_NL) == 2);

extern const Format kFormatIQ4_NL;

}  // namespace thimble
