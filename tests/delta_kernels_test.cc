// SPDX-License-Identifier: Apache-2.0
//
// The gated delta rule of every table that this processor can run against the portable one, step by step and in chunks.
// The portable one is judged in kernels_test.cc. Then the state in 16 bits: one rounding, and what thousands of them
// add up to.
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

// The rows of a state in 16 bits, with a guard behind them.
struct KeptRows {
  size_t rows, row_size;
  std::vector<int16_t> codes;
  std::vector<float> scales;

  KeptRows(size_t rows_given, size_t size)
      : rows(rows_given), row_size(size), codes(rows * size + 1, 99), scales(rows + 1, kGuard) {}
  StateRows View() { return {rows, row_size, codes.data(), scales.data()}; }
  bool Intact() const { return codes.back() == 99 && scales.back() == kGuard; }
};

std::vector<float> Widened(const Kernels& kernels, KeptRows& kept) {
  std::vector<float> rows(kept.rows * kept.row_size + 1, kGuard);
  kernels.widen_state(kept.View(), rows.data());
  CHECK(rows.back() == kGuard);
  rows.pop_back();
  return rows;
}

template <class Body>
void ForPortableAndEachTable(const Body& body) {
  body(kPortableKernels);
  ForEachTable(body);
}

TEST_CASE("a state in 16 bits: every number to the nearest code, and every table the same bits") {
  Random random(8);
  for (const size_t n : std::initializer_list<size_t>{1, 3, 4, 7, 8, 15, 16, 31, 32, 33, 65, 100, 128, 255}) {
    for (const double size : {1.0, 1e-24, 3e38}) {
      CAPTURE(n);
      CAPTURE(size);
      const size_t count = 5;
      std::vector<float> rows = random.Vector(count * n, -size, size);
      for (size_t i = 0; i < n; ++i) rows[i] *= 1e-3f;
      rows[2 * n] = static_cast<float>(-size);
      KeptRows right(count, n);
      kPortableKernels.round_state(rows.data(), right.View());
      for (size_t r = 0; r < count; ++r) {
        float top = 0.0f;
        for (size_t i = 0; i < n; ++i) top = std::max(top, std::fabs(rows[r * n + i]));
        CHECK(right.scales[r] == top / 32767.0f);
        for (size_t i = 0; i < n; ++i) {
          const double code = Wide(rows[r * n + i]) / Wide(top) * 32767.0;
          REQUIRE(std::fabs(code - right.codes[r * n + i]) <= 0.5 + 0x1p-8);
        }
      }
      CHECK(right.codes[2 * n] == -32767);
      const std::vector<float> widened = Widened(kPortableKernels, right);
      ForPortableAndEachTable([&](const Kernels& kernels) {
        KeptRows kept(count, n);
        kernels.round_state(rows.data(), kept.View());
        CHECK(kept.Intact());
        CHECK(kept.codes == right.codes);
        CHECK(kept.scales == right.scales);
        CHECK(Widened(kernels, kept) == widened);
        KeptRows again(count, n);
        kernels.round_state(widened.data(), again.View());
        CHECK(again.codes == right.codes);  // nothing is left to be rounded
      });
    }
  }
}

TEST_CASE("a state in 16 bits: halves go to the even code, what is tiny to zero, no number stays none") {
  constexpr size_t kCount = 70;
  ForPortableAndEachTable([](const Kernels& kernels) {
    std::vector<float> row(kCount, 0.0f);
    for (size_t i = 0; i < kCount; ++i) row[i] = static_cast<float>(i) - 30.5f;
    row[kCount - 1] = 32767.0f;
    KeptRows kept(1, kCount);
    kernels.round_state(row.data(), kept.View());
    for (size_t i = 0; i < kCount; ++i) CHECK(kept.codes[i] == static_cast<int>(std::nearbyint(row[i])));
    for (const float tiny : {0.0f, -0.0f, 1e-42f, -1e-31f}) {
      row.assign(kCount, tiny);
      kernels.round_state(row.data(), kept.View());
      CHECK(Widened(kernels, kept) == std::vector<float>(kCount, 0.0f));
    }
    for (const float bad : {kNaN, kInfinity, -kInfinity}) {
      for (size_t at = 0; at < kCount; ++at) {
        row.assign(kCount, 1.0f);
        row[at] = bad;
        kernels.round_state(row.data(), kept.View());
        for (const float x : Widened(kernels, kept)) REQUIRE(std::isnan(x));
      }
    }
  });
}

