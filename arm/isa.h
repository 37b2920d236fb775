// SPDX-License-Identifier: Apache-2.0
//
// The instruction sets that have kernels, as tags of templates. A kernel is a template over its tag, so that the same
// source compiled with other instructions never shares a symbol with it; what such a source includes must not bring
// inline functions of others along (no <algorithm>): the linker would keep any one copy of them.
#pragma once

namespace thimble {

struct Neon;      // ARMv8.0: Cortex-A53, A72
struct NeonDot;   // with SDOT: Cortex-A55, A76
struct NeonI8mm;  // with SMMLA: Cortex-A510, Neoverse V1 and later
struct Avx2;      // with FMA and F16C
struct Avx512;    // F, BW, DQ, VL and VNNI
struct Dsp;       // Cortex-M with the DSP extension: no vectors of floats

/// The instruction set whose FloatKernels one uses.
template <class Isa>
struct FloatOf {
  using Tag = Isa;
};
template <>
struct FloatOf<NeonDot> {
  using Tag = Neon;
};
template <>
struct FloatOf<NeonI8mm> {
  using Tag = Neon;
};

}  // namespace thimble
