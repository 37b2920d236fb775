// SPDX-License-Identifier: Apache-2.0
//
// Products with GGUF's blocks as they lie in the file, and their unpacking to 8 bits: every format and every
// instruction set that this processor has, against the portable decoding in double precision.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "arm/cpu.h"
#include "arm/matmul.h"
#include "quant/half.h"

namespace thimble {
namespace {

constexpr Type kTypes[] = {Type::kQ4_0, Type::kQ8_0, Type::kQ3_K,   Type::kQ4_K,
                           Type::kQ5_K, Type::kQ6_K, Type::kIQ4_NL, Type::kIQ4_XS};

/// Where the F16 scales of a block stand.
struct ScalesAt {
  std::vector<size_t> offsets;
};
ScalesAt ScalesOf(Type type) {
  switch (type) {
    case Type::kQ4_K:
    case Type::kQ5_K:
      return {{0, 2}};
    case Type::kQ3_K:
      return {{108}};
    case Type::kQ6_K:
      return {{208}};
    default:
      return {{0}};
  }
}

struct Random {
  uint32_t state = 1;
  uint32_t operator()() { return (state = state * 1664525u + 1013904223u) >> 8; }
  uint32_t Below(uint32_t n) { return (*this)() % n; }
};

/// Functions of one instruction set, with its name in place of its tag.
struct Isa {
  const char* name;
  bool Cpu::* needs;
  const char* (*describe)(Type type, bool* minimums, uint32_t* sub, uint32_t* magnitude);
  void (*dot)(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, std::byte* scratch);
  void (*unpack)(Type type, const std::byte* row, size_t blocks, const Row8& out);
};

template <class Tag>
const char* Describe(Type type, bool* minimums, uint32_t* sub, uint32_t* magnitude) {
  const BlockFormat<Tag>* format = FindBlockFormat<Tag>(type);
  if (format == nullptr) return "none";
  if (format->type != type) return "of another type";
  *minimums = format->minimums;
  *sub = format->sub;
  *magnitude = format->magnitude;
  return "";
}
template <class Tag>
void Dot(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, std::byte* scratch) {
  FindBlockFormat<Tag>(w.format->type)->dot(w, begin, end, x, y, scratch);
}
template <class Tag>
void Unpack(Type type, const std::byte* row, size_t blocks, const Row8& out) {
  FindBlockFormat<Tag>(type)->unpack(row, blocks, out);
}
template <class Tag>
constexpr Isa IsaOf(const char* name, bool Cpu::* needs) {
  return {name, needs, Describe<Tag>, Dot<Tag>, Unpack<Tag>};
}

#ifdef __aarch64__
constexpr Isa kIsas[] = {
    IsaOf<Neon>("neon", &Cpu::neon),
    IsaOf<NeonDot>("neondot", &Cpu::dotprod),
    IsaOf<NeonI8mm>("neoni8mm", &Cpu::i8mm),
};
#else
constexpr Isa kIsas[] = {
    IsaOf<Avx2>("avx2", &Cpu::avx2),
    IsaOf<Avx512>("avx512", &Cpu::avx512vnni),
};
#endif

struct Weights {
  const Format* format;
  size_t rows, cols;
  std::vector<std::byte> bytes;

  Matrix matrix() const { return {.format = format, .data = bytes.data(), .rows = rows, .cols = cols}; }
};

/// Random bytes as blocks; every F16 scale is one of `halves`.
Weights RandomWeights(Type type, size_t rows, size_t blocks, const std::vector<uint16_t>& halves, Random& random) {
  const Format& format = FormatOf(type);
  Weights w = {&format, rows, blocks * format.block_size, std::vector<std::byte>(rows * blocks * format.block_bytes)};
  for (std::byte& b : w.bytes) b = static_cast<std::byte>(random.Below(256));
  for (size_t b = 0; b < rows * blocks; ++b) {
    for (const size_t offset : ScalesOf(type).offsets) {
      const uint16_t half = halves[random.Below(static_cast<uint32_t>(halves.size()))];
      std::memcpy(w.bytes.data() + b * format.block_bytes + offset, &half, sizeof half);
    }
  }
  return w;
}

Weights FilledWeights(Type type, size_t rows, size_t blocks, uint8_t fill, uint16_t half) {
  Random random;
  Weights w = RandomWeights(type, rows, blocks, {half}, random);
  for (size_t i = 0; i < w.bytes.size(); ++i) {
    bool scale = false;
    for (const size_t at : ScalesOf(type).offsets) scale |= i % w.format->block_bytes - at < 2;
    if (!scale) w.bytes[i] = static_cast<std::byte>(fill);
  }
  return w;
}

/// Rounded activations of one token; only the codes, scales and sums are read.
struct Token {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;

