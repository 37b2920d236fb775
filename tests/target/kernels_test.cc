// SPDX-License-Identifier: Apache-2.0
//
// Every table of accelerated kernels of this board against sums in double precision or the portable table, with
// tolerances that follow from the sizes; what a token gets must not depend on the tokens beside it, to the bit. On
// other processors doctest does the same (kernels_test.cc, matmul_test.cc, delta_kernels_test.cc).
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>

#include "arm/board_kernels.h"
#include "quant/q4_0.h"
#include "quant/q8_0.h"
#include "tests/target/check.h"
#include "tests/target/memory.h"

namespace thimble {
namespace {

constexpr size_t kBlock = Activations::kBlock;
constexpr float kGuard = -12345.0f;  // stands where nothing may be written
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

double Wide(float x) { return static_cast<double>(x); }
double Size(double x) { return x < 0.0 ? -x : x; }
bool Near(double a, double b, double tolerance) { return Size(a - b) <= tolerance; }
bool IsNumber(float x) { return x - x == 0.0f; }

class Random {
 public:
  uint32_t operator()(uint32_t below) {
    state_ = state_ * 1664525u + 1013904223u;
    return (state_ >> 8) % below;
  }
  float Real(float low, float high) { return low + (high - low) * (static_cast<float>((*this)(1u << 20)) * 0x1p-20f); }

 private:
  uint32_t state_ = 1;
};

template <size_t kSize>
void FillReals(Random& random, std::array<float, kSize>& x, float size) {
  for (float& value : x) value = random.Real(-size, size);
}

// --- Products
// ---------------------------------------------------------------------------------------------------------

constexpr size_t kMostRows = 37, kMostCols = 352, kMostTokens = 5;

struct Numbers {
  uint8_t codes;      // all bytes of the weights, or 1: random
  int8_t activation;  // all codes of the activations, or 0: random
  uint16_t scale;     // bits of the weights' scales, the sign and the lowest bits random; or 1: all but infinite
};
constexpr Numbers kNumbers[] = {{1, 0, 0x2c00},      {1, 0, 1},      {0, 127, 0x3c00},
                                {0, -127, 0x3c00},   {0xff, 127, 1}, {0x80, -127, 1},
                                {0x7f, 127, 0x7bf0}, {1, 0, 0x0001}, {1, 0, 0x0000}};

struct ProductData {
  alignas(64) std::array<std::byte, kMostRows * kMostCols / kBlock * sizeof(BlockQ8_0) + 2> weights;
  std::array<float, kMostTokens * kMostCols> x;
  std::array<int8_t, kMostTokens * kMostCols> codes;
  std::array<float, kMostTokens * kMostCols / kBlock> scales;
  std::array<int32_t, kMostTokens * kMostCols / kBlock> sums;
  std::array<float, kMostTokens*(kMostRows + 3)> y, alone;
  alignas(64) std::array<std::byte, MatmulScratch(kMostCols)> scratch;

