// SPDX-License-Identifier: Apache-2.0
//
// See rotate.h.
#include "core/rotate.h"

#include <cmath>

namespace thimble {

void Rotate(float* x, size_t n) {
  const size_t piece = n & (~n + 1);
  const float scale = 1.0f / std::sqrt(static_cast<float>(piece));
  for (size_t i = 0; i < n; ++i) x[i] *= scale;
  for (size_t width = 1; width < piece; width *= 2) {
    for (size_t first = 0; first < n; first += 2 * width) {
      for (size_t i = first; i < first + width; ++i) {
        const float a = x[i], b = x[i + width];
        x[i] = a + b;
        x[i + width] = a - b;
      }
    }
  }
}

}  // namespace thimble
