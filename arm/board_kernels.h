// SPDX-License-Identifier: Apache-2.0
//
// The tables of accelerated kernels for bare metal. What a board's core can do is known when it is compiled: nothing is
// asked at run time, and what a program does not name is not linked.
#pragma once

#include <span>

#include "core/kernels.h"

namespace thimble {

extern const Kernels kDspKernels;  // "dsp": cores with the DSP extension and floats, Cortex-M4F, M7, M33 and later
extern const Kernels kMveKernels;  // "mve": Helium with floats, Cortex-M55 and M85

/// The best table that this core was compiled for: the portable one where there is no other.
const Kernels& BoardKernels();

/// All of them, best first; the portable table is not among them.
std::span<const Kernels* const> BoardTables();

}  // namespace thimble
