// SPDX-License-Identifier: Apache-2.0
//
// IQ4_XS: 256 values of 4 bits that stand for the levels of IQ4_NL, in 8 sub-blocks of 32, each with a 6-bit scale:
// 4.25 bits per value. This pair owns the layout and the portable decode; the levels stand in iq4_nl.h.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// byte 0  d            f16, scale of the scales
/// byte 2  scales_h     16 bits: bits 2s, 2s+1 are bits 4-5 of the scale code sc[s] (s < 8)
/// byte 4  scales_l[4]  bits 0-3 of sc[s]: the low (even s) or high (odd s) nibble of scales_l[s / 2]
/// byte 8  qs[128]      for s < 8, j < 16: the low nibble of qs[16s + j] is the code of value 32s + j, the high nibble
///                      that of value 32s + 16 + j
/// x[i] = (d * (sc[i / 32] - 32)) * kLevelsIQ4[q[i]]
struct BlockIQ4_XS {
  static constexpr uint32_t kSize = 256;
  uint16_t d;
  uint16_t scales_h;
  uint8_t scales_l[4];
  uint8_t qs[128];
};
static_assert(sizeof(BlockIQ4_XS) == 136 && alignof(BlockIQ4_XS) == 2);

extern const Format kFormatIQ4_XS;

}  // namespace thimble
