// SPDX-License-Identifier: Apache-2.0
//
// The tables of a core with the DSP extension.
#include "arm/board_kernels.h"

namespace thimble {

const Kernels& BoardKernels() { return kDspKernels; }

std::span<const Kernels* const> BoardTables() {
  static constexpr const Kernels* kTables[] = {&kDspKernels};
  return kTables;
}

}  // namespace thimble
