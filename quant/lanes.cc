// SPDX-License-Identifier: Apache-2.0
//
// See lanes.h. Once for all who call it: sixteen sums in registers are much code.
#include "quant/lanes.h"

namespace thimble {

float DotF32(const float* a, const float* b, size_t n) {
  Lanes lanes;
  lanes.Add(a, b, n);
  return lanes.Fold();
}

}  // namespace thimble
