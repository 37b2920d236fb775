// SPDX-License-Identifier: Apache-2.0
//
// The kernels that compute with floats, once for each instruction set that changes them: everything in Kernels but the
// products of quantised weights. Contracts stand in core/kernels.h; sums are added up in another order than there, and
// with fused multiply-add.
#pragma once

#include "arm/coded_rows.h"
#include "arm/isa.h"
#include "core/kernels.h"

namespace thimble {

template <class Isa>  // Neon, Avx2, Avx512
struct FloatKernels {
  static void Quantise(const Activations& x, size_t t);
  static void RmsNorm(const float* x, const float* weight, size_t n, float epsilon, float* y);
  static void Swiglu(float* gate, const float* up, size_t n);
  static void SigmoidGate(float* x, const float* gate, size_t n);
  static void L2Norm(float* x, size_t n, float scale);
  static void ConvSilu(float* u, size_t tokens, size_t channels, size_t begin, size_t end, const float* w, size_t taps,
                       float* tail);
  static void DeltaStep(const DeltaHead& head);
  static void DeltaChunk(const DeltaHead& head, float* scratch);
  static void WidenState(const StateRows& state, float* rows);
  static void RoundState(const float* rows, const StateRows& state);

  /// Kernels::attend; find_coded is FindCodedFormat of the instruction set.
  static void Attend(const AttentionHead& head, const CodedFormat* (*find_coded)(Type type), float* scratch);

  /// Kernels::matmul with the activations' floats and weights of any format, decoded row by row where they are not F32,
  /// F16 or BF16.
  static void Matmul(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                     std::byte* scratch);
};

}  // namespace thimble
