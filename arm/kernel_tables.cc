// SPDX-License-Identifier: Apache-2.0
//
// Choosing a table, and asking it what it computes before anything is trusted to it.
#include "arm/kernel_tables.h"

#include <cmath>

#include "quant/half.h"
#include "quant/qb3.h"
#include "quant/qb4.h"

namespace thimble {
namespace {

constexpr size_t kCols = 128;
constexpr size_t kBlocks = kCols / Activations::kBlock;
constexpr size_t kTokens = 5;  // multiplied one by one, and together

// Numbers without a pattern that a wrong order of weights could hide in.
class Random {
 public:
  int32_t operator()(int32_t low, int32_t high) {
    state_ = state_ * 1664525u + 1013904223u;
    return low + static_cast<int32_t>((state_ >> 8) % static_cast<uint32_t>(high - low + 1));
  }

 private:
  uint32_t state_ = 1;
};

// A tile of a packed format and activations to multiply them with.
struct Sample {
  alignas(64) std::byte tile[kMatmulTileRows * kCols];  // more than any packed format needs
  alignas(64) float x[kTokens * kCols];
  alignas(64) int8_t codes[kTokens * kCols];
  float scales[kTokens * kBlocks];
  int32_t sums[kTokens * kBlocks];
  alignas(64) std::byte scratch[MatmulScratch(kCols)];
  Matrix w;
  Activations activations;
};

void FillTile(int32_t low, int32_t high, Sample* sample) {
  Random random;
  int8_t codes[kMatmulTileRows][kCols];
  uint16_t scales[kMatmulTileRows][kBlocks];
  PackedRow rows[kMatmulTileRows];
  for (size_t r = 0; r < kMatmulTileRows; ++r) {
    for (int8_t& code : codes[r]) code = static_cast<int8_t>(random(low, high));
    for (uint16_t& scale : scales[r]) scale = BF16FromF32(static_cast<float>(random(-64, 64)) / 64.0f);
    rows[r] = {codes[r], scales[r]};
  }
  sample->w.format->encode_tile(rows, kMatmulTileRows, kBlocks, sample->tile);
}

void Fill(const Kernels& kernels, const Format& format, int32_t low, int32_t high, Sample* sample) {
  sample->w = {&format, sample->tile, kMatmulTileRows, kCols};
  FillTile(low, high, sample);
  Random random;
  for (float& x : sample->x) x = static_cast<float>(random(-1000, 1000));
  sample->activations = {kTokens, kCols, sample->x, sample->codes, sample->scales, sample->sums};
  for (size_t t = 0; t < kTokens; ++t) kernels.quantise(sample->activations, t);
}

// Whether y[tokens][kMatmulTileRows] is what the portable decoding gives with the same rounded activations.
bool Right(const Sample& sample, const Activations& x, const float* y) {
  for (size_t r = 0; r < kMatmulTileRows; ++r) {
    float w[kCols];
    sample.w.DecodeRow(r, w);
    for (size_t t = 0; t < x.tokens; ++t) {
      double sum = 0.0, magnitude = 0.0;
      for (size_t c = 0; c < kCols; ++c) {
        const double value = static_cast<double>(x.codes[t * kCols + c]) *
                             static_cast<double>(x.scales[t * kBlocks + c / Activations::kBlock]) *
                             static_cast<double>(w[c]);
        sum += value;
        magnitude += std::fabs(value);
      }
      const double error = std::fabs(static_cast<double>(y[t * kMatmulTileRows + r]) - sum);
      if (!(error <= 1e-6 * magnitude)) return false;
    }
  }
  return true;
}

// Codes of `format` are from `low` to `high`.
bool Check(const Kernels& kernels, const Format& format, int32_t low, int32_t high) {
  Sample sample;
  Fill(kernels, format, low, high, &sample);
  float y[kTokens * kMatmulTileRows];
  for (const size_t first : {size_t{0}, kTokens - 1}) {
    const Activations x = sample.activations.From(first);
    kernels.matmul(sample.w, 0, kMatmulTileRows, x, y, kMatmulTileRows, sample.scratch);
    if (!Right(sample, x, y)) return false;
  }
  return true;
}

}  // namespace

const Kernels& SelectKernels(const Cpu& cpu) {
  for (const KernelTable& table : KernelTables()) {
    if (cpu.*table.needs) return *table.kernels;
  }
  return kPortableKernels;
}

bool SelfCheck(const Kernels& kernels) {
  if (kernels.quantise == nullptr) return true;
  return Check(kernels, kFormatQB4, -8, 7) && Check(kernels, kFormatQB3, -4, 3);
}

}  // namespace thimble
