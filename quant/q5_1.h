// SPDX-License-Identifier: Apache-2.0
//
// Q5_1: 32 values of 5 bits with a scale and a minimum, 6 bits per value. This pair owns the layout and the portable
// decode; faster kernels live in other rooms and read the same struct.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// byte  0  d       f16, scale
/// byte  2  m       f16, minimum
/// byte  4  qh[4]   one little-endian 32-bit word, bit j is bit 4 of the code q[j]
/// byte  8  qs[16]  low nibbles are bits 0-3 of q[0..15], high nibbles of q[16..31]
/// x[j] = d * q[j] + m
struct BlockQ5_1 {
  static constexpr uint32_t kSize = 32;
  uint16_t d;
  uint16_t m;
  uint8_t qh[4];
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_1) == 24 && alignof(BlockQ5_1) == 2);

extern const Format kFormatQ5_1;

}  // namespace thimble
