// SPDX-License-Identifier: Apache-2.0
//
// The tables of the core that this is compiled for. Helium brings the DSP extension along; a core without kernels of
// its own is served by the portable ones.
#include "arm/board_kernels.h"

#include "arm/board_isa.h"

namespace thimble {

#ifdef THIMBLE_MVE

const Kernels& BoardKernels() { return kMveKernels; }

std::span<const Kernels* const> BoardTables() {
  static constexpr const Kernels* kTables[] = {&kMveKernels, &kDspKernels};
  return kTables;
}

#elif defined(THIMBLE_DSP)

const Kernels& BoardKernels() { return kDspKernels; }

std::span<const Kernels* const> BoardTables() {
  static constexpr const Kernels* kTables[] = {&kDspKernels};
  return kTables;
}

#else

const Kernels& BoardKernels() { return kPortableKernels; }

std::span<const Kernels* const> BoardTables() { return {}; }

#endif

}  // namespace thimble
