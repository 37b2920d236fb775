// SPDX-License-Identifier: Apache-2.0
//
// The gated delta rule of every table that this processor can run against the portable one, step by step and in chunks.
// The portable one is judged in kernels_test.cc.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <vector>

#include "tests/kernel_inputs.h"

namespace thimble {
namespace {

// The two forms and the portable one differ by the rounding of sums of dk products, each token's new value by that of
// those before it: keys of length 1 and beta below 1 keep what is passed on at one token's own size.
double DeltaTolerance(const Delta& delta) {
  return delta.Length() * kEpsilon * (16.0 + static_cast<double>(delta.dk) / 4.0 + 4.0 * static_cast<double>(delta.n));
}

void CheckDelta(const Kernels& kernels, Delta delta, const Delta& right, bool chunk) {
  const double tolerance = DeltaTolerance(delta);
  if (chunk) {
    std::vector<float> scratch(DeltaChunkFloats(delta.dk, delta.dv), kNaN);
    for (size_t t = 0; t < delta.n; t += kDeltaChunk) {
      kernels.delta_chunk(delta.Head(t, std::min(kDeltaChunk, delta.n - t)), scratch.data());
    }
  } else {
    kernels.delta_step(delta.Head(0, delta.n));
  }
  CHECK(Distance(delta.out, right.out, 0.0, tolerance) <= 1.0);
  CHECK(Distance(delta.state, right.state, 0.0, tolerance) <= 1.0);
}

constexpr size_t kKeyValueSizes[][2] = {{128, 128}, {64, 128},  {128, 64}, {1, 1},    {4, 4}, {5, 3},
                                        {33, 17},   {100, 130}, {36, 31},  {16, 256}, {8, 5}, {1024, 1}};

TEST_CASE("the delta rule, step by step and in chunks") {
  for (const auto& size : kKeyValueSizes) {
    const size_t dk = size[0];
    const size_t dv = size[1];
    for (const size_t n : std::initializer_list<size_t>{1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64}) {
      for (const double decay : {0.0, 0.1, 5.0, 1e4}) {
        CAPTURE(dk);
        CAPTURE(dv);
        CAPTURE(n);
        CAPTURE(decay);
        const Delta delta(n, dk, dv, decay, static_cast<unsigned>(dk * 7 + dv + n));
        Delta right = delta;
        kPortableKernels.delta_step(right.Head(0, n));
        ForEachTable([&](const Kernels& kernels) {
          CheckDelta(kernels, delta, right, false);
          CheckDelta(kernels, delta, right, true);
        });
      }
    }
  }
}

TEST_CASE("the delta rule: many chunks with decays that hardly differ from 1, and one that forgets all") {
  Delta delta(300, 48, 24, 1e-3, 5);
  delta.gates[100 * delta.gate_stride] = -1e30f;
  delta.gates[101 * delta.gate_stride] = -kInfinity;
  Delta right = delta;
  kPortableKernels.delta_step(right.Head(0, delta.n));
  ForEachTable([&](const Kernels& kernels) {
    CheckDelta(kernels, delta, right, false);
    CheckDelta(kernels, delta, right, true);
  });
}

TEST_CASE("the delta rule: a value that is no number reaches its column and no other") {
  ForEachTable([&](const Kernels& kernels) {
    for (const bool chunk : {false, true}) {
      Delta delta(20, 32, 40, 0.1, 6);
      delta.qkv[11 * delta.stride + 64 + 7] = kNaN;
      std::vector<float> scratch(DeltaChunkFloats(32, 40));
      if (chunk) {
        kernels.delta_chunk(delta.Head(0, 20), scratch.data());
      } else {
        kernels.delta_step(delta.Head(0, 20));
      }
      for (size_t j = 0; j < 40; ++j) {
        for (size_t t = 0; t < 20; ++t) {
          CAPTURE(j);
          CAPTURE(t);
          CHECK(std::isnan(delta.out[t * delta.out_stride + j]) == (j == 7 && t >= 11));
        }
        for (size_t i = 0; i < 32; ++i) CHECK(std::isnan(delta.state[j * 32 + i]) == (j == 7));
      }
    }
  });
}

}  // namespace
}  // namespace thimble
