// SPDX-License-Identifier: Apache-2.0
//
// Q4_1: 32 values of 4 bits with a scale and a minimum, 5 bits per value. This pair owns the layout and the portable
// decode; faster kernels live in other rooms and read the same struct.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// byte  0  d       f16, scale
/// byte  2  m       f16, minimum
/// byte  4  qs[16]  low nibbles are the codes q[0..15], high nibbles q[16..31]
/// x[j] = d * q[j] + m
struct BlockQ4_1 {
  static constexpr uint32_t kSize = 32;
  uint16_t d;
  uint16_t m;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_1) == 20 && alignof(BlockQ4_1) == 2);

extern const Format kFormatQ4_1;

}  // namespace thimble
