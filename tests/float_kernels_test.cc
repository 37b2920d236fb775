// SPDX-License-Identifier: Apache-2.0
//
// The float kernels of every table that this processor can run against the portable ones, or against double precision
// where the order of sums makes the two differ: odd sizes, ends, extreme scales, zeros, denormals, infinities and NaN.
// Products of quantised activations are the business of matmul_test.cc.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <vector>

#include "core/math.h"
#include "quant/half.h"
#include "tests/kernel_inputs.h"

namespace thimble {
namespace {

// A vector of n floats whose neighbours are guarded.
struct Guarded {
  static constexpr size_t kAround = 20;
  std::vector<float> all;
  size_t n;

  Guarded(const std::vector<float>& values) : all(values.size() + 2 * kAround, kGuard), n(values.size()) {
    std::copy(values.begin(), values.end(), all.begin() + kAround);
  }
  float* data() { return all.data() + kAround; }
  std::vector<float> Values() const { return {all.begin() + kAround, all.end() - kAround}; }
  bool Intact() const {
    const auto untouched = [](float x) { return x == kGuard; };
    return std::all_of(all.begin(), all.begin() + kAround, untouched) &&
           std::all_of(all.end() - kAround, all.end(), untouched);
  }
};

constexpr size_t kSizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 256, 1000};

TEST_CASE("gates follow the logistic function over the whole range") {
  std::vector<float> gates;
  for (float x = -110.0f; x <= 110.0f; x += 0.01f) gates.push_back(x);
  for (float x = 1e-40f; x < 3e38f; x *= 3.7f) gates.insert(gates.end(), {x, -x});
  gates.insert(gates.end(), {0.0f, -0.0f, kInfinity, -kInfinity, std::numeric_limits<float>::lowest()});
  ForEachTable([&](const Kernels& kernels) {
    std::vector<float> x(gates.size(), 1.0f);
    kernels.sigmoid_gate(x.data(), gates.data(), x.size());
    std::vector<float> silu = gates;
    const std::vector<float> up(gates.size(), 1.0f);
    kernels.swiglu(silu.data(), up.data(), silu.size());
    for (size_t i = 0; i < gates.size(); ++i) {
      CAPTURE(gates[i]);
      // e^-x has an error of a unit or so, and e^88.4 and above are infinite.
      const double exact = 1.0 / (1.0 + std::exp(-Wide(gates[i])));
      CHECK(std::fabs(Wide(x[i]) - exact) <= 8 * kEpsilon * exact + kTiny);
      if (std::isinf(gates[i])) continue;
      CHECK(std::fabs(Wide(silu[i]) - Wide(gates[i]) * exact) <=
            9 * kEpsilon * std::fabs(Wide(gates[i]) * exact) + 100 * kTiny);
    }
    float special[] = {kNaN, kInfinity, -kInfinity};
    const float ones[] = {1.0f, 1.0f, 1.0f};
    kernels.swiglu(special, ones, 3);
    CHECK(std::isnan(special[0]));
    CHECK(special[1] == kInfinity);
    CHECK(std::isnan(special[2]));  // as the portable one: -inf / inf
  });
}

TEST_CASE("gates of every length touch nothing else") {
  Random random(1);
  for (const size_t n : kSizes) {
    CAPTURE(n);
    const std::vector<float> a = random.Vector(n, -9, 9);
    const std::vector<float> b = random.Vector(n, -9, 9);
    std::vector<float> swiglu = a;
    std::vector<float> gated = a;
    kPortableKernels.swiglu(swiglu.data(), b.data(), n);
    kPortableKernels.sigmoid_gate(gated.data(), b.data(), n);
    ForEachTable([&](const Kernels& kernels) {
      Guarded x(a);
      kernels.swiglu(x.data(), b.data(), n);
      CHECK(Distance(x.Values(), swiglu, 16 * kEpsilon, kTiny) <= 1.0);
      CHECK(x.Intact());
      Guarded y(a);
      kernels.sigmoid_gate(y.data(), b.data(), n);
      CHECK(Distance(y.Values(), gated, 16 * kEpsilon, kTiny) <= 1.0);
      CHECK(y.Intact());
    });
  }
}

TEST_CASE("norms") {
  Random random(2);
  for (const size_t n : kSizes) {
    for (const double scale : {1.0, 1e-15, 1e15, 1e-40, 0.0}) {
      CAPTURE(n);
      CAPTURE(scale);
      const std::vector<float> x = random.Vector(n, -scale, scale);
      const std::vector<float> weight = random.Vector(n, -2, 2);
      std::vector<float> rms(n);
      std::vector<float> l2 = x;
      kPortableKernels.rms_norm(x.data(), weight.data(), n, 1e-6f, rms.data());
      kPortableKernels.l2_norm(l2.data(), n, 0.125f);
      // Squares are added up in n / 16 steps or so and rounded in each; root and products round 6 times.
      const double relative = (8.0 + static_cast<double>(n) / 16.0) * kEpsilon;
      ForEachTable([&](const Kernels& kernels) {
        Guarded y(std::vector<float>(n, 0.0f));
        kernels.rms_norm(x.data(), weight.data(), n, 1e-6f, y.data());
        CHECK(Distance(y.Values(), rms, relative, kTiny) <= 1.0);
        CHECK(y.Intact());
        Guarded in_place(x);
        kernels.rms_norm(in_place.data(), weight.data(), n, 1e-6f, in_place.data());
        CHECK(SameBits(in_place.Values(), y.Values()));
        Guarded z(x);
        kernels.l2_norm(z.data(), n, 0.125f);
        CHECK(Distance(z.Values(), l2, relative, kTiny) <= 1.0);
        CHECK(z.Intact());
      });
    }
  }
  ForEachTable([](const Kernels& kernels) {
    for (const float bad : {kNaN, kInfinity}) {
      std::vector<float> x(37, 1.0f);
      const std::vector<float> weight(37, 1.0f);
      x[36] = bad;
      kernels.rms_norm(x.data(), weight.data(), 37, 1e-6f, x.data());
      CHECK(std::isnan(x[36]));
      x[36] = bad;
      kernels.l2_norm(x.data(), 37, 1.0f);
      CHECK(std::isnan(x[36]));
    }
  });
}

struct Rounded {
  std::vector<float> x;
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;
  Activations activations;

