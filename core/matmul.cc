// SPDX-License-Identifier: Apache-2.0
//
// Matrix times activations, portable: for one token a dot product on each row as it is mapped, for several tokens each
// row decoded once. Both add up in the same order (quant/lanes.h), so the batch size does not change a bit.
#include "core/portable.h"
#include "quant/lanes.h"

namespace thimble {

void PortableMatmul(const Matrix& w, size_t begin, size_t end, const float* x, size_t tokens, float* y, size_t y_stride,
                    float* scratch) {
  const Format& format = *w.format;
  const size_t blocks = w.row_blocks();
  for (size_t r = begin; r < end; ++r) {
    if (tokens == 1) {
      y[r] = format.dot(w.row(r), blocks, x);
      continue;
    }
    format.decode(w.row(r), blocks, scratch);
    for (size_t t = 0; t < tokens; ++t) y[t * y_stride + r] = DotF32(scratch, x + t * w.cols, w.cols);
  }
}

}  // namespace thimble
