// SPDX-License-Identifier: Apache-2.0
//
// The tables of accelerated kernels of this architecture, and which one a processor gets.
#pragma once

#include <span>

#include "arm/cpu.h"
#include "core/kernels.h"

namespace thimble {

struct KernelTable {
  const Kernels* kernels;
  bool Cpu::* needs;
};

/// All that were built in, best first; one may run where cpu.*needs is true. The portable table is not among them.
std::span<const KernelTable> KernelTables();

/// The best table for `cpu`: the portable one where no other may run.
const Kernels& SelectKernels(const Cpu& cpu);

/// Multiplies small matrices of known values, of each packed format, and compares with the portable
/// kernels: false when a library computes something else than it was written for. Takes well below a millisecond.
bool SelfCheck(const Kernels& kernels);

}  // namespace thimble
