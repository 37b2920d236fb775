// SPDX-License-Identifier: Apache-2.0
//
// What gguf_blocks.h wants of an instruction set: a specialisation of Simd with vectors and what is done to them. One
// vector holds 32 bytes of each of kRows rows, or eight 32-bit lanes of each (in whatever order, as long as it is the
// same for all).
//
//   kRows, kVectors       rows in a vector; vectors of rows that are multiplied at a time
//   One                   the same for a single row, with what unpacking needs
//   Bytes                 Load, LoadValues (activations: the same for all rows), Store, Broadcast, Lookup, Subtract
//     Nibbles             the low nibbles of 16 bytes, then the high ones
//     Shift<n>            bytes moved n bits to the right, or -n to the left; bits of neighbours may come in
//     Field<n, mask>      byte >> n & mask
//     Merge<mask>         of the second, the bits in mask, of the first all others, where that has none in mask
//     Join<n, mask>       (first | second << n) & mask of the low n bits of the first
//   Dot, Fold, Whole      products of 32 codes and activations; of four of them, the sums (a Quad); of two Quads, eight
//   Even, Odd             Ints: the same for the first and the second 16 of each 32
//   kRaises               signed codes are multiplied as code + 128: Raise
//   kStarts               sums of products start from the offset's share, not from zero: LoadStart, StoreStart, DotFrom
//   Ints, Floats, Scalar  eight lanes; a number of each row in all its lanes
//   Sum                   the running sum of a row; Totals adds up its lanes
#pragma once

#include <cstddef>
#include <cstdint>

#include "arm/isa.h"

namespace thimble {

template <class Isa>
struct Simd;

/// Where n rows are being read.
template <class Isa, size_t n>
struct BlockRows {
  const std::byte* row[n];

  template <class T = uint8_t>
  const T* At(size_t offset, size_t i = 0) const {
    return reinterpret_cast<const T*>(row[i] + offset);
  }
  void Advance(size_t bytes) {
    for (const std::byte*& p : row) p += bytes;
  }
};

}  // namespace thimble