  Token(size_t cols, uint32_t range, float scale, Random& random) : codes(cols), scales(cols / 32), sums(cols / 32) {
    for (size_t i = 0; i < cols; ++i)
      codes[i] = static_cast<int8_t>(static_cast<int>(random.Below(2 * range + 1)) - static_cast<int>(range));
    for (float& s : scales) s = scale * (0.5f + static_cast<float>(random.Below(1000)) / 1000);
    Sum();
  }
  void Fill(int8_t code) {
    std::fill(codes.begin(), codes.end(), code);
    Sum();
  }
  void Sum() {
    for (size_t b = 0; b < sums.size(); ++b) {
      sums[b] = 0;
      for (size_t i = 0; i < 32; ++i) sums[b] += codes[32 * b + i];
    }
  }
  Activations activations() {
    return {.tokens = 1,
            .cols = codes.size(),
            .x = nullptr,
            .codes = codes.data(),
            .scales = scales.data(),
            .sums = sums.data()};
  }
};

/// Compares the rows [begin, end) with sums in double precision of what the portable code decodes. A float sum may be
/// off by its roundings: a few for every block of 32, each of the size of what was added.
void CheckDot(const Isa& isa, const Weights& weights, size_t begin, size_t end, Token& token) {
  const Matrix w = weights.matrix();
  const Activations x = token.activations();
  std::vector<float> y(end - begin + 1, -1.0f);
  std::vector<std::byte> scratch(MatmulScratch(w.cols));
  isa.dot(w, begin, end, x, y.data(), scratch.data());
  CHECK(y[end - begin] == -1.0f);
  std::vector<float> row(w.cols);
  for (size_t r = begin; r < end; ++r) {
    w.DecodeRow(r, row.data());
    double sum = 0;
    double size = 0;
    for (size_t c = 0; c < w.cols; ++c) {
      const double product = static_cast<double>(row[c]) * x.codes[c] * static_cast<double>(x.scales[c / 32]);
      sum += product;
      size += std::fabs(product);
    }
    // With minimums, the parts of a value are larger than the value; their sizes are bounded through the block's own.
    double parts = 0;
    for (size_t b = 0; b < w.cols / 32; ++b) {
      double largest = 0;
      for (size_t i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(static_cast<double>(row[32 * b + i])));
      parts += largest * 32 * 127 * static_cast<double>(x.scales[b]);
    }
    const double error = std::fabs(sum - static_cast<double>(y[r - begin]));
    const double bound = 1e-6 * (size + 0.1 * parts) + 1e-42;
    if (!(error <= bound)) {
      CAPTURE(r);
      CAPTURE(sum);
      CAPTURE(y[r - begin]);
      CAPTURE(size);
      CHECK(error <= bound);
    }
  }
}

void CheckUnpack(const Isa& isa, const Weights& weights, size_t r) {
  const Matrix w = weights.matrix();
  bool minimums = false;
  uint32_t sub = 0;
  uint32_t magnitude = 0;
  REQUIRE(isa.describe(w.format->type, &minimums, &sub, &magnitude) == std::string());
  std::vector<int8_t> codes(w.cols + 1, 77);
  std::vector<float> scales(w.cols / 16 + 1, -1.0f);
  std::vector<float> mins(w.cols / 32 + 1, -1.0f);
  isa.unpack(w.format->type, w.tile(r), w.row_blocks(), {codes.data(), scales.data(), mins.data()});
  CHECK(codes.back() == 77);
  CHECK(scales.back() == -1.0f);
  CHECK(mins.back() == -1.0f);
  CHECK((mins[0] == -1.0f || minimums));
  std::vector<float> row(w.cols);
  w.DecodeRow(r, row.data());
  size_t wrong = 0;
  for (size_t c = 0; c < w.cols; ++c) {
    const double scale = static_cast<double>(scales[c / 16]);
    const double minimum = minimums ? static_cast<double>(mins[c / 32]) : 0;
    const double value = scale * codes[c] - minimum;
    const double size = std::fabs(scale) * magnitude * 2 + std::fabs(minimum);
    wrong += !(std::fabs(value - static_cast<double>(row[c])) <= 2e-7 * size + 1e-44);
    wrong += static_cast<uint32_t>(std::abs(codes[c])) > magnitude;
    wrong += sub == 32 && scales[c / 16] != scales[c / 32 * 2];
  }
  CHECK(wrong == 0);
}

/// Every instruction set of this processor with every format.
template <class F>
void ForAll(const F& check) {
  const Cpu cpu = DescribeCpu();
  size_t ran = 0;
  for (const Isa& isa : kIsas) {
    if (!(cpu.*isa.needs)) continue;
    CAPTURE(isa.name);
    for (const Type type : kTypes) {
      CAPTURE(FormatOf(type).name);
      check(isa, type);
    }
    ++ran;
  }
  WARN_MESSAGE(ran > 0, "no instruction set with kernels");
}

const std::vector<uint16_t> kUsual = {0x1c00, 0x9c00, 0x2155, 0xa0cd, 0x1801};
const std::vector<uint16_t> kExtreme = {0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400, 0x7bff, 0xfbff, 0x3c00};

TEST_CASE("formats without code of their own are not found") {
  const Cpu cpu = DescribeCpu();
  for (const Isa& isa : kIsas) {
    if (!(cpu.*isa.needs)) continue;
    bool minimums;
    uint32_t sub, magnitude;
    CHECK(isa.describe(Type::kF32, &minimums, &sub, &magnitude) == std::string("none"));
    CHECK(isa.describe(Type::kQ4_1, &minimums, &sub, &magnitude) == std::string("none"));
  }
}

TEST_CASE("dot: any number of rows and blocks") {
  Random random;
  ForAll([&random](const Isa& isa, Type type) {
    for (const size_t blocks : std::initializer_list<size_t>{1, 2, 3, 7, 8, 9, 16, 31}) {
      const Weights w = RandomWeights(type, 7, blocks, kUsual, random);
      Token token(w.cols, 127, 0.01f, random);
      for (const size_t begin : std::initializer_list<size_t>{0, 1, 2}) {
        for (size_t end = begin; end <= w.rows; ++end) CheckDot(isa, w, begin, end, token);
      }
    }
  });
}

TEST_CASE("dot: a long row") {
  Random random;
  ForAll([&random](const Isa& isa, Type type) {
    const Weights w = RandomWeights(type, 3, 3584 / FormatOf(type).block_size, kUsual, random);
    Token token(w.cols, 127, 0.01f, random);
    CheckDot(isa, w, 0, 3, token);
  });
}

TEST_CASE("dot: extreme scales, zero and subnormal ones, large and small activations") {
  Random random;
  ForAll([&random](const Isa& isa, Type type) {
    for (const float scale : {0.0f, 1e-30f, 1e-3f, 1e4f, 1e25f}) {
      const Weights w = RandomWeights(type, 5, 9, kExtreme, random);
      Token token(w.cols, 127, scale, random);
      CheckDot(isa, w, 0, 5, token);
    }
    for (const uint16_t half : kExtreme) {
      const Weights w = RandomWeights(type, 3, 3, {half}, random);
      Token token(w.cols, 127, 1.0f, random);
      CheckDot(isa, w, 0, 3, token);
    }
  });
}

TEST_CASE("dot: the largest sums, one sign throughout") {
  Random random;
  ForAll([&random](const Isa& isa, Type type) {
    for (const int fill : {0x00, 0xff, 0x0f, 0xf0, 0x80, 0x7f}) {
      const Weights w = FilledWeights(type, 3, 9, static_cast<uint8_t>(fill), 0x3c00);
      Token token(w.cols, 127, 0.01f, random);
      CheckDot(isa, w, 0, 3, token);
      for (const int code : {127, -127, 1, 0}) {
        token.Fill(static_cast<int8_t>(code));
        CheckDot(isa, w, 0, 3, token);
      }
    }
  });
}

TEST_CASE("unpack: scale times code minus minimum is the value") {
  Random random;
  ForAll([&random](const Isa& isa, Type type) {
    for (const size_t blocks : std::initializer_list<size_t>{1, 3, 8, 13, 16}) {
      const Weights w = RandomWeights(type, 3, blocks, kUsual, random);
      for (size_t r = 0; r < 3; ++r) CheckUnpack(isa, w, r);
    }
    for (const uint16_t half : kExtreme) CheckUnpack(isa, RandomWeights(type, 1, 2, {half}, random), 0);
    for (const int fill : {0x00, 0xff, 0x80, 0x7f}) {
      CheckUnpack(isa, FilledWeights(type, 1, 2, static_cast<uint8_t>(fill), 0x3c00), 0);
    }
  });
}

}  // namespace
}  // namespace thimble
