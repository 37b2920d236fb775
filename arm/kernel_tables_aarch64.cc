// SPDX-License-Identifier: Apache-2.0
//
// AArch64's tables. A new instruction set is a line in kTables, its tag in isa.h, and its files in CMakeLists.txt.
#include "arm/kernel_tables.h"
#include "arm/table_of.h"

namespace thimble {
namespace {

constinit const Kernels kNeonI8mm = TableOf<NeonI8mm>("neoni8mm");
constinit const Kernels kNeonDot = TableOf<NeonDot>("neondot");
constinit const Kernels kNeon = TableOf<Neon>("neon");

constexpr KernelTable kTables[] = {
    {&kNeonI8mm, &Cpu::i8mm},
    {&kNeonDot, &Cpu::dotprod},
    {&kNeon, &Cpu::neon},
};

}  // namespace

std::span<const KernelTable> KernelTables() { return kTables; }

}  // namespace thimble
