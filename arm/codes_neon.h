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
  using Sum = float32x4_t;
  using Scale = float;
  static constexpr size_t kVectors = 2;

  static Sum Zero() { return vdupq_n_f32(0.0f); }
  static Scale Scales(const BlockRows<Isa, 1>& w, size_t offset) { return S::Half(w, offset); }
  static int32x4_t Multiply(Bytes row, Bytes query) { return S::template Dot<32, 127, true>(row, query); }
  static int32x4_t Refine(int32x4_t products, Bytes row, Bytes low) {
    return vaddq_s32(vshlq_n_s32(products, 7), Multiply(row, low));
  }
  static Sum AddScaled(Sum sum, int32x4_t products, Scale row_scale, float query_scale) {
    return vfmaq_n_f32(sum, vcvtq_f32_s32(products), row_scale * query_scale);
  }
  static void Totals(Sum sum, float* totals) { *totals = vaddvq_f32(sum); }

  static Bytes Eighths(const uint8_t* low, const uint8_t* high) {
    static constexpr int8_t kShifts[32] = {0,  0,  0,  0,  0,  0,  0,  0,  -2, -2, -2, -2, -2, -2, -2, -2,
                                           -4, -4, -4, -4, -4, -4, -4, -4, -6, -6, -6, -6, -6, -6, -6, -6};
    static constexpr uint8_t kBits[32] = {1,  1,  1,  1,  2,  2,  2,  2,  4,  4,  4,  4,  8,   8,   8,   8,
                                          16, 16, 16, 16, 32, 32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 128};
    const uint8x8_t eight = vld1_u8(low);
    const uint8x16_t lows = vcombine_u8(eight, eight);
    const uint8x16_t highs = vreinterpretq_u8_u32(vdupq_n_u32(S::Word(high)));
    const auto half = [&](size_t i) {
      const uint8x16_t two = vandq_u8(vshlq_u8(lows, vld1q_s8(kShifts + i)), vdupq_n_u8(3));
      return vorrq_u8(two, vandq_u8(vtstq_u8(highs, vld1q_u8(kBits + i)), vdupq_n_u8(4)));
    };
    return {half(0), half(16)};
  }
  static void StoreFloats(Bytes codes, const uint16_t* scale, float* to) {
    __fp16 factor;
    __builtin_memcpy(&factor, scale, sizeof factor);
    const float32x4_t scales = vdupq_n_f32(static_cast<float>(factor));
    const int8x16_t halves[2] = {vreinterpretq_s8_u8(codes.first), vreinterpretq_s8_u8(codes.second)};
    for (const int8x16_t half : halves) {
      const int16x8_t words[2] = {vmovl_s8(vget_low_s8(half)), vmovl_high_s8(half)};
      for (const int16x8_t eight : words) {
        vst1q_f32(to, vmulq_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(eight))), scales));
        vst1q_f32(to + 4, vmulq_f32(vcvtq_f32_s32(vmovl_high_s16(eight)), scales));
        to += 8;
      }
    }
  }
};

}  // namespace thimble
