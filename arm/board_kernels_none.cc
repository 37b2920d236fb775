// SPDX-License-Identifier: Apache-2.0
//
// A core without kernels of its own: the portable ones serve.
#include "arm/board_kernels.h"

namespace thimble {

const Kernels& BoardKernels() { return kPortableKernels; }

std::span<const Kernels* const> BoardTables() { return {}; }

}  // namespace thimble
