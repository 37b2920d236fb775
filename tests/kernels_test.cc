// SPDX-License-Identifier: Apache-2.0
//
// The portable kernels against their definitions, written here a second time in double precision and without any regard
// for speed. Faster tables are tested by tests that loop over all of them; this file is about the judge itself.
#include "core/kernels.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <vector>

#include "quant/format.h"
#include "tests/kernel_inputs.h"

namespace thimble {
namespace {

double MaxDifference(const std::vector<float>& a, const std::vector<double>& b) {
  double worst = 0.0;
  for (size_t i = 0; i < b.size(); ++i) worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - b[i]));
  return worst;
}

TEST_CASE("the delta rule gives the published small answer") {
  // dk = dv = 2; q is given scaled by 1 / sqrt 2, nothing is normalised. Numbers of an independent Python
  // implementation.
  const float root = 1.0f / std::sqrt(2.0f);
  const std::array<float, 6> q{0.6f * root, 0.8f * root, root, 0.0f, 0.0f, -root};
  const std::array<float, 6> k{1.0f, 0.0f, 0.6f, 0.8f, -0.8f, 0.6f};
  const std::array<float, 6> v{1.0f, 2.0f, -1.0f, 0.5f, 0.25f, -0.75f};
  const std::array<float, 3> g{-0.1f, -0.5f, -0.2f};
  const std::array<float, 3> beta{0.5f, 0.9f, 0.3f};
  const std::array<double, 6> expected{0.384882536, 0.590616404, -0.274052521, 0.387551374, 0.410028862, -0.061138120};
  const std::array<double, 4> end{-0.409889225, -0.579868377, 0.567894372, 0.086462359};  // transposed
  for (const bool chunked : {false, true}) {
    CAPTURE(chunked);
    std::array<float, 4> state{0.1f, 0.3f, -0.2f, 0.4f};
    std::array<float, 6> out{};
    const DeltaHead head{.tokens = 3,
                         .key_size = 2,
                         .value_size = 2,
                         .q = q.data(),
                         .k = k.data(),
                         .v = v.data(),
                         .stride = 2,
                         .log_decay = g.data(),
                         .beta = beta.data(),
                         .gate_stride = 1,
                         .state = state.data(),
                         .out = out.data(),
                         .out_stride = 2};
    std::vector<float> scratch(DeltaChunkFloats(2, 2));
    if (chunked) {
      kPortableKernels.delta_chunk(head, scratch.data());
    } else {
      kPortableKernels.delta_step(head);
    }
    for (size_t i = 0; i < out.size(); ++i)
      CHECK(static_cast<double>(out[i]) == doctest::Approx(expected[i]).epsilon(2e-6));
    for (size_t i = 0; i < end.size(); ++i)
      CHECK(static_cast<double>(state[i]) == doctest::Approx(end[i]).epsilon(2e-6));
  }
}

TEST_CASE("stepwise and chunked delta rule both follow the recurrence") {
  for (const auto& sizes :
       {std::array<size_t, 3>{1, 16, 16}, {5, 32, 32}, {64, 128, 128}, {64, 24, 40}, {63, 40, 24}}) {
    const size_t n = sizes[0];
    const size_t dk = sizes[1];
    const size_t dv = sizes[2];
    CAPTURE(n);
    CAPTURE(dk);
    Delta step(n, dk, dv, 3.0, 7);
    Delta chunk = step;
    std::vector<double> outs;
    std::vector<double> end;
    step.Reference(&outs, &end);
    kPortableKernels.delta_step(step.Head(0, n));
    std::vector<float> scratch(DeltaChunkFloats(dk, dv));
    kPortableKernels.delta_chunk(chunk.Head(0, n), scratch.data());
    CHECK(MaxDifference(step.out, outs) < 3e-6);
    CHECK(MaxDifference(step.state, end) < 3e-6);
    CHECK(MaxDifference(chunk.out, outs) < 3e-6);
    CHECK(MaxDifference(chunk.state, end) < 3e-6);
  }
}

