// SPDX-License-Identifier: Apache-2.0
//
// Matrix times activations, portable: each row is decoded once and multiplied with every token. All products add up in
// the same order (quant/lanes.h), so the batch size does not change a bit.
#include "core/portable.h"
#include "quant/lanes.h"

namespace thimble {

void PortableMatmul(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                    std::byte* scratch) {
  float* row = reinterpret_cast<float*>(scratch);
  for (size_t r = begin; r < end; ++r) {
    w.DecodeRow(r, row);
    for (size_t t = 0; t < x.tokens; ++t) y[t * y_stride + r - begin] = DotF32(row, x.x + t * w.cols, w.cols);
  }
}

}  // namespace thimble