  Activations View(size_t tokens, size_t cols) {
    return {tokens, cols, x.data(), codes.data(), scales.data(), sums.data()};
  }
};
ProductData* products;

void FillWeights(const Format& format, const Numbers& numbers, size_t blocks, std::byte* data, Random& random) {
  for (size_t b = 0; b < blocks; ++b) {
    std::byte* block = data + b * format.block_bytes;
    for (size_t i = 2; i < format.block_bytes; ++i) {
      block[i] = static_cast<std::byte>(numbers.codes == 1 ? random(256) : numbers.codes);
    }
    uint32_t scale = numbers.scale == 1 ? random(0x7c00) : numbers.scale + (numbers.scale == 0 ? 0 : random(8));
    scale |= random(2) << 15;
    block[0] = static_cast<std::byte>(scale & 255);
    block[1] = static_cast<std::byte>(scale >> 8);
  }
}

void FillActivations(const Numbers& numbers, const Activations& x, Random& random) {
  for (size_t b = 0; b < x.tokens * x.cols / kBlock; ++b) {
    x.scales[b] = random.Real(0.005f, 0.01f);
    x.sums[b] = 0;
    for (size_t i = b * kBlock; i < (b + 1) * kBlock; ++i) {
      const int32_t code = numbers.activation == 0 ? static_cast<int32_t>(random(255)) - 127 : numbers.activation;
      x.codes[i] = static_cast<int8_t>(code);
      x.sums[b] += code;
    }
  }
}

// Rows [begin, end) of w times the tokens.
void CheckProduct(const Kernels& kernels, const Matrix& w, size_t begin, size_t end, const Activations& x,
                  Checks& checks) {
  const size_t rows = end - begin, stride = rows + 3, blocks = x.cols / kBlock;
  products->y.fill(kGuard);
  kernels.matmul(w, begin, end, x, products->y.data(), stride, products->scratch.data());
  size_t wrong = 0, touched = 0, different = 0;
  std::array<float, kMostCols> row;
  for (size_t r = 0; r < rows; ++r) {
    w.DecodeRow(begin + r, row.data());
    for (size_t t = 0; t < x.tokens; ++t) {
      double sum = 0.0, magnitude = 0.0;
      for (size_t c = 0; c < x.cols; ++c) {
        const double value =
            Wide(row[c]) * static_cast<double>(x.codes[t * x.cols + c]) * Wide(x.scales[t * blocks + c / kBlock]);
        sum += value;
        magnitude += Size(value);
      }
      wrong += !Near(Wide(products->y[t * stride + r]), sum, 1e-6 * magnitude + 1e-37);
    }
  }
  for (size_t t = 0; t < x.tokens; ++t) {
    for (size_t r = rows; r < stride; ++r) touched += products->y[t * stride + r] != kGuard;
    const Activations one = {1, x.cols, x.From(t).x, x.From(t).codes, x.From(t).scales, x.From(t).sums};
    kernels.matmul(w, begin, end, one, products->alone.data(), rows, products->scratch.data());
    for (size_t r = 0; r < rows; ++r) {
      different += std::bit_cast<uint32_t>(products->alone[r]) != std::bit_cast<uint32_t>(products->y[t * stride + r]);
    }
  }
  CHECK(wrong == 0);
  CHECK(touched == 0);
  CHECK(different == 0);
}

// Weights begin on 2 bytes, as they may in a file.
void CheckProducts(const Kernels& kernels, Checks& checks) {
  Random random;
  for (const Format* format : {&kFormatQ4_0, &kFormatQ8_0}) {
    for (const Numbers& numbers : kNumbers) {
      std::byte* weights = products->weights.data() + 2;
      const Matrix w = {format, weights, 9, 64};
      FillWeights(*format, numbers, w.rows * w.row_blocks(), weights, random);
      for (const size_t tokens : {size_t{1}, size_t{3}}) {
        const Activations x = products->View(tokens, w.cols);
        FillActivations(numbers, x, random);
        CheckProduct(kernels, w, 0, w.rows, x, checks);
      }
    }
    for (size_t rows = 1; rows <= kMostRows; rows += rows < 9 ? 1 : 7) {
      std::byte* weights = products->weights.data() + 2;
      const Matrix w = {format, weights, rows, 32 * (1 + rows * 5 % 11)};
      FillWeights(*format, kNumbers[0], w.rows * w.row_blocks(), weights, random);
      for (size_t tokens = 1; tokens <= kMostTokens; ++tokens) {
        const Activations x = products->View(tokens, w.cols);
        FillActivations(kNumbers[0], x, random);
        CheckProduct(kernels, w, 0, rows, x, checks);
        CheckProduct(kernels, w, rows / 2, rows, x, checks);
      }
    }
  }
}

// Formats without kernels of their own, and activations that are not rounded: the portable product.
void CheckOtherProducts(const Kernels& kernels, Checks& checks) {
  Random random;
  FillReals(random, products->x, 1.0f);
  for (const Type type : {Type::kF32, Type::kQ4_0}) {
    const Format& format = FormatOf(type);
    const Matrix w = {&format, products->weights.data(), 3, 96};
    if (type == Type::kF32) {
      for (size_t i = 0; i < w.rows * w.cols; ++i) {
        const float value = random.Real(-1.0f, 1.0f);
        __builtin_memcpy(products->weights.data() + 4 * i, &value, 4);
      }
    } else {
      FillWeights(format, kNumbers[0], w.rows * w.row_blocks(), products->weights.data(), random);
    }
    Activations x = products->View(2, w.cols);
    if (type != Type::kF32) x.codes = nullptr;
    kernels.matmul(w, 0, w.rows, x, products->y.data(), w.rows, products->scratch.data());
    kPortableKernels.matmul(w, 0, w.rows, x, products->alone.data(), w.rows, products->scratch.data());
    for (size_t i = 0; i < 2 * w.rows; ++i) CHECK(products->y[i] == products->alone[i]);
  }
}

// --- Rounding of activations
// ------------------------------------------------------------------------------------------

void CheckRounding(const Kernels& kernels, Checks& checks) {
  Random random;
  std::array<float, 2 * kBlock> x;
  std::array<int8_t, 2 * kBlock> codes;
  std::array<float, 2> scales;
  std::array<int32_t, 2> sums;
  const Activations a = {1, 2 * kBlock, x.data(), codes.data(), scales.data(), sums.data()};
  for (const float size : {1.0f, 1e-30f, 1e30f, 1.5e38f}) {
    FillReals(random, x, size);
    kernels.quantise(a, 0);
    for (size_t b = 0; b < 2; ++b) {
      int32_t sum = 0, highest = 0;
      size_t wrong = 0;
      for (size_t i = b * kBlock; i < (b + 1) * kBlock; ++i) {
        sum += codes[i];
        highest = codes[i] > highest ? codes[i] : -codes[i] > highest ? -codes[i] : highest;
        wrong += !Near(Wide(x[i]), Wide(scales[b]) * codes[i], 0.50001 * Wide(scales[b]));
      }
      CHECK(wrong == 0);
      CHECK(highest == 127);
      CHECK(sums[b] == sum);
    }
  }
  // Halves go to the even code.
  x.fill(0.0f);
  x[0] = 127.0f;
  x[1] = 2.5f;
  x[2] = -3.5f;
  x[3] = 0.5f;
  kernels.quantise(a, 0);
  CHECK(codes[0] == 127 && codes[1] == 2 && codes[2] == -4 && codes[3] == 0);
  CHECK(scales[1] == 0.0f && sums[1] == 0 && codes[40] == 0);
  for (const float bad : {kNaN, kInfinity, -kInfinity}) {
    for (const size_t at : {size_t{0}, size_t{7}, size_t{31}}) {
      x.fill(1.0f);
      x[at] = bad;
      kernels.quantise(a, 0);
      CHECK(!IsNumber(scales[0]));
      CHECK(IsNumber(scales[1]));
    }
  }
  x.fill(1e-37f);  // so small that nothing is lost, and that no inverse overflows
  kernels.quantise(a, 0);
  CHECK(scales[0] == 0.0f && codes[0] == 0);
}

// --- Norms, gates, convolution
// ----------------------------------------------------------------------------------------

constexpr size_t kValues = 130;
std::array<float, kValues> x, y, right, other;

void CheckValues(size_t n, double tolerance, Checks& checks) {
  size_t wrong = 0;
  for (size_t i = 0; i < n; ++i) wrong += !Near(Wide(y[i]), Wide(right[i]), tolerance * (1.0 + Size(Wide(right[i]))));
  CHECK(wrong == 0);
  CHECK(y[n] == kGuard);
}

// n values of y become what `kernel` makes of them, those of `right` what the portable one does.
template <class Body>
void Compare(const Kernels& kernels, size_t n, double tolerance, Checks& checks, const Body& body) {
  y = x;
  right = x;
  y[n] = kGuard;
  body(kernels, y.data());
  body(kPortableKernels, right.data());
  CheckValues(n, tolerance, checks);
}

void CheckElements(const Kernels& kernels, Checks& checks) {
  Random random;
  for (const size_t n : {size_t{1}, size_t{3}, size_t{4}, size_t{5}, size_t{32}, size_t{63}, size_t{128}}) {
    for (const float size : {1.0f, 100.0f}) {
      FillReals(random, x, size);
      FillReals(random, other, 2.0f);
      Compare(kernels, n, 2e-6, checks, [&](const Kernels& k, float* v) { k.rms_norm(v, other.data(), n, 1e-6f, v); });
      Compare(kernels, n, 2e-6, checks, [&](const Kernels& k, float* v) { k.l2_norm(v, n, 0.25f); });
      Compare(kernels, n, 2e-6, checks, [&](const Kernels& k, float* v) { k.swiglu(v, other.data(), n); });
      Compare(kernels, n, 2e-6, checks, [&](const Kernels& k, float* v) { k.sigmoid_gate(v, other.data(), n); });
      std::swap(x, other);
      Compare(kernels, n, 2e-6, checks, [&](const Kernels& k, float* v) { k.sigmoid_gate(v, other.data(), n); });
    }
  }
  // What is no number stays none, in its own place; the ends of the exponential function give no new ones.
  x = {1.0f, kNaN, 200.0f, -200.0f, 89.0f, -89.0f, 1.0f, 1.0f};
  other = {kNaN, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, -1e30f, 1e30f};
  const auto gates = {kernels.swiglu, kernels.sigmoid_gate};
  for (const auto gate : gates) {
    y = x;
    gate(y.data(), other.data(), 8);
    for (size_t i = 0; i < 8; ++i) CHECK(IsNumber(y[i]) == (i > 1));
  }
}

void CheckConvolution(const Kernels& kernels, Checks& checks) {
  constexpr size_t kChannels = 13, kTokens = 6;
  Random random;
  std::array<float, kChannels * Config::kMaxTaps> w;
  std::array<float, kChannels*(Config::kMaxTaps - 1)> tail, start, right_tail;
  FillReals(random, w, 1.0f);
  FillReals(random, start, 1.0f);
  FillReals(random, x, 2.0f);
  for (size_t taps = 2; taps <= Config::kMaxTaps; ++taps) {
    for (size_t tokens = 1; tokens <= kTokens; ++tokens) {
      for (const auto& [begin, end] : {std::array{size_t{0}, kChannels}, std::array{size_t{4}, size_t{12}}}) {
        y = x;
        right = x;
        tail = start;
        right_tail = start;
        kernels.conv_silu(y.data(), tokens, kChannels, begin, end, w.data(), taps, tail.data());
        kPortableKernels.conv_silu(right.data(), tokens, kChannels, begin, end, w.data(), taps, right_tail.data());
        size_t wrong = 0;
        for (size_t i = 0; i < kValues; ++i) wrong += !Near(Wide(y[i]), Wide(right[i]), 4e-6);
        CHECK(wrong == 0);
        CHECK(tail == right_tail);
        // One token after the other gives the same bits.
        std::array<float, kValues> single = x;
        tail = start;
        for (size_t t = 0; t < tokens; ++t) {
          kernels.conv_silu(single.data() + t * kChannels, 1, kChannels, begin, end, w.data(), taps, tail.data());
        }
        CHECK(single == y);
      }
    }
  }
}

// --- The delta rule
// ---------------------------------------------------------------------------------------------------

constexpr size_t kMostKeys = 48, kMostValues = 36, kSteps = 9;

struct Head {
  size_t tokens, dk, dv;
  std::array<float, kSteps * (2 * kMostKeys + kMostValues)> qkv;
  std::array<float, 2 * kSteps> gates;
  std::array<float, kMostKeys * kMostValues> state;
  std::array<float, kSteps * kMostValues> out;