TEST_CASE("chunks of any length, one after the other, carry the state on") {
  Delta whole(150, 32, 48, 3.0, 11);
  std::vector<double> outs;
  std::vector<double> end;
  whole.Reference(&outs, &end);
  std::vector<float> scratch(DeltaChunkFloats(32, 48));
  size_t begin = 0;
  for (const size_t n : {size_t{64}, size_t{3}, size_t{1}, size_t{64}, size_t{18}}) {
    kPortableKernels.delta_chunk(whole.Head(begin, n), scratch.data());
    begin += n;
  }
  REQUIRE(begin == 150);
  CHECK(MaxDifference(whole.out, outs) < 3e-6);
  CHECK(MaxDifference(whole.state, end) < 3e-6);
}

TEST_CASE("attention is softmax over every row up to this one, whatever the tiles and the format of the cache") {
  for (const Type type : {Type::kF32, Type::kF16}) {
    for (const size_t rows : {size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{300}}) {
      CAPTURE(rows);
      constexpr size_t kDim = 32;
      constexpr size_t kQueries = 3;
      const Format& format = FormatOf(type);
      Random random(static_cast<unsigned>(rows));
      const size_t row_bytes = kDim / format.block_size * format.block_bytes;
      const size_t row_stride = 2 * row_bytes;  // as if there were a second key/value head
      std::vector<float> keys = random.Vector(rows * kDim, -2, 2);
      std::vector<float> values = random.Vector(rows * kDim, -2, 2);
      const std::vector<float> q = random.Vector(kQueries * 2 * kDim, -2, 2);
      std::vector<std::byte> k(rows * row_stride);
      std::vector<std::byte> v(rows * row_stride);
      for (size_t r = 0; r < rows; ++r) {  // the reference sees what the cache can hold
        format.encode(&keys[r * kDim], kDim / format.block_size, &k[r * row_stride]);
        format.encode(&values[r * kDim], kDim / format.block_size, &v[r * row_stride]);
        format.decode(&k[r * row_stride], kDim / format.block_size, &keys[r * kDim]);
        format.decode(&v[r * row_stride], kDim / format.block_size, &values[r * kDim]);
      }
      std::vector<float> out(kQueries * kDim);
      std::vector<float> scratch(AttentionFloats(kDim, kQueries));
      kPortableKernels.attend({.head_dim = kDim,
                               .tokens = 1,
                               .group = kQueries,
                               .rows = rows,
                               .q = q.data(),
                               .q_stride = 2 * kDim,
                               .q_token_stride = 0,
                               .k = {&format, k.data(), row_stride},
                               .v = {&format, v.data(), row_stride},
                               .out = out.data(),
                               .out_stride = kDim,
                               .out_token_stride = 0},
                              scratch.data());
      std::vector<double> expected(kQueries * kDim, 0.0);
      for (size_t h = 0; h < kQueries; ++h) {
        std::vector<double> p(rows);
        double total = 0.0;
        for (size_t r = 0; r < rows; ++r) {
          double score = 0.0;
          for (size_t i = 0; i < kDim; ++i)
            score += static_cast<double>(q[h * 2 * kDim + i]) * static_cast<double>(keys[r * kDim + i]);
          p[r] = std::exp(score / std::sqrt(static_cast<double>(kDim)));
          total += p[r];
        }
        for (size_t r = 0; r < rows; ++r) {
          for (size_t i = 0; i < kDim; ++i)
            expected[h * kDim + i] += p[r] / total * static_cast<double>(values[r * kDim + i]);
        }
      }
      CHECK(MaxDifference(out, expected) < 3e-6);
    }
  }
}

