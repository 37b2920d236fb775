// SPDX-License-Identifier: Apache-2.0
//
// Q4_K: 256 values of 4 bits in 8 sub-blocks of 32, each with a 6-bit scale and a 6-bit minimum: 4.5 bits per value.
// This pair owns the layout and the portable decode; faster kernels in other rooms read the same struct.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// byte  0  d           f16, scale of the scales
/// byte  2  dmin        f16, scale of the minimums
/// byte  4  scales[12]  8 scales sc and 8 minimums mn of 6 bits (k_scales.h)
/// byte 16  qs[128]     for p < 4, l < 32: the low nibble of qs[32p + l] is the code of value 64p + l, the high nibble
///                      that of value 64p + 32 + l
/// x[i] = (d * sc[i / 32]) * q[i] - dmin * mn[i / 32]
struct BlockQ4_K {
  static constexpr uint32_t kSize = 256;
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t qs[128];
};
static_assert(sizeof(BlockQ4_K) == 144 && alignof(BlockQ4_K) == 2);

extern const Format kFormatQ4_K;

}  // namespace thimble
