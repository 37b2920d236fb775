// SPDX-License-Identifier: Apache-2.0
//
// Kernels::matmul of every table that this processor can run, with 8-bit activations, against sums in double precision
// over the same rounded activations and the weights as the portable code decodes them.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "arm/kernel_tables.h"
#include "quant/half.h"
#include "quant/qb3.h"
#include "quant/qb4.h"

namespace thimble {
namespace {

constexpr size_t kBlock = Activations::kBlock;
constexpr float kUntouched = -12345.0f;

std::vector<const Kernels*> Tables() {
  const Cpu cpu = DescribeCpu();
  std::vector<const Kernels*> tables;
  for (const KernelTable& table : KernelTables()) {
    if (cpu.*table.needs) tables.push_back(table.kernels);
  }
  return tables;
}

using Random = std::mt19937;

int Between(Random& random, int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); }
float Real(Random& random, float low, float high) { return std::uniform_real_distribution<float>(low, high)(random); }

// What numbers a matrix and the activations are made of.
struct Numbers {
  const char* name;
  float w_scale;           // scales of weights are between minus this and this
  float x_scale;           // those of activations between half of this and this
  int code = 1;            // all codes of the weights, or 1: random
  int x_code = 0;          // all codes of the activations, or 0: random
  bool alternate = false;  // every second activation has the other sign
};

constexpr Numbers kNumbers[] = {
    {.name = "random", .w_scale = 1.0f, .x_scale = 0.01f},
    {.name = "large", .w_scale = 0x1p100f, .x_scale = 0x1p8f},
    {.name = "small", .w_scale = 0x1p-100f, .x_scale = 0x1p-8f},
    {.name = "denormal", .w_scale = 0x1p-128f, .x_scale = 0x1p20f},
    {.name = "zero weights", .w_scale = 0.0f, .x_scale = 1.0f},
    {.name = "zero activations", .w_scale = 1.0f, .x_scale = 0.0f},
    {.name = "lowest codes, highest activations", .w_scale = 1.0f, .x_scale = 1.0f, .code = -8, .x_code = 127},
    {.name = "lowest codes, lowest activations", .w_scale = 1.0f, .x_scale = 1.0f, .code = -8, .x_code = -127},
    {.name = "highest codes, lowest activations", .w_scale = 1.0f, .x_scale = 1.0f, .code = 7, .x_code = -127},
    {.name = "lowest codes, alternating activations",
     .w_scale = 1.0f,
     .x_scale = 1.0f,
     .code = -8,
     .x_code = -127,
     .alternate = true},
};

// Rounded activations; the floats beside them are what the codes stand for.
struct Rounded {
  size_t tokens, cols;
  std::vector<float> x, scales;
  std::vector<int8_t> codes;
  std::vector<int32_t> sums;

  Rounded(const Numbers& numbers, size_t tokens_, size_t cols_, Random& random)
      : tokens(tokens_),
        cols(cols_),
        x(tokens * cols),
        scales(tokens * cols / kBlock),
        codes(tokens * cols),
        sums(tokens * cols / kBlock) {
    for (float& scale : scales) scale = Real(random, numbers.x_scale / 2, numbers.x_scale);
    for (size_t i = 0; i < codes.size(); ++i) {
      const int code = numbers.x_code == 0 ? Between(random, -127, 127) : numbers.x_code;
      codes[i] = static_cast<int8_t>(numbers.alternate && i % 2 == 1 ? -code : code);
    }
    FollowCodes();
  }

  // All at their largest, with the signs of a row of weights: no product cancels another.
  void AgreeWith(const Matrix& w, size_t row) {
    std::vector<float> weights(cols);
    w.DecodeRow(row, weights.data());
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = weights[i % cols] < 0.0f ? -127 : 127;
    FollowCodes();
  }

  void FollowCodes() {
    std::fill(sums.begin(), sums.end(), 0);
    for (size_t i = 0; i < codes.size(); ++i) {
      sums[i / kBlock] += codes[i];
      x[i] = static_cast<float>(codes[i]) * scales[i / kBlock];
    }
  }

  Activations view() { return {tokens, cols, x.data(), codes.data(), scales.data(), sums.data()}; }
};

// A matrix with its bytes, no more and no less.
struct Weights {
  std::vector<std::byte> bytes;
  Matrix matrix;

