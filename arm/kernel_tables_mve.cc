// SPDX-License-Identifier: Apache-2.0
//
// The table "mve". What takes little of a token's time stays portable.
#include "arm/board_isa.h"

#ifdef THIMBLE_MVE
#include "arm/board_kernels.h"
#include "arm/mve.h"
#include "core/portable.h"

namespace thimble {

constinit const Kernels kMveKernels = {
    .name = "mve",
    .quantise = MveQuantise,
    .matmul = MveMatmul,
    .rms_norm = MveRmsNorm,
    .swiglu = MveSwiglu,
    .sigmoid_gate = MveSigmoidGate,
    .l2_norm = MveL2Norm,
    .conv_silu = MveConvSilu,
    .delta_step = MveDeltaStep,
    .delta_chunk = MveDeltaChunk,
    .widen_state = PortableWidenState,
    .round_state = PortableRoundState,
    .attend = PortableAttend,
};

}  // namespace thimble

#endif  // THIMBLE_MVE
