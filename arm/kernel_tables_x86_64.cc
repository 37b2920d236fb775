// SPDX-License-Identifier: Apache-2.0
//
// x86-64's tables. A new instruction set is a line in kTables, its tag in isa.h, and its files in CMakeLists.txt.
#include "arm/kernel_tables.h"
#include "arm/table_of.h"

namespace thimble {
namespace {

constinit const Kernels kAvx512 = TableOf<Avx512>("avx512vnni");
constinit const Kernels kAvx2 = TableOf<Avx2>("avx2");

constexpr KernelTable kTables[] = {
    {&kAvx512, &Cpu::avx512vnni},
    {&kAvx2, &Cpu::avx2},
};

}  // namespace

std::span<const KernelTable> KernelTables() { return kTables; }

}  // namespace thimble
