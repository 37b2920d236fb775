// SPDX-License-Identifier: Apache-2.0
//
// Coded rows of the cache for 64-bit Arm, over the products of Simd<Isa>.
#pragma once

#include "arm/score_rows.h"
#include "arm/simd_neon.h"

namespace thimble {

template <class Isa>
struct NeonCodes {
  using S = Simd<Isa>;
  using Bytes = typename NeonVectors<Isa>::Bytes;
  using Products = int32x4_t;
  using Sum = float32x4_t;  // of four rows, a lane each
  using Scale = float32x4_t;
  static constexpr size_t kVectors = 4;
  static constexpr size_t kFolded = 4;

  static Sum Zero() { return vdupq_n_f32(0.0f); }
  static Scale Scales(const BlockRows<Isa, 1>* w, size_t offset) {
    const auto at = [w, offset](size_t i) { return w[i].template At<uint16_t>(offset); };
    const uint16x4_t two = vld1_lane_u16(at(1), vld1_dup_u16(at(0)), 1);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_lane_u16(at(3), vld1_lane_u16(at(2), two, 2), 3)));
  }
  static Products Multiply(Bytes row, Bytes query) { return S::template Dot<32, 127, true>(row, query); }
  static Products Refine(Products products, Bytes row, Bytes low) {
    return S::template DotFrom<64>(vshlq_n_s32(products, 7), row, low);
  }
  static Sum AddScaled(Sum sum, const Products* p, Scale rows, float query) {
    return vfmaq_f32(sum, vcvtq_f32_s32(NeonVectors<Isa>::AddUp(p[0], p[1], p[2], p[3])), vmulq_n_f32(rows, query));
  }
  static void Totals(Sum sum, float* totals) { vst1q_f32(totals, sum); }

  static Bytes Eighths(const uint8_t* low, const uint8_t* high) {
    static constexpr int8_t kShifts[32] = {0,  0,  0,  0,  0,  0,  0,  0,  -2, -2, -2, -2, -2, -2, -2, -2,
                                           -4, -4, -4, -4, -4, -4, -4, -4, -6, -6, -6, -6, -6, -6, -6, -6};
    static constexpr uint8_t kBits[32] = {1,  1,  1,  1,  2,  2,  2,  2,  4,  4,  4,  4,  8,   8,   8,   8,
                                          16, 16, 16, 16, 32, 32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 128};
    const uint8x8_t eight = vld1_u8(low);
    const uint8x16_t lows = vcombine_u8(eight, eight);
    const uint8x16_t highs = vreinterpretq_u8_u32(vdupq_n_u32(S::Word(high)));
    const auto half = [&](size_t i) {
      const uint8x16_t third = vtstq_u8(highs, vld1q_u8(kBits + i));
      return vandq_u8(vbslq_u8(vdupq_n_u8(3), vshlq_u8(lows, vld1q_s8(kShifts + i)), third), vdupq_n_u8(7));
    };
    return {half(0), half(16)};
  }
  static void StoreFloats(Bytes codes, const uint16_t* scale, float* to) {
    const float scales = Half(scale);
    const uint8x16_t zero = vdupq_n_u8(0);
    const uint8x16_t halves[2] = {codes.first, codes.second};
    for (const uint8x16_t half : halves) {
      // As the upper bytes of words, which is where signs stand.
      const uint8x16_t words[2] = {vzip1q_u8(zero, half), vzip2q_u8(zero, half)};
      for (const uint8x16_t word : words) {
        const int16x8_t eight = vreinterpretq_s16_u8(word);
        StoreScaled(vcvtq_n_f32_s32(vmovl_s16(vget_low_s16(eight)), 8), scales, to);
        StoreScaled(vcvtq_n_f32_s32(vmovl_high_s16(eight), 8), scales, to + 4);
        to += 8;
      }
    }
  }

  // Levels are whole numbers of up to 7 bits, so the upper halves of floats hold them: they are put together from two
  // tables of bytes, and nothing is converted.
  template <const int8_t (&kLevels)[16]>
  static void StoreLevels(Bytes indices, const uint16_t* scale, float* to) {
    static constexpr Halves kHalves = HalvesOf(kLevels);
    const float scales = Half(scale);
    const uint8x16_t low = vld1q_u8(kHalves.low), high = vld1q_u8(kHalves.high);
    const uint8x16_t halves[2] = {indices.first, indices.second};
    for (const uint8x16_t half : halves) {
      const uint8x16_t lows = vqtbl1q_u8(low, half), highs = vqtbl1q_u8(high, half);
      const uint8x16_t floats[2] = {vzip1q_u8(lows, highs), vzip2q_u8(lows, highs)};
      for (const uint8x16_t eight : floats) {
        const uint16x8_t upper = vreinterpretq_u16_u8(eight);
        StoreScaled(vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(upper), 16)), scales, to);
        StoreScaled(vreinterpretq_f32_u32(vshll_high_n_u16(upper, 16)), scales, to + 4);
        to += 8;
      }
    }
  }

 private:
  struct Halves {
    uint8_t low[16], high[16];
  };
  static constexpr Halves HalvesOf(const int8_t (&levels)[16]) {
    Halves halves = {};
    for (size_t i = 0; i < 16; ++i) {
      const uint32_t bits = __builtin_bit_cast(uint32_t, static_cast<float>(levels[i]));
      halves.low[i] = static_cast<uint8_t>(bits >> 16);
      halves.high[i] = static_cast<uint8_t>(bits >> 24);
    }
    return halves;
  }

  static void StoreScaled(float32x4_t x, float scale, float* to) { vst1q_f32(to, vmulq_n_f32(x, scale)); }
  static float Half(const uint16_t* p) {
    __fp16 half;
    __builtin_memcpy(&half, p, sizeof half);
    return static_cast<float>(half);
  }
};

}  // namespace thimble
