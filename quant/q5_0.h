// SPDX-License-Identifier: Apache-2.0
//
// Q5_0: 32 values of 5 bits around 16 with one scale, 5.5 bits per value. This pair owns the layout and the portable
// decode; faster kernels live in other rooms and read the same struct.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// byte  0  d       f16, scale
/// byte  2  qh[4]   one little-endian 32-bit word, bit j is bit 4 of the code q[j]
/// byte  6  qs[16]  low nibbles are bits 0-3 of q[0..15], high nibbles of q[16..31]
/// x[j] = d * (q[j] - 16)
struct BlockQ5_0 {
  static constexpr uint32_t kSize = 32;
  uint16_t d;
  uint8_t qh[4];
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_0) == 22 && alignof(BlockQ5_0) == 2);

extern const Format kFormatQ5_0;

}  // namespace thimble
