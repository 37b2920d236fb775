// SPDX-License-Identifier: Apache-2.0
//
// See quantise.h. The loops over a block have no branch and a fixed length, so that compilers make vectors of them.
#include "quant/quantise.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "quant/half.h"
#include "quant/q4_0.h"
#include "quant/q8_0.h"

namespace thimble {
namespace {

constexpr size_t kBlock = kQuantiseBlock;
constexpr size_t kSums = 8;  // running sums of a loop over a block

/// The nearest whole number, ties to even, of a value within 2^22.
float Round(float value) {
  constexpr float kShift = 0x1.8p23f;  // beyond it a float has no fraction
  return (value + kShift) - kShift;
}

/// The code in [kLow, -kLow - 1] nearest to `value`. Between the ends, shifted by a half, |v + end| - |v - end| is 2 v;
/// beyond them it stays: a clamp without the comparisons that would keep compilers from vectors.
template <int kLow>
float Code(float value) {
  constexpr float kEnd = -kLow - 0.5f;
  const float shifted = value + 0.5f;
  return Round((std::fabs(shifted + kEnd) - std::fabs(shifted - kEnd)) * 0.5f - 0.5f);
}

float Fold(const float (&sum)[kSums]) {
  return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

/// 2^exponent, for exponents of normal numbers.
float PowerOfTwo(int exponent) { return std::bit_cast<float>(static_cast<uint32_t>(exponent + 127) << 23); }

/// x = u * 2^exponent with the largest magnitude of u in [1, 2).
struct Block {
  float u[kBlock];
  float weight[kBlock];
  float weighted[kBlock];  // weight * u
  float peak;              // the u of largest magnitude, with its sign
  int exponent;
};

enum class Kind : uint8_t { kNumbers, kZero, kTooLarge };

Kind Prepare(const float* x, const float* weight, Block& block) {
  uint32_t highest = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu;
    highest = magnitude > highest ? magnitude : highest;
  }
  constexpr uint32_t kHuge = (127 + 126) << 23;
  if (highest >= kHuge) return Kind::kTooLarge;
  // Below this a sixteenth of the scale would no longer be a normal number.
  constexpr uint32_t kTiny = (127 - 100) << 23;
  if (highest < kTiny) return Kind::kZero;
  block.exponent = static_cast<int>(highest >> 23) - 127;
  // In two steps: the reciprocal of the largest power of two is not a normal number.
  const int half = block.exponent / 2;
  const float down = PowerOfTwo(-half), down_again = PowerOfTwo(half - block.exponent);
  constexpr float kTinyWeight = 1e-30f;
  block.peak = 0;
  float most = 0, heaviest = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    block.u[i] = x[i] * down * down_again;
    const float magnitude = block.u[i] < 0 ? -block.u[i] : block.u[i];
    if (magnitude > most) {
      most = magnitude;
      block.peak = block.u[i];
    }
    const float w = weight == nullptr ? 1.0f : weight[i];
    heaviest = w > heaviest ? w : heaviest;
  }
  const float unit = heaviest > kTinyWeight ? 1 / heaviest : 0;
  for (size_t i = 0; i < kBlock; ++i) {
    block.weight[i] = weight == nullptr || unit == 0 ? 1.0f : weight[i] * unit;
    block.weighted[i] = block.weight[i] * block.u[i];
  }
  return Kind::kNumbers;
}

/// What the codes that `inverse` gives are worth with their best scale: the error is that of all zeros less `gain`.
struct Trial {
  float inverse = 0;
  float scale = 0;  // a bfloat16
  float gain = 0;
};

template <int kLow>
Trial Try(const Block& block, float inverse) {
  float product[kSums] = {}, square[kSums] = {};
  for (size_t i = 0; i < kBlock; i += kSums) {
    for (size_t j = 0; j < kSums; ++j) {
      const float code = Code<kLow>(block.u[i + j] * inverse);
      product[j] += block.weighted[i + j] * code;
      square[j] += block.weight[i + j] * code * code;
    }
  }
  const float xq = Fold(product), qq = Fold(square);
  if (!(qq > 0)) return {};
  const float scale = F32FromBF16(BF16FromF32(xq / qq));
  return {inverse, scale, scale * (2 * xq - scale * qq)};
}

/// The best of the scales tried.
template <int kLow>
Trial Search(const Block& block) {
  constexpr int kSteps = 3;
  constexpr float kStep = 0.3f;
  const float unit = 1 / block.peak;
  Trial best;
  for (const float end : {static_cast<float>(kLow), static_cast<float>(-kLow - 1)}) {
    for (int step = -kSteps; step <= kSteps; ++step) {
      const Trial trial = Try<kLow>(block, (end + kStep * static_cast<float>(step)) * unit);
      if (trial.gain > best.gain) best = trial;
    }
  }
  // The codes of the scale found: each time fewer of them change.
  for (int round = 0; round < 4; ++round) {
    if (best.scale == 0) break;
    const Trial trial = Try<kLow>(block, 1 / best.scale);
    if (!(trial.gain > best.gain)) break;
    best = trial;
  }
  return best;
}

template <int kLow>
bool Quantise(const float* x, const float* weight, size_t blocks, int8_t* codes, uint16_t* scales) {
  for (size_t b = 0; b < blocks; ++b, x += kBlock, codes += kBlock) {
    Block block;
    const Kind kind = Prepare(x, weight == nullptr ? nullptr : weight + b * kBlock, block);
    if (kind == Kind::kTooLarge) return false;
    const Trial best = kind == Kind::kZero ? Trial{} : Search<kLow>(block);
    if (best.scale == 0) {
      std::memset(codes, 0, kBlock);
      scales[b] = 0;
      continue;
    }
    for (size_t i = 0; i < kBlock; ++i) {
      codes[i] = static_cast<int8_t>(Code<kLow>(block.u[i] * best.inverse));
    }
    scales[b] = BF16FromF32(best.scale * PowerOfTwo(block.exponent));
  }
  return true;
}

}  // namespace

bool QuantiseQb4(const float* x, const float* weight, size_t blocks, int8_t* codes, uint16_t* scales) {
  return Quantise<-8>(x, weight, blocks, codes, scales);
}

bool QuantiseQb3(const float* x, const float* weight, size_t blocks, int8_t* codes, uint16_t* scales) {
  return Quantise<-4>(x, weight, blocks, codes, scales);
}

bool CodesFromQ4_0(const std::byte* q4_0, size_t blocks, int8_t* codes, uint16_t* scales) {
  const auto* block = reinterpret_cast<const BlockQ4_0*>(q4_0);
  for (size_t b = 0; b < blocks; ++b, codes += kBlock) {
    if ((block[b].d & 0x7c00) == 0x7c00) return false;
    scales[b] = BF16FromF32(F32FromF16(block[b].d));
    for (size_t j = 0; j < kBlock / 2; ++j) {
      codes[j] = static_cast<int8_t>((block[b].qs[j] & 15) - 8);
      codes[j + kBlock / 2] = static_cast<int8_t>((block[b].qs[j] >> 4) - 8);
    }
  }
  return true;
}

bool QuantiseQ8_0(const float* x, size_t blocks, std::byte* q8_0) {
  kFormatQ8_0.encode(x, blocks, q8_0);
  const auto* block = reinterpret_cast<const BlockQ8_0*>(q8_0);
  bool finite = true;
  for (size_t b = 0; b < blocks; ++b) finite = finite && (block[b].d & 0x7c00) != 0x7c00;
  return finite;
}

}  // namespace thimble
