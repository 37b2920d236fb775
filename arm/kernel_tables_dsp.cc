// SPDX-License-Identifier: Apache-2.0
//
// The table "dsp". What takes little of a token's time stays portable.
#include "arm/board_isa.h"

#ifdef THIMBLE_DSP
#include "arm/board_kernels.h"
#include "arm/dsp.h"
#include "core/portable.h"

namespace thimble {

constinit const Kernels kDspKernels = {
    .name = "dsp",
    .quantise = DspQuantise,
    .matmul = DspMatmul,
    .rms_norm = PortableRmsNorm,
    .swiglu = DspSwiglu,
    .sigmoid_gate = DspSigmoidGate,
    .l2_norm = PortableL2Norm,
    .conv_silu = DspConvSilu,
    .delta_step = DspDeltaStep,
    .delta_chunk = DspDeltaChunk,
    .widen_state = PortableWidenState,
    .round_state = PortableRoundState,
    .attend = PortableAttend,
};

}  // namespace thimble

#endif  // THIMBLE_DSP
