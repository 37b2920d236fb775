// SPDX-License-Identifier: Apache-2.0
//
// The portable kernels, by name: kernels.cc lists them in kPortableKernels. Contracts stand in kernels.h.
#pragma once

#include "core/kernels.h"

namespace thimble {

void PortableMatmul(const Matrix& w, size_t begin, size_t end, const float* x, size_t tokens, float* y, size_t y_stride,
                    float* scratch);
void PortableRmsNorm(const float* x, const float* weight, size_t n, float epsilon, float* y);
void PortableSwiglu(float* gate, const float* up, size_t n);
void PortableConvSilu(float* u, size_t tokens, size_t channels, size_t begin, size_t end, const float* w, size_t taps,
                      float* tail);
void PortableDeltaStep(const DeltaHead& head);
void PortableDeltaChunk(const DeltaHead& head, float* scratch);
void PortableAttend(const AttentionHead& head, float* scratch);

}  // namespace thimble
