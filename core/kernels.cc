// SPDX-License-Identifier: Apache-2.0
//
// The table of the portable kernels, and how tasks are run.
#include "core/kernels.h"

#include "core/portable.h"

namespace thimble {

void Workers::Run(size_t tasks, Task task, void* argument) const {
  if (run != nullptr && tasks > 1) {
    run(context, tasks, task, argument);
    return;
  }
  for (size_t i = 0; i < tasks; ++i) task(argument, i, 0);
}

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
