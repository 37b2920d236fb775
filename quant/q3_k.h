// SPDX-License-Identifier: Apache-2.0
//
// Q3_K: 256 values of 3 bits in 16 sub-blocks of 16, each with a 6-bit scale: 3.4375 bits per value.
// This pair owns the layout and the portable decode; faster kernels in other rooms read the same struct.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// byte   0  hmask[32]   bit 4h + j of hmask[l] is bit 2 of the code of value 128h + 32j + l (h < 2, j < 4, l < 32)
/// byte  32  qs[64]      bits 2j, 2j+1 of qs[32h + l] are its bits 0-1
/// byte  96  scales[12]  16 codes sc of 6 bits: bits 0-3 of sc[s] are the low (s < 8) or high (s >= 8) nibble of
///                       scales[s % 8], bits 4-5 are bits 2(s / 4), 2(s / 4) + 1 of scales[8 + s % 4]
/// byte 108  d           f16, scale of the scales
/// x[i] = (d * (sc[i / 16] - 32)) * (q[i] - 4)
struct BlockQ3_K {
  static constexpr uint32_t kSize = 256;
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];
  uint16_t d;
};
static_assert(sizeof(BlockQ3_K) == 110 && alignof(BlockQ3_K) == 2);

extern const Format kFormatQ3_K;

}  // namespace thimble