TEST_CASE("the convolution sees the inputs of the batch before, whatever the batch sizes") {
  constexpr size_t kTokens = 11;
  constexpr size_t kChannels = 10;
  constexpr size_t kTaps = 4;
  Random random(5);
  const std::vector<float> u = random.Vector(kTokens * kChannels, -2, 2);
  const std::vector<float> w = random.Vector(kChannels * kTaps, -1, 1);
  std::vector<double> expected(u.size());
  for (size_t t = 0; t < kTokens; ++t) {
    for (size_t c = 0; c < kChannels; ++c) {
      double sum = 0.0;
      for (size_t j = 0; j < kTaps; ++j) {
        if (t + j >= kTaps - 1)
          sum += static_cast<double>(w[c * kTaps + j]) * static_cast<double>(u[(t + j - (kTaps - 1)) * kChannels + c]);
      }
      expected[t * kChannels + c] = sum / (1.0 + std::exp(-sum));
    }
  }
  for (const size_t batch : {size_t{1}, size_t{2}, size_t{5}, kTokens}) {
    CAPTURE(batch);
    std::vector<float> x = u;
    std::vector<float> tail((kTaps - 1) * kChannels, 0.0f);
    for (size_t t = 0; t < kTokens; t += batch) {
      const size_t n = std::min(batch, kTokens - t);
      kPortableKernels.conv_silu(&x[t * kChannels], n, kChannels, 0, 7, w.data(), kTaps, tail.data());
      kPortableKernels.conv_silu(&x[t * kChannels], n, kChannels, 7, kChannels, w.data(), kTaps, tail.data());
    }
    CHECK(MaxDifference(x, expected) < 1e-6);
    for (size_t i = 0; i < tail.size(); ++i) CHECK(tail[i] == u[(kTokens - kTaps + 1) * kChannels + i]);
  }
}

TEST_CASE("norm and gate follow their definitions") {
  Random random(9);
  for (const size_t n : {size_t{1}, size_t{17}, size_t{1024}}) {
    const std::vector<float> x = random.Vector(n, -3, 3);
    const std::vector<float> weight = random.Vector(n, -1, 2);
    std::vector<float> y(n);
    kPortableKernels.rms_norm(x.data(), weight.data(), n, 1e-6f, y.data());
    double square = 0.0;
    for (const float value : x) square += static_cast<double>(value) * static_cast<double>(value);
    std::vector<double> expected(n);
    for (size_t i = 0; i < n; ++i) {
      expected[i] = static_cast<double>(x[i]) / std::sqrt(square / static_cast<double>(n) + 1e-6) *
                    static_cast<double>(weight[i]);
    }
    CHECK(MaxDifference(y, expected) < 2e-6);
    std::vector<float> gate = x;
    kPortableKernels.swiglu(gate.data(), weight.data(), n);
    for (size_t i = 0; i < n; ++i) {
      expected[i] =
          static_cast<double>(x[i]) / (1.0 + std::exp(-static_cast<double>(x[i]))) * static_cast<double>(weight[i]);
    }
    CHECK(MaxDifference(gate, expected) < 2e-6);
  }
}

TEST_CASE("a matrix product has the same bits for one token and for many, and for any division of the rows") {
  constexpr size_t kRows = 9;
  constexpr size_t kCols = 80;
  constexpr size_t kTokens = 5;
  Random random(3);
  const std::vector<float> w = random.Vector(kRows * kCols, -1, 1);
  const std::vector<float> x = random.Vector(kTokens * kCols, -1, 1);
  const Matrix matrix{&FormatOf(Type::kF32), reinterpret_cast<const std::byte*>(w.data()), kRows, kCols};
  std::vector<std::byte> scratch(MatmulScratch(kCols));
  std::vector<float> together(kTokens * kRows);
  Activations inputs{};
  inputs.tokens = kTokens;
  inputs.cols = kCols;
  inputs.x = x.data();
  kPortableKernels.matmul(matrix, 0, 4, inputs, together.data(), kRows, scratch.data());
  kPortableKernels.matmul(matrix, 4, kRows, inputs, together.data() + 4, kRows, scratch.data());
  for (size_t t = 0; t < kTokens; ++t) {
    std::vector<float> one(kRows);
    inputs.tokens = 1;
    inputs.x = &x[t * kCols];
    kPortableKernels.matmul(matrix, 0, kRows, inputs, one.data(), kRows, scratch.data());
    for (size_t r = 0; r < kRows; ++r) {
      CHECK(one[r] == together[t * kRows + r]);
      double sum = 0.0;
      for (size_t c = 0; c < kCols; ++c)
        sum += static_cast<double>(w[r * kCols + c]) * static_cast<double>(x[t * kCols + c]);
      CHECK(static_cast<double>(one[r]) == doctest::Approx(sum).epsilon(1e-5));
    }
  }
}

}  // namespace
}  // namespace thimble
