// SPDX-License-Identifier: Apache-2.0
//
// Q5_K: 256 values of 5 bits in 8 sub-blocks of 32, each with a 6-bit scale and a 6-bit minimum: 5.5 bits per value.
// This pair owns the layout and the portable decode; faster kernels in other rooms read the same struct.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// byte  0  d           f16, scale of the scales
/// byte  2  dmin        f16, scale of the minimums
/// byte  4  scales[12]  8 scales sc and 8 minimums mn of 6 bits (k_scales.h)
/// byte 16  qh[32]      bit s of qh[l] is bit 4 of the code of value 32s + l (s < 8, l < 32)
/// byte 48  qs[128]     for p < 4, l < 32: the low nibble of qs[32p + l] is bits 0-3 of value 64p + l, the high nibble
///                      those of value 64p + 32 + l
/// x[i] = (d * sc[i / 32]) * q[i] - dmin * mn[i / 32]
struct BlockQ5_K {
  static constexpr uint32_t kSize = 256;
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};
static_assert(sizeof(BlockQ5_K) == 176 && alignof(BlockQ5_K) == 2);

extern const Format kFormatQ5_K;

}  // namespace thimble
