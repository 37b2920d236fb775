// SPDX-License-Identifier: Apache-2.0
//
// The kernels for Cortex-M cores with the DSP extension and floats (M4F, M7, M33), by name. Contracts stand in
// core/kernels.h. No multiplication is fused with an addition: an M4 takes a cycle for each and three for the fused
// one, and so all of these cores get the same bits.
#pragma once

#include "core/kernels.h"

namespace thimble {

void DspQuantise(const Activations& x, size_t t);
void DspMatmul(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
               std::byte* scratch);
void DspSwiglu(float* gate, const float* up, size_t n);
void DspSigmoidGate(float* x, const float* gate, size_t n);
void DspConvSilu(float* u, size_t tokens, size_t channels, size_t begin, size_t end, const float* w, size_t taps,
                 float* tail);
void DspDeltaStep(const DeltaHead& head);
void DspDeltaChunk(const DeltaHead& head, float* scratch);

}  // namespace thimble
