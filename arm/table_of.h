// SPDX-License-Identifier: Apache-2.0
//
// The table of an instruction set, from its templates. Only declarations are used here: the definitions are compiled
// with that instruction set's flags.
#pragma once

#include "arm/float_kernels.h"
#include "arm/matmul.h"

namespace thimble {

template <class Isa>
void Attend(const AttentionHead& head, float* scratch) {
  FloatKernels<typename FloatOf<Isa>::Tag>::Attend(head, FindCodedFormat<typename CodesOf<Isa>::Tag>, scratch);
}

template <class Isa>
constexpr Kernels TableOf(const char* name) {
  using Floats = FloatKernels<typename FloatOf<Isa>::Tag>;
  return {.name = name,
          .quantise = Floats::Quantise,
          .matmul = Matmul<Isa>,
          .matmul_rows = kMatmulTileRows,
          .rms_norm = Floats::RmsNorm,
          .swiglu = Floats::Swiglu,
          .sigmoid_gate = Floats::SigmoidGate,
          .l2_norm = Floats::L2Norm,
          .conv_silu = Floats::ConvSilu,
          .delta_step = Floats::DeltaStep,
          .delta_chunk = Floats::DeltaChunk,
          .widen_state = Floats::WidenState,
          .round_state = Floats::RoundState,
          .attend = Attend<Isa>};
}

}  // namespace thimble
