// SPDX-License-Identifier: Apache-2.0
//
// What processor this is, as far as kernels and people want to know: from cpuinfo. It only describes; choosing kernels
// is the business of their tables.
#pragma once

#include <cstddef>
#include <cstdint>

namespace thimble {

struct Cpu {
  bool known = false;          // false: cpuinfo gave up (no /proc or /sys); then all below keeps its default
  const char* name = "";       // of the chip, "Broadcom BCM2712"; may be empty
  const char* core_name = "";  // of the first core, "Cortex-A76"; may be empty
  uint32_t cores = 1;
  uint32_t processors = 1;  // cores times hardware threads
  uint32_t l1d_bytes = 0;   // of the first core; 0 where there is none or it is not told
  uint32_t l2_bytes = 0;
  uint32_t l3_bytes = 0;

  // Instructions that kernels can use.
  bool neon = false;
  bool fp16 = false;  // arithmetic, not only conversion
  bool dotprod = false;
  bool i8mm = false;
  bool avx2 = false;    // with FMA and F16C
  bool avx512 = false;  // F, BW, DQ and VL
  bool avx512vnni = false;
  bool gfni = false;
};

/// The flags of a Cpu with their names, for printing and for looping.
struct CpuFlag {
  const char* name;
  bool Cpu::* flag;
};
inline constexpr CpuFlag kCpuFlags[] = {
    {"neon", &Cpu::neon}, {"fp16", &Cpu::fp16},     {"dotprod", &Cpu::dotprod},       {"i8mm", &Cpu::i8mm},
    {"avx2", &Cpu::avx2}, {"avx512", &Cpu::avx512}, {"avx512vnni", &Cpu::avx512vnni}, {"gfni", &Cpu::gfni},
};

/// This machine's processor. The first call asks the system and allocates; names stay valid for ever.
Cpu DescribeCpu();

/// Processors that this process may run on; at least 1.
size_t AllowedProcessors();

}  // namespace thimble
