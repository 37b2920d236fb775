// SPDX-License-Identifier: Apache-2.0
//
// See thimble_arm.h: the table that was built for this board, for C.
#include "arm/board_kernels.h"
#include "arm/thimble_arm.h"

extern "C" const thimble_kernels* thimble_fast_kernels(void) {
  return reinterpret_cast<const thimble_kernels*>(&thimble::BoardKernels());
}
