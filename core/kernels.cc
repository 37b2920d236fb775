// SPDX-License-Identifier: Apache-2.0
//
// The table of the portable kernels.
#include "core/kernels.h"

#include "core/portable.h"

namespace thimble {

const Kernels kPortableKernels = {
    .name = "portable",
    .quantise = nullptr,
    .matmul = PortableMatmul,
    .rms_norm = PortableRmsNorm,
    .swiglu = PortableSwiglu,
    .sigmoid_gate = PortableSigmoidGate,
    .l2_norm = PortableL2Norm,
    .conv_silu = PortableConvSilu,
    .delta_step = PortableDeltaStep,
    .delta_chunk = PortableDeltaChunk,
    .widen_state = PortableWidenState,
    .round_state = PortableRoundState,
    .attend = PortableAttend,
};

}  // namespace thimble
