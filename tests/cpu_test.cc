// SPDX-License-Identifier: Apache-2.0
//
// The description of the processor agrees with what the compiler and the kernel say about it.
#include "arm/cpu.h"

#include <doctest/doctest.h>

#include <string>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace thimble {
namespace {

TEST_CASE("a known processor has cores and the baseline of its architecture") {
  const Cpu cpu = DescribeCpu();
  MESSAGE("chip ", std::string(cpu.name), ", core ", std::string(cpu.core_name), ", ", cpu.cores, " cores, L2 ",
          cpu.l2_bytes);
  if (!cpu.known) {
    for (const CpuFlag& flag : kCpuFlags) CHECK_FALSE(cpu.*flag.flag);
    return;
  }
  CHECK(cpu.cores >= 1);
  CHECK(cpu.processors >= cpu.cores);
#if defined(__aarch64__)
  CHECK(cpu.neon);
  CHECK(cpu.dotprod == ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0));
  CHECK(cpu.fp16 == ((getauxval(AT_HWCAP) & HWCAP_ASIMDHP) != 0));
#elif defined(__x86_64__)
  CHECK_FALSE(cpu.neon);
  CHECK(cpu.avx2 == (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")));
  CHECK(cpu.avx512vnni == (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw")));
#endif
}

TEST_CASE("asking twice gives the same answer") {
  const Cpu a = DescribeCpu();
  const Cpu b = DescribeCpu();
  CHECK(a.name == b.name);
  CHECK(a.cores == b.cores);
  for (const CpuFlag& flag : kCpuFlags) CHECK(a.*flag.flag == b.*flag.flag);
}

}  // namespace
}  // namespace thimble
