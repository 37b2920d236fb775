// SPDX-License-Identifier: Apache-2.0
//
// Q2_K: 256 values of 2 bits in 16 sub-blocks of 16, each with a 4-bit scale and a 4-bit minimum: 2.625 bits per value.
// This pair owns the layout and the portable decode; faster kernels in other rooms read the same struct.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// byte  0  scales[16]  per sub-block: low nibble the scale sc, high nibble the minimum mn
/// byte 16  qs[64]      value 128h + 32j + l (h < 2, j < 4, l < 32) is bits 2j, 2j+1 of qs[32h + l]
/// byte 80  d           f16, scale of the scales
/// byte 82  dmin        f16, scale of the minimums
/// x[i] = (d * sc[i / 16]) * q[i] - dmin * mn[i / 16]
struct BlockQ2_K {
  static constexpr uint32_t kSize = 256;
  uint8_t scales[16];
  uint8_t qs[64];
  uint16_t d;
  uint16_t dmin;
};
static_assert(sizeof(BlockQ2_K) == 84 && alignof(BlockQ2_K) == 2);

extern const Format kFormatQ2_K;

}  // namespace thimble