  Rounded(const std::vector<float>& values, size_t tokens)
      : x(values),
        codes(values.size() + 1, 99),
        scales(values.size() / Activations::kBlock + 1, kGuard),
        sums(values.size() / Activations::kBlock + 1, 77),
        activations{tokens, values.size() / tokens, x.data(), codes.data(), scales.data(), sums.data()} {}
};

TEST_CASE("activations are rounded to the nearest code of a scale that is as small as can be") {
  Random random(3);
  for (const size_t cols : std::initializer_list<size_t>{32, 64, 96, 160, 1024, 3584}) {
    for (const double scale : {1.0, 1e-32, 1e30, 3e38}) {
      CAPTURE(cols);
      CAPTURE(scale);
      const size_t tokens = 3;
      const size_t blocks = cols / Activations::kBlock;
      std::vector<float> values = random.Vector(tokens * cols, -scale, scale);
      for (size_t i = 0; i < Activations::kBlock; ++i) values[cols + i] *= 1e-3f;
      ForEachTable([&](const Kernels& kernels) {
        Rounded r(values, tokens);
        for (size_t t = 0; t < tokens; ++t) kernels.quantise(r.activations, t);
        CHECK(r.codes.back() == 99);
        CHECK(r.scales.back() == kGuard);
        CHECK(r.sums.back() == 77);
        bool right = true;
        for (size_t b = 0; b < tokens * blocks; ++b) {
          const size_t first = b * Activations::kBlock;
          float magnitude = 0.0f;
          for (size_t i = 0; i < Activations::kBlock; ++i)
            magnitude = std::max(magnitude, std::fabs(values[first + i]));
          right = right && std::fabs(Wide(r.scales[b]) * 127.0 / Wide(magnitude) - 1.0) <= 3 * kEpsilon;
          int32_t sum = 0;
          for (size_t i = b * Activations::kBlock; i < (b + 1) * Activations::kBlock; ++i) {
            sum += r.codes[i];
            right = right && std::abs(r.codes[i]) <= 127;
            const double code = Wide(values[i]) / Wide(r.scales[b]);
            right = right && std::fabs(code - r.codes[i]) <= 0.5 + 127 * 4 * kEpsilon;
          }
          right = right && r.sums[b] == sum;
        }
        CHECK(right);
      });
    }
  }
}

TEST_CASE("rounding: halves go to the even code") {
  ForEachTable([](const Kernels& kernels) {
    std::vector<float> values(32, 0.0f);
    for (size_t i = 0; i < 32; ++i) values[i] = static_cast<float>(i) - 15.5f;
    values[31] = 127.0f;
    Rounded r(values, 1);
    kernels.quantise(r.activations, 0);
    for (size_t i = 0; i < 32; ++i) CHECK(r.codes[i] == static_cast<int>(std::nearbyint(values[i])));
  });
}

TEST_CASE("rounding: zeros stay zeros, infinity and NaN are not hidden") {
  ForEachTable([&](const Kernels& kernels) {
    for (const float quiet : {0.0f, -0.0f, 1e-42f, -1e-38f}) {
      Rounded r(std::vector<float>(128, quiet), 1);
      kernels.quantise(r.activations, 0);
      for (size_t b = 0; b < 4; ++b) {
        CHECK(r.scales[b] == 0.0f);
        CHECK(r.sums[b] == 0);
      }
      CHECK(std::all_of(r.codes.begin(), r.codes.end() - 1, [](int8_t code) { return code == 0; }));
    }
    for (const float bad : {kNaN, -kNaN, kInfinity, -kInfinity}) {
      for (size_t at = 0; at < 128; ++at) {
        std::vector<float> values(128, 1.0f);
        values[at] = bad;
        Rounded r(values, 1);
        kernels.quantise(r.activations, 0);
        for (size_t b = 0; b < 4; ++b) {
          const bool hit = b == at / 32;
          CHECK(std::isnan(r.scales[b]) == hit);
          CHECK(r.sums[b] == (hit ? 0 : 32 * 127));
        }
      }
    }
  });
}

TEST_CASE("the short convolution") {
  Random random(4);
  for (size_t taps = 2; taps <= Config::kMaxTaps; ++taps) {
    for (const size_t tokens : std::initializer_list<size_t>{1, 2, 3, 4, 7, 8, 31, 64}) {
      for (const size_t count : std::initializer_list<size_t>{1, 3, 4, 5, 8, 16, 17, 33, 64, 128, 135}) {
        CAPTURE(taps);
        CAPTURE(tokens);
        CAPTURE(count);
        const size_t begin = 3;
        const size_t channels = begin + count + 2;
        const std::vector<float> u = random.Vector(tokens * channels, -4, 4);
        const std::vector<float> w = random.Vector(channels * taps, -1, 1);
        const std::vector<float> tail = random.Vector((taps - 1) * channels, -4, 4);
        std::vector<float> right = u;
        std::vector<float> right_tail = tail;
        kPortableKernels.conv_silu(right.data(), tokens, channels, begin, begin + count, w.data(), taps,
                                   right_tail.data());
        ForEachTable([&](const Kernels& kernels) {
          std::vector<float> y = u;
          std::vector<float> y_tail = tail;
          kernels.conv_silu(y.data(), tokens, channels, begin, begin + count, w.data(), taps, y_tail.data());
          CHECK(SameBits(y_tail, right_tail));
          // The sum of up to 8 products, each below 4, has this absolute error; SiLU has a slope below 1.1.
          const double absolute = 1.1 * 2.0 * static_cast<double>(taps * taps) * 4.0 * kEpsilon;
          CHECK(Distance(y, right, 16 * kEpsilon, absolute) <= 1.0);
          bool untouched = true;
          for (size_t i = 0; i < y.size(); ++i) {
            const size_t c = i % channels;
            if (c < begin || c >= begin + count) untouched = untouched && y[i] == u[i];
          }
          CHECK(untouched);
        });
      }
    }
  }
}

TEST_CASE("products of floats") {
  Random random(7);
  for (const Type type : {Type::kF32, Type::kF16, Type::kBF16, Type::kQ4_0, Type::kQ8_0}) {
    const Format& format = FormatOf(type);
    for (const size_t cols : std::initializer_list<size_t>{1, 4, 7, 16, 33, 64, 96, 256, 1000}) {
      if (cols % format.block_size != 0) continue;
      for (const double scale : {1.0, 1e-4}) {
        const size_t rows = 23;
        std::vector<std::byte> data(rows * cols / format.block_size * format.block_bytes);
        if (format.encode != nullptr) {
          const std::vector<float> values = random.Vector(rows * cols, -scale, scale);
          format.encode(values.data(), values.size() / format.block_size, data.data());
        } else {
          for (std::byte& byte : data) byte = static_cast<std::byte>(static_cast<int>(random(0, 255)));
          for (size_t at = 0; at < data.size(); at += format.block_bytes) data[at + 1] = std::byte{0x2c};  // an F16
        }
        const Matrix w = {&format, data.data(), rows, cols};
        for (const size_t tokens : std::initializer_list<size_t>{1, 2, 3, 4, 5, 8, 11}) {
          CAPTURE(static_cast<uint32_t>(type));
          CAPTURE(cols);
          CAPTURE(tokens);
          const std::vector<float> x = random.Vector(tokens * cols, -1, 1);
          const Activations activations = {tokens, cols, x.data(), nullptr, nullptr, nullptr};
          const size_t begin = 2, end = 21, stride = 25;
          std::vector<std::byte> scratch(MatmulScratch(cols));
          ForEachTable([&](const Kernels& kernels) {
            std::vector<float> y(tokens * stride, kGuard);
            kernels.matmul(w, begin, end, activations, y.data(), stride, scratch.data());
            bool right = true;
            std::vector<float> row(cols);
            for (size_t i = 0; i < y.size(); ++i) {
              const size_t t = i / stride, r = begin + i % stride;
              if (r >= end) {
                right = right && y[i] == kGuard;
                continue;
              }
              w.DecodeRow(r, row.data());
              double sum = 0.0, magnitude = 0.0;
              for (size_t c = 0; c < cols; ++c) {
                const double product = Wide(row[c]) * Wide(x[t * cols + c]);
                sum += product;
                magnitude += std::fabs(product);
              }
              // Each of 4 or more lanes adds up at most cols / 4 products, which then are folded.
              const double tolerance = kEpsilon * magnitude * (4.0 + static_cast<double>(cols) / 4.0);
              right = right && std::fabs(Wide(y[i]) - sum) <= tolerance + kTiny;
            }
            CHECK(right);
          });
        }
      }
    }
  }
}

}  // namespace
}  // namespace thimble
