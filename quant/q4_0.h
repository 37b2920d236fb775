// SPDX-License-Identifier: Apache-2.0
//
// Q4_0: 32 values of 4 bits around 8 with one scale, 4.5 bits per value. This pair owns the layout and the portable
// decode; faster kernels live in other rooms and read the same struct.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// byte  0  d       f16, scale
/// byte  2  qs[16]  low nibbles are the codes q[0..15], high nibbles q[16..31]
/// x[j] = d * (q[j] - 8)
struct BlockQ4_0 {
  static constexpr uint32_t kSize = 32;
  uint16_t d;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_0) == 18 && alignof(BlockQ4_0) == 2);

extern const Format kFormatQ4_0;

}  // namespace thimble
