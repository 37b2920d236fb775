// SPDX-License-Identifier: Apache-2.0
//
// How XNNPACK's qd8_f32_qb4w micro-kernels are called. Debian packages their archive but not these declarations.
#pragma once

#include <cstddef>
#include <cstdint>

namespace thimble {

/// xnn_f32_qb4w_minmax_params.
struct XnnParams {
  float min, max;
  size_t block;
};

/// xnn_qd8_quantization_params, of a row of activations.
struct XnnRow {
  int32_t zero_point;
  float scale;
};

using XnnGemm = void(size_t m, size_t n, size_t k, const int8_t* a, size_t a_stride, const void* w, float* c,
                     size_t c_stride, size_t tile_stride, const XnnParams* params, const XnnRow* rows);

}  // namespace thimble
