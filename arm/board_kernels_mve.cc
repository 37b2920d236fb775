// SPDX-License-Identifier: Apache-2.0
//
// The tables of a core with Helium, which brings the DSP extension along.
#include "arm/board_kernels.h"

namespace thimble {

const Kernels& BoardKernels() { return kMveKernels; }

std::span<const Kernels* const> BoardTables() {
  static constexpr const Kernels* kTables[] = {&kMveKernels, &kDspKernels};
  return kTables;
}

}  // namespace thimble
