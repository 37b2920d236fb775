// SPDX-License-Identifier: Apache-2.0
//
// A few lines of a stranger's firmware: something of every room, run on QEMU's board AN386. It ends with 0 where the
// kernels of a Cortex-M4F are linked and work.
#include <array>
#include <cstdint>
#include <cstring>

#include "arm/board_kernels.h"
#include "io/gguf.h"
#include "quant/format.h"

namespace {

[[noreturn]] void Exit(uint32_t code) {  // semihosting's SYS_EXIT_EXTENDED
  const uint32_t block[] = {0x20026, code};
  register uint32_t call asm("r0") = 0x20;
  register const uint32_t* with asm("r1") = block;
  asm volatile("bkpt 0xab" : : "r"(call), "r"(with) : "memory");
  while (true) {
  }
}

uint32_t Run() {
  const thimble::Kernels& kernels = thimble::BoardKernels();
  if (std::strcmp(kernels.name, "dsp") != 0) return 1;
  float x[2] = {3, -3};
  const float weight[2] = {1, 2};
  kernels.rms_norm(x, weight, 2, 0, x);
  if (x[0] != 1 || x[1] != -2) return 2;
  if (thimble::Gguf::Open({})) return 3;
  return thimble::FormatOf(thimble::Type::kQ4_0).name == nullptr ? 4 : 0;
}

}  // namespace

extern "C" {

extern char _stack_top[];

[[noreturn]] void Reset() {
  *reinterpret_cast<volatile uint32_t*>(0xe000ed88) |= 0xfu << 20;  // CPACR: floating point on
  asm volatile("dsb\n\tisb" ::: "memory");
  Exit(Run());
}

[[noreturn]] void Fault() { Exit(99); }

[[gnu::section(".vectors"), gnu::used]] const std::array<const void*, 16> kVectors = {
    _stack_top,
    reinterpret_cast<const void*>(Reset),
    reinterpret_cast<const void*>(Fault),
    reinterpret_cast<const void*>(Fault),
};

}  // extern "C"