// MODEL.md, "In 16 bits": runs a head twice, with a state that is rounded behind every `together` tokens and with one
// that never is. No row may be farther off than the roundings that it has been through allow, and all of them together
// must be off by what so many independent roundings give: a second rounding, a coarser one or a biased one shows.
void CheckKeptState(const Kernels& kernels, const Delta& delta, size_t together) {
  const size_t dk = delta.dk;
  const size_t dv = delta.dv;
  Delta exact = delta;
  Delta rounded = delta;
  exact.state.assign(dk * dv, 0.0f);
  KeptRows kept(dv, dk);
  kernels.round_state(exact.state.data(), kept.View());
  std::vector<float> scratch(DeltaChunkFloats(dk, dv));
  std::vector<double> bound(dv, 0.0);     // of a row's distance
  std::vector<double> expected(dv, 0.0);  // of its square
  const auto run = [&](Delta& head, size_t t) {
    together == 1 ? kernels.delta_step(head.Head(t, 1)) : kernels.delta_chunk(head.Head(t, together), scratch.data());
  };
  const double tolerance = DeltaTolerance(delta);
  double most = 0.0;  // distance, in bounds
  for (size_t t = 0; t < delta.n; t += together) {
    kernels.widen_state(kept.View(), rounded.state.data());
    run(exact, t);
    run(rounded, t);
    for (size_t s = t; s < t + together; ++s) {
      const double decay = std::exp(Wide(delta.gates[s * delta.gate_stride]));
      const double beta = Wide(delta.gates[(delta.n + s) * delta.gate_stride]);
      for (size_t j = 0; j < dv; ++j) {
        bound[j] *= decay;
        expected[j] *= decay * decay * (1.0 - beta * (2.0 - beta) / static_cast<double>(dk));
        const size_t out = s * delta.out_stride + j;
        const double distance = std::fabs(Wide(rounded.out[out]) - Wide(exact.out[out]));
        most = std::max(most, distance / (bound[j] + tolerance));
      }
    }
    kernels.round_state(rounded.state.data(), kept.View());
    for (size_t j = 0; j < dv; ++j) {
      const double scale = Wide(kept.scales[j]);
      bound[j] += std::sqrt(static_cast<double>(dk)) * scale * (0.5 + 0x1p-8);
      expected[j] += static_cast<double>(dk) * scale * scale / 12.0;
    }
  }
  const std::vector<float> state = Widened(kernels, kept);
  double all = 0.0;
  double all_expected = 0.0;
  for (size_t j = 0; j < dv; ++j) {
    double square = 0.0;
    for (size_t i = j * dk; i < (j + 1) * dk; ++i) {
      square += (Wide(state[i]) - Wide(exact.state[i])) * (Wide(state[i]) - Wide(exact.state[i]));
    }
    most = std::max(most, std::sqrt(square) / bound[j]);
    all += square;
    all_expected += expected[j];
  }
  CHECK(most <= 1.0);
  CHECK(all / all_expected > 0.85);
  CHECK(all / all_expected < 1.15);
}

TEST_CASE("a state in 16 bits stays within its bound for thousands of tokens") {
  for (const double decay : {1e-5, 1e-3, 0.1, 2.0}) {
    for (const size_t together : {size_t{1}, kDeltaChunk}) {
      CAPTURE(decay);
      CAPTURE(together);
      const Delta delta(4096, 64, 32, decay, 12);
      ForPortableAndEachTable([&](const Kernels& kernels) { CheckKeptState(kernels, delta, together); });
    }
  }
}

}  // namespace
}  // namespace thimble
