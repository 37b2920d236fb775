// SPDX-License-Identifier: Apache-2.0
//
// Products of packed tiles with SDOT, which adds four products of bytes to each of four sums of 32 bits: for NEON with
// dotprod and with i8mm, whose SMMLA has nothing to offer to a single token. For matmul_neondot.cc and
// matmul_neoni8mm.cc only.
#pragma once

#include "arm/matmul_neon.h"

namespace thimble {

/// Adds four groups of four rows times values [4 lane, 4 lane + 8) of x, read from 64 bytes of QB4. Codes are taken 16
/// times as large as they are; the layout's scales are divided by as much.
template <class Isa, int lane>
[[gnu::always_inline]] inline void AddQb4(const int8_t* codes, int8x16_t x, int32x4_t* sums) {
  const int8x16_t v[4] = {vld1q_s8(codes), vld1q_s8(codes + 16), vld1q_s8(codes + 32), vld1q_s8(codes + 48)};
  for (size_t g = 0; g < 4; ++g) sums[g] = vdotq_laneq_s32(sums[g], vshlq_n_s8(v[g], 4), x, lane);
  for (size_t g = 0; g < 4; ++g) sums[g] = vdotq_laneq_s32(sums[g], vandq_s8(v[g], vdupq_n_s8(-16)), x, lane + 1);
}

/// Four rows times a block of x (x0 and x1), `vectors` being where their bytes of A begin in QB3. Codes count from 0
/// here, so the sum starts with 8 times the offset; and the odd units come 8 times as large as they are, so they are
/// first.
template <class Isa>
[[gnu::always_inline]] inline int32x4_t DotQb3(const uint8_t* vectors, int8x16_t x0, int8x16_t x1, int32x4_t sum) {
  const uint8x16_t a = vld1q_u8(vectors), b = vld1q_u8(vectors + Qb3::kUnitBytes),
                   c = vld1q_u8(vectors + 2 * Qb3::kUnitBytes);
  const uint8x16_t even = vdupq_n_u8(7), odd = vdupq_n_u8(7 << 3);
  sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(vandq_u8(a, odd)), x0, 1);
  sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(vandq_u8(b, odd)), x0, 3);
  sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(vandq_u8(c, odd)), x1, 1);
  sum = vshrq_n_s32(sum, 3);
  sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(vandq_u8(a, even)), x0, 0);
  sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(vandq_u8(b, even)), x0, 2);
  sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(vandq_u8(c, even)), x1, 0);
  sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(vshrq_n_u8(vsriq_n_u8(a, b, 2), 5)), x1, 2);
  return vdotq_laneq_s32(sum, vreinterpretq_s8_u8(vshrq_n_u8(vsriq_n_u8(c, vshlq_n_u8(b, 1), 2), 5)), x1, 3);
}

template <class Isa>
void PackedBlocks<Isa>::Qb4(const std::byte* tile, const Activations& x, float* y) {
  const auto* codes = reinterpret_cast<const int8_t*>(tile + Qb4::kSumBytes);
  float32x4x4_t rows = {};
  for (size_t b = 0; b < x.cols / 32; ++b, codes += Qb4::kBlockBytes) {
    const int8x16_t x0 = vld1q_s8(x.codes + b * 32), x1 = vld1q_s8(x.codes + b * 32 + 16);
    int32x4_t sums[4] = {};
    AddQb4<Isa, 0>(codes, x0, sums);
    AddQb4<Isa, 2>(codes + 64, x0, sums);
    AddQb4<Isa, 0>(codes + 128, x1, sums);
    AddQb4<Isa, 2>(codes + 192, x1, sums);
    const float32x4x4_t scales = LoadBF16(reinterpret_cast<const std::byte*>(codes + Qb4::kCodeBytes), x.scales[b]);
    for (size_t g = 0; g < 4; ++g) {
      rows.val[g] = vfmaq_f32(rows.val[g], vcvtq_f32_s32(sums[g]), scales.val[g]);
    }
  }
  vst1q_f32_x4(y, rows);
}

template <class Isa>
void PackedBlocks<Isa>::Qb3(const std::byte* tile, const Activations& x, float* y) {
  const auto* vectors = reinterpret_cast<const uint8_t*>(tile);
  float32x4x4_t rows = {};
  for (size_t b = 0; b < x.cols / 32; ++b, vectors += Qb3::kBlockBytes) {
    const int8x16_t x0 = vld1q_s8(x.codes + b * 32), x1 = vld1q_s8(x.codes + b * 32 + 16);
    const int32x4_t offset = vdupq_n_s32(-4 * 8 * x.sums[b]);
    const float32x4x4_t scales = LoadBF16(reinterpret_cast<const std::byte*>(vectors + Qb3::kCodeBytes), x.scales[b]);
    for (size_t g = 0; g < 4; ++g) {
      rows.val[g] = vfmaq_f32(rows.val[g], vcvtq_f32_s32(DotQb3<Isa>(vectors + 16 * g, x0, x1, offset)), scales.val[g]);
    }
  }
  vst1q_f32_x4(y, rows);
}

/// y += the sums of a scale's values of eight rows times their scales and that of the token.
[[gnu::always_inline]] static inline void AddScaled(const int32x4_t* sums, const float* scales, float x_scale,
                                                    float32x4_t* y) {
  for (size_t r = 0; r < 2; ++r) {
    y[r] = vfmaq_f32(y[r], vcvtq_f32_s32(sums[r]), vmulq_n_f32(vld1q_f32(scales + 4 * r), x_scale));
  }
}

}  // namespace thimble