  Weights(const Format& format, size_t rows, size_t cols) {
    matrix = {&format, nullptr, rows, cols};
    bytes.resize(matrix.bytes());
    matrix.data = bytes.data();
  }
};

Weights Packed(Type type, const Numbers& numbers, size_t rows, size_t cols, Random& random) {
  const Format& format = FormatOf(type);
  const int low = type == Type::kQB4 ? -8 : -4, high = -low - 1;
  Weights weights(format, rows, cols);
  const size_t blocks = cols / kBlock;
  for (size_t begin = 0; begin < rows; begin += format.tile_rows) {
    const size_t count = std::min<size_t>(format.tile_rows, rows - begin);
    std::vector<int8_t> codes(count * cols);
    std::vector<uint16_t> scales(count * blocks);
    std::vector<PackedRow> views(count);
    for (int8_t& code : codes) {
      code = static_cast<int8_t>(numbers.code == 1 ? Between(random, low, high) : std::clamp(numbers.code, low, high));
    }
    for (uint16_t& scale : scales) scale = BF16FromF32(Real(random, -1.0f, 1.0f) * numbers.w_scale);
    for (size_t r = 0; r < count; ++r) views[r] = {&codes[r * cols], &scales[r * blocks]};
    format.encode_tile(views.data(), count, blocks,
                       &weights.bytes[begin / format.tile_rows * weights.matrix.tile_bytes()]);
  }
  return weights;
}

// Blocks of random bits, but no infinite values.
Weights OfBlocks(const Format& format, size_t rows, size_t cols, Random& random) {
  Weights weights(format, rows, cols);
  std::vector<float> x(format.block_size);
  for (size_t at = 0; at < weights.bytes.size(); at += format.block_bytes) {
    do {
      for (size_t i = 0; i < format.block_bytes; ++i) {
        weights.bytes[at + i] = static_cast<std::byte>(Between(random, 0, 255));
      }
      format.decode(&weights.bytes[at], 1, x.data());
    } while (!std::all_of(x.begin(), x.end(), [](float value) { return std::isfinite(value); }));
  }
  return weights;
}

// Rows [begin, end) of w times the tokens: right, and nothing else is written.
void Check(const Kernels& kernels, const Matrix& w, size_t begin, size_t end, Rounded& rounded) {
  const size_t rows = end - begin, stride = rows + 3, blocks = w.cols / kBlock;
  const Activations x = rounded.view();
  std::vector<float> y(x.tokens * stride, kUntouched);
  const std::unique_ptr<std::byte[], void (*)(void*)> scratch(
      static_cast<std::byte*>(std::aligned_alloc(64, (MatmulScratch(w.cols) + 63) / 64 * 64)), std::free);
  kernels.matmul(w, begin, end, x, y.data(), stride, scratch.get());

  const std::string table = kernels.name, format = w.format->name;
  CAPTURE(table);
  CAPTURE(format);
  CAPTURE(w.rows);
  CAPTURE(w.cols);
  CAPTURE(begin);
  CAPTURE(end);
  CAPTURE(x.tokens);
  std::vector<float> row(w.cols);
  for (size_t r = 0; r < rows; ++r) {
    w.DecodeRow(begin + r, row.data());
    for (size_t t = 0; t < x.tokens; ++t) {
      double sum = 0.0, magnitude = 0.0;
      for (size_t c = 0; c < w.cols; ++c) {
        const double value = static_cast<double>(row[c]) * static_cast<double>(x.codes[t * w.cols + c]) *
                             static_cast<double>(x.scales[t * blocks + c / kBlock]);
        sum += value;
        magnitude += std::fabs(value);
      }
      const double got = static_cast<double>(y[t * stride + r]);
      if (std::fabs(got - sum) <= 2e-6 * magnitude) continue;
      CAPTURE(r);
      CAPTURE(t);
      REQUIRE(got == sum);
    }
  }
  size_t touched = 0;
  for (size_t t = 0; t < x.tokens; ++t) {
    for (size_t r = rows; r < stride; ++r) touched += y[t * stride + r] != kUntouched;
  }
  CHECK(touched == 0);
}

TEST_CASE("packed matrices: extreme numbers") {
  for (const Kernels* kernels : Tables()) {
    for (const Type type : {Type::kQB4, Type::kQB3}) {
      for (const Numbers& numbers : kNumbers) {
        const std::string what = numbers.name;
        CAPTURE(what);
        Random random(1);
        const Weights w = Packed(type, numbers, 20, 96, random);
        for (const size_t tokens : std::initializer_list<size_t>{1, 2, 5}) {
          Rounded x(numbers, tokens, 96, random);
          Check(*kernels, w.matrix, 0, 20, x);
        }
      }
    }
  }
}

TEST_CASE("packed matrices: all sizes") {
  for (const Kernels* kernels : Tables()) {
    for (const Type type : {Type::kQB4, Type::kQB3}) {
      Random random(2);
      for (size_t rows = 1; rows <= 40; ++rows) {
        const size_t cols = 32 * (1 + rows % 5);
        const Weights w = Packed(type, kNumbers[0], rows, cols, random);
        for (const size_t tokens : {size_t{1}, 2 + rows % 7}) {
          Rounded x(kNumbers[0], tokens, cols, random);
          Check(*kernels, w.matrix, 0, rows, x);
        }
      }
      for (const size_t tokens : std::initializer_list<size_t>{1, 2, 3, 4, 5, 7, 31, 33, 64}) {
        const Weights w = Packed(type, kNumbers[0], 37, 160, random);
        Rounded x(kNumbers[0], tokens, 160, random);
        Check(*kernels, w.matrix, 0, 37, x);
        Check(*kernels, w.matrix, 16, 37, x);
        Check(*kernels, w.matrix, 16, 32, x);
      }
      for (const size_t tokens : std::initializer_list<size_t>{1, 4}) {
        const Weights w = Packed(type, kNumbers[0], 19, 18432, random);
        Rounded x(kNumbers[0], tokens, 18432, random);
        Check(*kernels, w.matrix, 0, 19, x);
      }
    }
  }
}

// From 4 tokens on, for fewer are multiplied one by one.
TEST_CASE("packed matrices: a token's results do not depend on its neighbours") {
  for (const Kernels* kernels : Tables()) {
    for (const Type type : {Type::kQB4, Type::kQB3}) {
      constexpr size_t kRows = 37, kCols = 160, kAll = 40;
      Random random(4);
      const Weights w = Packed(type, kNumbers[0], kRows, kCols, random);
      Rounded rounded(kNumbers[0], kAll, kCols, random);
      const std::unique_ptr<std::byte[], void (*)(void*)> scratch(
          static_cast<std::byte*>(std::aligned_alloc(64, (MatmulScratch(kCols) + 63) / 64 * 64)), std::free);
      const auto multiply = [&](size_t first, size_t tokens) {
        std::vector<float> y(tokens * kRows);
        Activations x = rounded.view().From(first);
        x.tokens = tokens;
        kernels->matmul(w.matrix, 0, kRows, x, y.data(), kRows, scratch.get());
        return y;
      };
      const std::vector<float> all = multiply(0, kAll);
      for (size_t tokens = 4; tokens < kAll; ++tokens) {
        for (const size_t first : {size_t{0}, kAll - tokens}) {
          CAPTURE(tokens);
          CHECK(std::ranges::equal(multiply(first, tokens), std::span(all).subspan(first * kRows, tokens * kRows)));
        }
      }
    }
  }
}

TEST_CASE("matrices of a GGUF") {
  constexpr Type kTypes[] = {Type::kQ4_0, Type::kQ8_0, Type::kQ3_K,   Type::kQ4_K,
                             Type::kQ5_K, Type::kQ6_K, Type::kIQ4_NL, Type::kIQ4_XS};
  for (const Kernels* kernels : Tables()) {
    for (const Type type : kTypes) {
      Random random(3);
      const Weights w = OfBlocks(FormatOf(type), 37, 768, random);
      for (const size_t tokens : std::initializer_list<size_t>{1, 3, 4, 5, 31}) {
        Rounded x(kNumbers[0], tokens, 768, random);
        Check(*kernels, w.matrix, 0, 37, x);
        Check(*kernels, w.matrix, 16, 37, x);
        for (size_t row = 0; row < 4; ++row) {
          x.AgreeWith(w.matrix, row);
          Check(*kernels, w.matrix, 0, 16, x);
        }
      }
    }
  }
}

TEST_CASE("the tables pass their own check") {
  for (const Kernels* kernels : Tables()) {
    const std::string name = kernels->name;
    CAPTURE(name);
    CHECK(SelfCheck(*kernels));
  }
}

}  // namespace
}  // namespace thimble