  DeltaHead View(size_t begin, size_t count) {
    DeltaHead head = {tokens,
                      dk,
                      dv,
                      qkv.data(),
                      qkv.data() + dk,
                      qkv.data() + 2 * dk,
                      2 * dk + dv,
                      gates.data(),
                      gates.data() + kSteps,
                      1,
                      state.data(),
                      out.data(),
                      dv};
    head.tokens = count;
    head.Advance(begin);
    return head;
  }
};
Head *given, *fast, *judge, *steps;
float* chunk_scratch;

void FillHead(size_t dk, size_t dv, float decay, Random& random) {
  given->tokens = kSteps;
  given->dk = dk;
  given->dv = dv;
  FillReals(random, given->qkv, 1.0f);
  FillReals(random, given->state, 0.5f);
  for (size_t t = 0; t < kSteps; ++t) {
    given->gates[t] = random.Real(-decay, 0.0f);
    given->gates[kSteps + t] = random.Real(0.0f, 1.0f);
    for (size_t part = 0; part < 2; ++part) {  // unit queries and keys
      float* unit = given->qkv.data() + t * (2 * dk + dv) + part * dk;
      float length = 0.0f;
      for (size_t i = 0; i < dk; ++i) length += unit[i] * unit[i];
      for (size_t i = 0; i < dk; ++i) unit[i] *= 1.0f / std::sqrt(length);
    }
  }
  given->out.fill(kGuard);
}

void CompareHeads(double out_tolerance, double state_tolerance, Checks& checks) {
  size_t wrong = 0;
  for (size_t i = 0; i < fast->out.size(); ++i) wrong += !Near(Wide(fast->out[i]), Wide(judge->out[i]), out_tolerance);
  for (size_t i = 0; i < fast->state.size(); ++i) {
    wrong += !Near(Wide(fast->state[i]), Wide(judge->state[i]), state_tolerance);
  }
  CHECK(wrong == 0);
}

void CheckDelta(const Kernels& kernels, Checks& checks) {
  Random random;
  constexpr size_t kSizes[][2] = {{32, 32}, {32, 36}, {48, 4}, {4, 8}, {8, 5}, {5, 3}, {1, 1}, {36, 31}};
  for (const auto& [dk, dv] : kSizes) {
    for (const float decay : {0.0f, 0.1f, 5.0f, 1e4f}) {
      FillHead(dk, dv, decay, random);
      *judge = *given;
      kPortableKernels.delta_step(judge->View(0, kSteps));
      *fast = *given;
      kernels.delta_step(fast->View(0, kSteps));
      CompareHeads(1e-5, 1e-5, checks);
      *steps = *given;
      for (size_t t = 0; t < kSteps; ++t) kernels.delta_step(steps->View(t, 1));
      CHECK(steps->out == fast->out);
      CHECK(steps->state == fast->state);
      *fast = *given;
      kernels.delta_chunk(fast->View(0, kSteps), chunk_scratch);
      CompareHeads(1e-5, 1e-5, checks);
    }
  }
}

// A state that decays for so long that it becomes subnormal, where Helium flushes to zero: it stays within the smallest
// normal number of the portable one, and what is written into it afterwards is as good as ever.
void CheckDecayed(const Kernels& kernels, Checks& checks) {
  Random random;
  FillHead(32, 32, 0.0f, random);
  for (size_t t = 0; t < kSteps; ++t) given->gates[t] = -9.9f;
  for (size_t t = 0; t < kSteps; ++t) given->gates[kSteps + t] = 0.0f;
  *fast = *given;
  *judge = *given;
  kernels.delta_step(fast->View(0, kSteps));  // e^-89
  kPortableKernels.delta_step(judge->View(0, kSteps));
  bool subnormal = false;
  for (const float value : judge->state) subnormal |= value != 0.0f && Size(Wide(value)) < 0x1p-126;
  CHECK(subnormal);
  CompareHeads(1e-6, 0x1p-126, checks);
  for (size_t t = 0; t < kSteps; ++t) fast->gates[kSteps + t] = judge->gates[kSteps + t] = 0.5f;
  kernels.delta_step(fast->View(0, kSteps));
  kPortableKernels.delta_step(judge->View(0, kSteps));
  CompareHeads(1e-6, 1e-6, checks);
}

int Run() {
  Checks checks;
  Arena arena(FreeMemory());
  products = arena.Take<ProductData>(1);
  for (Head** head : {&given, &fast, &judge, &steps}) *head = arena.Take<Head>(1);
  chunk_scratch = arena.Take<float>(DeltaChunkFloats(kMostKeys, kMostValues));
  if (!arena.error().ok()) return kSkipped;
  for (const Kernels* kernels : BoardTables()) {
    Print(kernels->name);
    Print(": ");
    CheckProducts(*kernels, checks);
    CheckOtherProducts(*kernels, checks);
    CheckRounding(*kernels, checks);
    CheckElements(*kernels, checks);
    CheckConvolution(*kernels, checks);
    CheckDelta(*kernels, checks);
    CheckDecayed(*kernels, checks);
    Print(checks.Failed() != 0 ? "failed\n" : "as good as the portable one\n");
  }
  CHECK(BoardKernels().matmul == (BoardTables().empty() ? kPortableKernels : *BoardTables()[0]).matmul);
  return checks.Failed();
}

}  // namespace
}  // namespace thimble

int main() { return thimble::Run(); }
