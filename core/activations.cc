// SPDX-License-Identifier: Apache-2.0
//
// The element-wise parts of a layer, portable: norms, gates and the short convolution. No matrix, no state but the
// tail.
#include <cmath>

#include "core/math.h"
#include "core/portable.h"
#include "quant/lanes.h"

namespace thimble {

void PortableRmsNorm(const float* x, const float* weight, size_t n, float epsilon, float* y) {
  const float scale = 1.0f / std::sqrt(DotF32(x, x, n) / static_cast<float>(n) + epsilon);
  for (size_t i = 0; i < n; ++i) y[i] = x[i] * scale * weight[i];
}

void PortableSwiglu(float* gate, const float* up, size_t n) {
  for (size_t i = 0; i < n; ++i) gate[i] = Silu(gate[i]) * up[i];
}

void PortableSigmoidGate(float* x, const float* gate, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] *= Sigmoid(gate[i]);
}

void PortableL2Norm(float* x, size_t n, float scale) {
  const float inverse = scale / std::sqrt(DotF32(x, x, n) + kL2NormEpsilon);
  for (size_t i = 0; i < n; ++i) x[i] *= inverse;
}

void PortableConvSilu(float* u, size_t tokens, size_t channels, size_t begin, size_t end, const float* w, size_t taps,
                      float* tail) {
  const size_t history = taps - 1;
  for (size_t c = begin; c < end; ++c) {
    const float* tap = w + c * taps;
    // A window of the last `history` inputs slides over the tokens; taps are at most kMaxTaps (io/load_qwen35).
    float window[Config::kMaxTaps];
    for (size_t j = 0; j < history; ++j) window[j] = tail[j * channels + c];
    for (size_t t = 0; t < tokens; ++t) {
      float* value = u + t * channels + c;
      const float input = *value;
      float sum = tap[history] * input;
      for (size_t j = 0; j < history; ++j) sum += tap[j] * window[j];
      for (size_t j = 0; j + 1 < history; ++j) window[j] = window[j + 1];
      window[history - 1] = input;
      *value = Silu(sum);
    }
    for (size_t j = 0; j < history; ++j) tail[j * channels + c] = window[j];
  }
}

}  // namespace thimble
