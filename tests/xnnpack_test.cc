// SPDX-License-Identifier: Apache-2.0
//
// XNNPACK's micro-kernels, called directly, compute what arm/xnnpack.h says: every one that this processor runs against
// plain integer sums.
#include "arm/xnnpack.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace thimble {
namespace {

constexpr size_t kColumns = 32;  // a multiple of every nr
constexpr size_t kDepth = 96;
constexpr size_t kBlock = 32;

struct Random {
  uint32_t state = 1;
  uint32_t operator()() { return state = state * 1664525u + 1013904223u; }
  int Below(uint32_t n) { return static_cast<int>((*this)() >> 8) % static_cast<int>(n); }
};

// A power of two of either sign: exact in bf16, also after the division by 16.
float Scale(size_t n, size_t block) {
  return std::ldexp(n % 2 == 0 ? 1.0f : -1.0f, static_cast<int>((n + block) % 5) - 6);
}

// weights[kColumns][kDepth], each in [-8, 8), in the order of arm/xnnpack.h.
std::vector<uint8_t> Pack(const std::vector<int>& weights, const Qb4wKernel& kernel) {
  std::vector<uint8_t> packed;
  const auto append = [&packed](const void* data, size_t bytes) {
    const auto* begin = static_cast<const uint8_t*>(data);
    packed.insert(packed.end(), begin, begin + bytes);
  };
  for (size_t tile = 0; tile < kColumns; tile += kernel.nr) {
    for (size_t n = tile; n < tile + kernel.nr; ++n) {
      float sum = 0;
      for (size_t k = 0; k < kDepth; ++k) sum -= Scale(n, k / kBlock) * static_cast<float>(weights[n * kDepth + k]);
      append(&sum, sizeof sum);
    }
    for (size_t block = 0; block < kDepth / kBlock; ++block) {
      for (size_t k = block * kBlock; k < (block + 1) * kBlock; k += 2 * kernel.kr) {
        for (size_t n = tile; n < tile + kernel.nr; ++n) {
          for (size_t i = 0; i < kernel.kr; ++i) {
            const int low = weights[n * kDepth + k + i];
            const int high = weights[n * kDepth + k + kernel.kr + i];
            packed.push_back(static_cast<uint8_t>((low & 15) | (high & 15) << 4));
          }
        }
      }
      for (size_t n = tile; n < tile + kernel.nr; ++n) {
        const auto bits = static_cast<uint16_t>(std::bit_cast<uint32_t>(Scale(n, block) / 16) >> 16);
        append(&bits, sizeof bits);
      }
    }
    const std::vector<float> bias(kernel.nr);
    append(bias.data(), bias.size() * sizeof(float));
  }
  return packed;
}

TEST_CASE("every kernel of this processor multiplies exactly") {
  const Cpu cpu = DescribeCpu();
  Random random;
  std::vector<int> weights(kColumns * kDepth);
  for (int& w : weights) w = random.Below(16) - 8;
  std::vector<int8_t> a(kDepth);
  for (int8_t& x : a) x = static_cast<int8_t>(random.Below(256) - 128);
  const Qd8Row row = {-7, 0.25f};
  const Qb4wParams params = {-std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity(), kBlock};

  size_t ran = 0;
  for (const Qb4wKernel& kernel : Qb4wKernels()) {
    if (!(cpu.*kernel.needs)) continue;
    CAPTURE(kernel.name);
    ++ran;
    std::vector<uint8_t> packed = Pack(weights, kernel);
    packed.resize(packed.size() + 1024);  // the kernels prefetch beyond the end
    std::vector<float> c(kColumns);
    kernel.run(1, kColumns, kDepth, a.data(), kDepth, packed.data(), c.data(), kColumns * sizeof(float),
               kernel.nr * sizeof(float), &params, &row);
    for (size_t n = 0; n < kColumns; ++n) {
      CAPTURE(n);
      float expected = 0;  // all terms are multiples of 2^-8 and small: exact in any order
      for (size_t k = 0; k < kDepth; ++k) {
        expected +=
            Scale(n, k / kBlock) * static_cast<float>(weights[n * kDepth + k] * (a[k] - row.zero_point)) * row.scale;
      }
      REQUIRE(c[n] == expected);
    }
  }
  if (cpu.known && (cpu.neon || cpu.avx2)) CHECK(ran > 0);
  MESSAGE(ran, " kernels");
}

}  // namespace
}  // namespace thimble
