// SPDX-License-Identifier: Apache-2.0
//
// Rows of a key/value cache in 8 bits and fewer: scores from whole-number products with queries in 8 bits, and rows as
// floats. The declarations are what attention sees; the templates behind them are compiled in attention_<isa>.cc.
#pragma once

#include "arm/isa.h"
#include "core/kernels.h"

namespace thimble {

/// `count` rows of the cache as they are read.
struct RowBlock {
  const std::byte* first;
  size_t stride;
  size_t count;
};

/// Queries in 8 bits: about scale * code, or in two parts of which the second is finer: scale * (128 code + low).
struct CodedQueries {
  const int8_t* codes;  // [count][d]
  const int8_t* low;    // [count][d], magnitudes up to 64; not read where one part will do
  const float* scales;  // [count][d / 32]
  size_t count;
  size_t d;  // a multiple of 32
};

/// How a format is read. A score does not depend on the rows and queries beside it, to the bit.
struct CodedFormat {
  Type type;
  bool fine;  // it is worth queries in two parts: in one, they would lose as much as the rows do

  /// scores[c * kAttentionTile + r] = row r times query c. Null: decode it, and multiply floats.
  void (*score)(const RowBlock& block, const CodedQueries& queries, float* scores);

  /// to[r * d + i] = value i of row r.
  void (*decode)(const RowBlock& block, size_t d, float* to);

  /// out[c * out_stride + i] += sum over r, in this order and each product fused, of weights[c * kAttentionTile + r]
  /// times value i of row r as `decode` has it, for up to kAttentionTile rows. Null: decode them first, always.
  void (*add)(const RowBlock& block, size_t d, const float* weights, size_t columns, float* out, size_t out_stride);
};

/// Null: the format has no code of its own.
template <class Isa>
const CodedFormat* FindCodedFormat(Type type);

/// The instruction set whose coded rows one uses.
template <class Isa>
struct CodesOf {
  using Tag = Isa;
};
template <>
struct CodesOf<NeonI8mm> {
  using Tag = NeonDot;
};

}  // namespace thimble
