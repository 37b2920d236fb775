// SPDX-License-Identifier: Apache-2.0
//
// The kernels for Helium (M-profile vectors, MVE with floats: Cortex-M55, M85), by name. Contracts stand in
// core/kernels.h. Vectors of floats flush subnormals to zero, whatever the core is set to, and fuse multiplications
// with additions.
#pragma once

#include "core/kernels.h"

namespace thimble {

void MveQuantise(const Activations& x, size_t t);
void MveMatmul(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
               std::byte* scratch);
void MveRmsNorm(const float* x, const float* weight, size_t n, float epsilon, float* y);
void MveSwiglu(float* gate, const float* up, size_t n);
void MveSigmoidGate(float* x, const float* gate, size_t n);
void MveL2Norm(float* x, size_t n, float scale);
void MveConvSilu(float* u, size_t tokens, size_t channels, size_t begin, size_t end, const float* w, size_t taps,
                 float* tail);
void MveDeltaStep(const DeltaHead& head);
void MveDeltaChunk(const DeltaHead& head, float* scratch);

}  // namespace thimble
