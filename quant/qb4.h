// SPDX-License-Identifier: Apache-2.0
//
// QB4: packed weights of 4 bits in blocks of 32 with a bfloat16 scale, in the layout that XNNPACK's qd8_f32_qb4w
// micro-kernels with nr = 16 and kr = 4 read. This pair owns the layout, the portable decoding and the writing of
// tiles; kernels are elsewhere.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// A tile of 16 rows begins on a multiple of 4 bytes:
///   f32 sum[16]        minus the sum over a row of scale * code
///   for every block of 32 values of the rows:
///     for k = 0, 8, 16, 24, for every row r, for i < 4:
///       a byte: code[r][k + i] in its low half, code[r][k + 4 + i] in its high half, both two's complement
///     bf16 scale[16]   divided by 16
///   f32 bias[16]       zero
/// x = scale * code, code in [-8, 7]; a scale may be negative. Rows that fill the last tile of a matrix are zero.
/// Sixteen bytes hold eight values of four rows, 64 bytes those of all: vectors of 128, 256 and 512 bits are filled in
/// order, and one instruction multiplies four values of each row where there is one that does. Only XNNPACK reads sum
/// and bias.
struct Qb4 {
  static constexpr uint32_t kRows = 16;
  static constexpr uint32_t kBlock = 32;
  static constexpr uint32_t kCodeBytes = kRows * kBlock / 2;       // of a block
  static constexpr uint32_t kBlockBytes = kCodeBytes + kRows * 2;  // codes and scales
  static constexpr uint32_t kSumBytes = kRows * 4;                 // before the blocks, and behind them
};

extern const Format kFormatQB4;

}  // namespace thimble
