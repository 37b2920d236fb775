// SPDX-License-Identifier: Apache-2.0
//
// Matrix times activations, portable: for one token a dot product on each row as it is mapped, for several tokens each
// row decoded once. Both add up in the same order (quant/lanes.h), so the batch size does not change a bit.
#include "core/portable.h"
#include "quant/lanes.h"

namespace thimble {

void PortableMatmul(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                    std::byte* scratch) {
  const Format& format = *w.format;
  float* row = reinterpret_cast<float*>(scratch);
  for (size_t r = begin; r < end; ++r) {
    if (x.tokens == 1 && !format.packed()) {
      y[r - begin] = format.dot(w.tile(r), w.row_blocks(), x.x);
      continue;
    }
    w.DecodeRow(r, row);
    for (size_t t = 0; t < x.tokens; ++t) y[t * y_stride + r - begin] = DotF32(row, x.x + t * w.cols, w.cols);
  }
}

}  // namespace thimble
