// SPDX-License-Identifier: Apache-2.0
//
// Which function multiplies which format. For few tokens the blocks are multiplied as they lie in the file; for many,
// kMatmulTileRows rows are unpacked to 8 bits in the worker's scratch, once, and multiplied with all tokens, unless
// the instruction set multiplies packed ones as they lie.
#pragma once

#include "arm/float_kernels.h"
#include "arm/matmul.h"

namespace thimble {

/// Fewer tokens than this are multiplied one by one with the blocks as they lie.
inline constexpr size_t kTileTokens = 4;

template <class Isa>
void Matmul(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
            std::byte* scratch) {
  const bool packed = w.format->packed();
  const BlockFormat<Isa>* format = packed ? nullptr : FindBlockFormat<Isa>(w.format->type);
  if (x.codes == nullptr || (!packed && format == nullptr)) {
    FloatKernels<typename FloatOf<Isa>::Tag>::Matmul(w, begin, end, x, y, y_stride, scratch);
  } else if (x.tokens >= kTileTokens) {
    if constexpr (kMultipliesPacked<Isa>) {
      if (packed) return PackedKernels<Isa>::Multiply(w, begin, end, x, y, y_stride, scratch);
    }
    for (size_t r = begin; r < end; r += kMatmulTileRows) {
      const size_t stop = r + kMatmulTileRows < end ? r + kMatmulTileRows : end;
      Tile<Isa>::Unpack(w, format, r, stop, scratch).Multiply(x, stop - r, y + (r - begin), y_stride);
    }
  } else {
    for (size_t t = 0; t < x.tokens; ++t, y += y_stride) {
      const Activations token = x.From(t);
      packed ? PackedKernels<Isa>::Dot(w, begin, end, token, y) : format->dot(w, begin, end, token, y, scratch);
    }
  }
}

}  // namespace thimble
