// SPDX-License-Identifier: Apache-2.0
//
// See thimble_arm.h: the choice of a table, for C.
#include "arm/cpu.h"
#include "arm/kernel_tables.h"
#include "arm/thimble_arm.h"

extern "C" const thimble_kernels* thimble_fast_kernels(void) {
  const thimble::Kernels& best = thimble::SelectKernels(thimble::DescribeCpu());
  const thimble::Kernels& trusted = thimble::SelfCheck(best) ? best : thimble::kPortableKernels;
  return reinterpret_cast<const thimble_kernels*>(&trusted);
}
