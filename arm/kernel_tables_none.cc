// SPDX-License-Identifier: Apache-2.0
//
// An architecture without kernels of its own: the portable ones serve.
#include "arm/kernel_tables.h"

namespace thimble {

std::span<const KernelTable> KernelTables() { return {}; }

}  // namespace thimble
