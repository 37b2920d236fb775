// SPDX-License-Identifier: Apache-2.0
//
// Products of weights and activations as floats: F32, F16 and BF16 weights are read as they lie, others are decoded row
// by row into the worker's scratch.
#pragma once

#include "arm/float_dot.h"
#include "arm/float_kernels.h"

namespace thimble {

/// Where row r begins, or its tile. (Matrix has functions for this, but inline ones that the linker would share.)
template <class Isa>
const std::byte* TileOfRow(const Matrix& w, size_t r) {
  const Format& format = *w.format;
  const size_t tile_bytes = w.cols / format.block_size * format.block_bytes + format.tile_bytes;
  return w.data + r / format.tile_rows * tile_bytes;
}

template <class Isa, class Element>
void MultiplyRows(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride) {
  using V = Vector<Isa>;
  const size_t stride = w.cols * Element::kBytes;
  size_t r = begin;
  for (; r + 4 <= end; r += 4) {
    DotAll<V, Element, 4>(w.data + r * stride, stride, x.x, x.cols, x.tokens, x.cols, y + (r - begin), y_stride);
  }
  for (; r < end; ++r) {
    DotAll<V, Element, 1>(w.data + r * stride, stride, x.x, x.cols, x.tokens, x.cols, y + (r - begin), y_stride);
  }
}

template <class Isa>
void MultiplyDecoded(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                     float* rows) {
  const size_t blocks = w.cols / w.format->block_size;
  for (size_t r = begin; r < end; r += 4) {
    const size_t count = end - r < 4 ? end - r : 4;
    for (size_t i = 0; i < count; ++i) {
      const std::byte* tile = TileOfRow<Isa>(w, r + i);
      float* row = rows + i * w.cols;
      if (w.format->tile_rows > 1) {
        w.format->decode_row(tile, (r + i) % w.format->tile_rows, blocks, row);
      } else {
        w.format->decode(tile, blocks, row);
      }
    }
    const Matrix decoded = {w.format, reinterpret_cast<const std::byte*>(rows), count, w.cols};
    MultiplyRows<Isa, ElementF32>(decoded, 0, count, x, y + (r - begin), y_stride);
  }
}

template <class Isa>
void FloatKernels<Isa>::Matmul(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y,
                               size_t y_stride, std::byte* scratch) {
  switch (w.format->type) {
    case Type::kF32:
      return MultiplyRows<Isa, ElementF32>(w, begin, end, x, y, y_stride);
    case Type::kF16:
      return MultiplyRows<Isa, ElementF16>(w, begin, end, x, y, y_stride);
    case Type::kBF16:
      return MultiplyRows<Isa, ElementBF16>(w, begin, end, x, y, y_stride);
    default:
      return MultiplyDecoded<Isa>(w, begin, end, x, y, y_stride, reinterpret_cast<float*>(scratch));
  }
}

}  // namespace thimble
