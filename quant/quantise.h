// SPDX-License-Identifier: Apache-2.0
//
// From numbers to codes: the search for the scale of every block that loses least, for the formats that a pack holds.
// This pair owns the arithmetic of rounding, the same bits on every machine; layouts are told in the formats' files.
#pragma once

#include <cstddef>
#include <cstdint>

namespace thimble {

inline constexpr size_t kQuantiseBlock = 32;  // values that share a scale, in all of these

/// The codes of x[blocks * 32], in [-8, 7] and in [-4, 3], and a scale for every block, a bfloat16 of either sign, that
/// make sum of weight[i] * (x[i] - scale * code[i])^2 small: some scales around the largest value on either end of the
/// codes are tried, each moved to the least squares of its codes. `weight` is [blocks * 32], not negative, or null for
/// ones; a block whose weights are all zero counts as ones. A block below 2^-100 becomes zero. False, with nothing
/// written that means something, when a value is not finite or from 2^126 on.
bool QuantiseQb4(const float* x, const float* weight, size_t blocks, int8_t* codes, uint16_t* scales);
bool QuantiseQb3(const float* x, const float* weight, size_t blocks, int8_t* codes, uint16_t* scales);

/// The codes of `blocks` blocks of Q4_0 as they are, their scales rounded to bfloat16. False when a scale is not
/// finite.
bool CodesFromQ4_0(const std::byte* q4_0, size_t blocks, int8_t* codes, uint16_t* scales);

/// Writes x[blocks * 32] as Q8_0: each block's largest magnitude becomes 127. False when a value is not finite or a
/// scale beyond an F16.
bool QuantiseQ8_0(const float* x, size_t blocks, std::byte* q8_0);

}  // namespace thimble
