// SPDX-License-Identifier: Apache-2.0
//
// The description of the processor agrees with what the compiler and the kernel say about it.
#include "arm/cpu.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "arm/kernel_tables.h"

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

#if defined(__aarch64__)
TEST_CASE("an emulated core gets the kernels that it is named for") {
  const char* core = std::getenv("THIMBLE_QEMU_CPU");
  if (core == nullptr) return;  // a real one may have anything
  constexpr std::string_view kKernels[][2] = {
      {"cortex-a53", "neon"}, {"cortex-a72", "neon"}, {"cortex-a76", "neondot"}, {"max", "neoni8mm"}};
  bool known = false;
  for (const auto& [name, kernels] : kKernels) {
    if (name != core) continue;
    known = true;
    CHECK(SelectKernels(DescribeCpu()).name == kernels);
  }
  CHECK_MESSAGE(known, "no kernels are stated for ", core);
}
#endif

}  // namespace
}  // namespace thimble
