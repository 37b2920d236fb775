// SPDX-License-Identifier: Apache-2.0
//
// cpuinfo's answers as a Cpu. cpuinfo answers "no" to the instructions of another architecture, so nothing here asks
// which one this is.
#include "arm/cpu.h"

#include <cpuinfo.h>
#include <sched.h>

namespace thimble {
namespace {

const char* CoreName(cpuinfo_uarch uarch) {
  switch (uarch) {
    case cpuinfo_uarch_cortex_a7:
      return "Cortex-A7";
    case cpuinfo_uarch_cortex_a35:
      return "Cortex-A35";
    case cpuinfo_uarch_cortex_a53:
      return "Cortex-A53";
    case cpuinfo_uarch_cortex_a55r0:
    case cpuinfo_uarch_cortex_a55:
      return "Cortex-A55";
    case cpuinfo_uarch_cortex_a57:
      return "Cortex-A57";
    case cpuinfo_uarch_cortex_a72:
      return "Cortex-A72";
    case cpuinfo_uarch_cortex_a73:
      return "Cortex-A73";
    case cpuinfo_uarch_cortex_a75:
      return "Cortex-A75";
    case cpuinfo_uarch_cortex_a76:
      return "Cortex-A76";
    case cpuinfo_uarch_cortex_a78:
      return "Cortex-A78";
    case cpuinfo_uarch_neoverse_n1:
      return "Neoverse-N1";
    case cpuinfo_uarch_neoverse_v1:
      return "Neoverse-V1";
    case cpuinfo_uarch_neoverse_n2:
      return "Neoverse-N2";
    case cpuinfo_uarch_neoverse_v2:
      return "Neoverse-V2";
    default:
      return "";
  }
}

uint32_t Size(const cpuinfo_cache* cache) { return cache == nullptr ? 0 : cache->size; }

}  // namespace

Cpu DescribeCpu() {
  Cpu cpu;
  if (!cpuinfo_initialize()) return cpu;
  cpu.known = true;
  cpu.cores = cpuinfo_get_cores_count();
  cpu.processors = cpuinfo_get_processors_count();
  if (cpuinfo_get_packages_count() > 0) cpu.name = cpuinfo_get_package(0)->name;
  if (cpu.cores > 0) cpu.core_name = CoreName(cpuinfo_get_core(0)->uarch);
  if (cpu.processors > 0) {
    const auto& cache = cpuinfo_get_processor(0)->cache;
    cpu.l1d_bytes = Size(cache.l1d);
    cpu.l2_bytes = Size(cache.l2);
    cpu.l3_bytes = Size(cache.l3);
  }
  cpu.neon = cpuinfo_has_arm_neon();
  cpu.fp16 = cpuinfo_has_arm_neon_fp16_arith();
  cpu.dotprod = cpuinfo_has_arm_neon_dot();
  cpu.i8mm = cpuinfo_has_arm_i8mm();
  cpu.avx2 = cpuinfo_has_x86_avx2() && cpuinfo_has_x86_fma3() && cpuinfo_has_x86_f16c();
  cpu.avx512 = cpuinfo_has_x86_avx512f() && cpuinfo_has_x86_avx512bw() && cpuinfo_has_x86_avx512dq() &&
               cpuinfo_has_x86_avx512vl();
  cpu.avx512vnni = cpu.avx512 && cpuinfo_has_x86_avx512vnni();
  cpu.gfni = cpuinfo_has_x86_gfni();
  return cpu;
}

size_t AllowedProcessors() {
  cpu_set_t allowed;
  return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? static_cast<size_t>(CPU_COUNT(&allowed)) : 1;
}

}  // namespace thimble
