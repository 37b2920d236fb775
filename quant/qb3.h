// SPDX-License-Identifier: Apache-2.0
//
// QB3: packed weights of 3 bits in blocks of 32 with a bfloat16 scale, 3.5 bits a value, laid out so that eight vectors
// of codes come out of three loads with few instructions. This pair owns the layout, the portable decoding and the
// writing of tiles; kernels are elsewhere.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// A tile holds 16 rows: in every block of 32 values first the codes, then bf16 scale[16]. A unit is four consecutive
/// values of each row, row after row, a byte each when unpacked: 64 bytes. The eight units u0..u7 of a block are stored
/// as three times 64 bytes:
///   A = u0 | u1 << 3 | (u6 >> 1) << 6
///   B = u2 | u3 << 3 | (u7 & 1) << 6 | (u6 & 1) << 7
///   C = u4 | u5 << 3 | (u7 >> 1) << 6
/// so u0 = A & 7, u1 = A >> 3 & 7, and the top bits of A over the highest of B are u6, those of C over the next are u7.
/// x = scale * (u - 4): codes u - 4 in [-4, 3]. Rows that fill the last tile of a matrix have scale zero. Sixteen bytes
/// hold four rows: vectors of 128, 256 and 512 bits are filled in order.
struct Qb3 {
  static constexpr uint32_t kRows = 16;
  static constexpr uint32_t kBlock = 32;
  static constexpr uint32_t kUnitBytes = kRows * 4;
  static constexpr uint32_t kCodeBytes = 3 * kUnitBytes;           // of a block
  static constexpr uint32_t kBlockBytes = kCodeBytes + kRows * 2;  // codes and scales
};

extern const Format kFormatQB3;

}  // namespace thimble
