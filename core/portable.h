// SPDX-License-Identifier: Apache-2.0
//
// The portable kernels, by name: kernels.cc lists them in kPortableKernels. Contracts stand in kernels.h.
#pragma once

#include "core/kernels.h"

namespace thimble {

void PortableMatmul(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                    std::byte* scratch);
void PortableRmsNorm(const float* x, const float* weight, size_t n, float epsilon, float* y);
void PortableSwiglu(float* gate, const float* up, size_t n);
void PortableSigmoidGate(float* x, const float* gate, size_t n);
void PortableL2Norm(float* x, size_t n, float scale);
void PortableConvSilu(float* u, size_t tokens, size_t channels, size_t begin, size_t end, const float* w, size_t taps,
                      float* tail);
void PortableDeltaStep(const DeltaHead& head);
void PortableDeltaChunk(const DeltaHead& head, float* scratch);
void PortableWidenState(const StateRows& state, float* rows);
void PortableRoundState(const float* rows, const StateRows& state);
void PortableAttend(const AttentionHead& head, float* scratch);

}  // namespace thimble
