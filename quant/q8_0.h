// SPDX-License-Identifier: Apache-2.0
//
// Q8_0: 32 values as signed bytes with one scale, 8.5 bits per value. This pair owns the layout and the portable decode
// and encode; faster kernels live in other rooms and read the same struct.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// byte  0  d       f16, scale
/// byte  2  qs[32]  int8
/// x[j] = d * qs[j]
struct BlockQ8_0 {
  static constexpr uint32_t kSize = 32;
  uint16_t d;
  int8_t qs[32];
};
static_assert(sizeof(BlockQ8_0) == 34 && alignof(BlockQ8_0) == 2);

extern const Format kFormatQ8_0;

}  // namespace thimble
