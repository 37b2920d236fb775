// SPDX-License-Identifier: Apache-2.0
//
// Q6_K: 256 values of 6 bits in 16 sub-blocks of 16, each with an 8-bit scale: 6.5625 bits per value.
// This pair owns the layout and the portable decode; faster kernels in other rooms read the same struct.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// byte   0  ql[128]     for h < 2, j < 4, l < 32: bits 0-3 of the code of value 128h + 32j + l are the low (j < 2) or
///                       high (j >= 2) nibble of ql[64h + 32(j % 2) + l]
/// byte 128  qh[64]      bits 2j, 2j+1 of qh[32h + l] are its bits 4-5
/// byte 192  scales[16]  int8
/// byte 208  d           f16, scale of the scales
/// x[i] = (d * scales[i / 16]) * (q[i] - 32)
struct BlockQ6_K {
  static constexpr uint32_t kSize = 256;
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  uint16_t d;
};
static_assert(sizeof(BlockQ6_K) == 210 && alignof(BlockQ6_K) == 2);

extern const Format kFormatQ6_K;

}  // namespace thimble
