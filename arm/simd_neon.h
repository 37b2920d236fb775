// SPDX-License-Identifier: Apache-2.0
//
// The vectors of arm/gguf_blocks.h on ARMv8 without SDOT: products of bytes are added up in 16 bits as far as the
// codes' magnitude allows. Nothing here knows the layout of a block, but for the packed scales of the k-formats.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "arm/simd.h"

namespace thimble {

/// Everything but the products, for the three instruction sets of 64-bit Arm.
template <class Isa>
struct NeonVectors {
  static constexpr size_t kRows = 1;
  static constexpr size_t kVectors = 2;
  static constexpr bool kStarts = false;
  static constexpr bool kRaises = false;
  using One = Simd<Isa>;
  using Rows = BlockRows<Isa, 1>;
  struct Bytes {
    uint8x16_t first, second;
  };
  struct Ints {
    int32x4_t first, second;
  };
  struct Floats {
    float32x4_t first, second;
  };
  struct Quad {
    int32x4_t even, odd;  // of 32 values to a scale, even alone
  };
  using Sum = float32x4_t;
  using Scalar = float;

  static Bytes Load(const Rows& w, size_t offset) { return {vld1q_u8(w.At(offset)), vld1q_u8(w.At(offset + 16))}; }
  static Bytes LoadValues(const int8_t* p) {
    return {vreinterpretq_u8_s8(vld1q_s8(p)), vreinterpretq_u8_s8(vld1q_s8(p + 16))};
  }
  static void Store(int8_t* p, Bytes v) {
    vst1q_s8(p, vreinterpretq_s8_u8(v.first));
    vst1q_s8(p + 16, vreinterpretq_s8_u8(v.second));
  }
  static void Prefetch(const Rows&, size_t) {}
  static Bytes Broadcast(uint8_t value) { return {vdupq_n_u8(value), vdupq_n_u8(value)}; }
  static Bytes Nibbles(const Rows& w, size_t offset) {
    const uint8x16_t v = vld1q_u8(w.At(offset));
    return {vandq_u8(v, vdupq_n_u8(15)), vshrq_n_u8(v, 4)};
  }
  template <int kRight>
  static Bytes Shift(Bytes v) {
    if constexpr (kRight > 0) {
      return {vshrq_n_u8(v.first, kRight), vshrq_n_u8(v.second, kRight)};
    } else if constexpr (kRight < 0) {
      return {vshlq_n_u8(v.first, -kRight), vshlq_n_u8(v.second, -kRight)};
    } else {
      return v;
    }
  }
  template <int kRight, int kMask>
  static Bytes Field(Bytes v) {
    const Bytes shifted = Shift<kRight>(v);
    if constexpr (kMask == 0xff >> kRight) {
      return shifted;
    } else {
      return {vandq_u8(shifted.first, vdupq_n_u8(kMask)), vandq_u8(shifted.second, vdupq_n_u8(kMask))};
    }
  }
  template <int kMask>
  static Bytes Merge(Bytes low, Bytes high) {
    return {vbslq_u8(vdupq_n_u8(kMask), high.first, low.first), vbslq_u8(vdupq_n_u8(kMask), high.second, low.second)};
  }
  template <int kLeft, int kMask>
  static Bytes Join(Bytes low, Bytes high) {
    const uint8x16_t mask = vdupq_n_u8(kMask);
    return {vandq_u8(vsliq_n_u8(low.first, high.first, kLeft), mask),
            vandq_u8(vsliq_n_u8(low.second, high.second, kLeft), mask)};
  }
  template <int kOffset>
  static Bytes Subtract(Bytes v) {
    if constexpr (kOffset == 0) return v;
    return {vsubq_u8(v.first, vdupq_n_u8(kOffset)), vsubq_u8(v.second, vdupq_n_u8(kOffset))};
  }
  static Bytes Lookup(const int8_t* levels, Bytes index) {
    const uint8x16_t table = vreinterpretq_u8_s8(vld1q_s8(levels));
    return {vqtbl1q_u8(table, index.first), vqtbl1q_u8(table, index.second)};
  }

  static Ints LoadInts(const int32_t* p) { return {vld1q_s32(p), vld1q_s32(p + 4)}; }
  static void StoreInts(int32_t* p, Ints v) {
    vst1q_s32(p, v.first);
    vst1q_s32(p + 4, v.second);
  }
  static Ints Subtract(Ints a, Ints b) { return {vsubq_s32(a.first, b.first), vsubq_s32(a.second, b.second)}; }
  template <int kFactor>
  static Ints Multiply(Ints a) {
    return {vmulq_n_s32(a.first, kFactor), vmulq_n_s32(a.second, kFactor)};
  }
  static Ints Multiply(Ints a, Ints b) { return {vmulq_s32(a.first, b.first), vmulq_s32(a.second, b.second)}; }
  static Ints MultiplyAdd(Ints sum, Ints a, Ints b) {
    return {vmlaq_s32(sum.first, a.first, b.first), vmlaq_s32(sum.second, a.second, b.second)};
  }
  static Floats ToFloats(Ints v) { return {vcvtq_f32_s32(v.first), vcvtq_f32_s32(v.second)}; }

  static Floats LoadFloats(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
  static void StoreFloats(float* p, Floats v) {
    vst1q_f32(p, v.first);
    vst1q_f32(p + 4, v.second);
  }
  static void StoreInterleaved(float* p, Floats even, Floats odd) {
    vst1q_f32(p, vzip1q_f32(even.first, odd.first));
    vst1q_f32(p + 4, vzip2q_f32(even.first, odd.first));
    vst1q_f32(p + 8, vzip1q_f32(even.second, odd.second));
    vst1q_f32(p + 12, vzip2q_f32(even.second, odd.second));
  }
  static Floats Multiply(Floats a, Floats b) { return {vmulq_f32(a.first, b.first), vmulq_f32(a.second, b.second)}; }
  static Floats Multiply(Floats a, Scalar b) { return {vmulq_n_f32(a.first, b), vmulq_n_f32(a.second, b)}; }
  template <int kFactor>
  static Floats MultiplySubtract(Floats sum, Floats a) {
    return {vfmsq_n_f32(sum.first, a.first, kFactor), vfmsq_n_f32(sum.second, a.second, kFactor)};
  }

  static Sum Zero() { return vdupq_n_f32(0); }
  static Sum Products(Floats a, Floats b) { return vfmaq_f32(vmulq_f32(a.first, b.first), a.second, b.second); }
  static Sum AddProducts(Sum sum, Floats a, Floats b) {
    return vfmaq_f32(vfmaq_f32(sum, a.first, b.first), a.second, b.second);
  }
  static Sum AddScaled(Sum sum, Sum a, Scalar b) { return vfmaq_n_f32(sum, a, b); }
  static Sum SubtractScaled(Sum sum, Sum a, Scalar b) { return vfmsq_n_f32(sum, a, b); }
  static void Totals(Sum sum, float* y) { *y = vaddvq_f32(sum); }

  static Scalar Half(const Rows& w, size_t offset) {
    __fp16 half;
    __builtin_memcpy(&half, w.At(offset), sizeof half);
    return static_cast<float>(half);
  }
  template <size_t kStride>
  static Floats Halves(const Rows& w, size_t offset) {
    const auto at = [&w, offset](size_t i) { return w.template At<uint16_t>(offset + i * kStride); };
    const auto four = [at](size_t i) {
      const uint16x4_t two = vld1_lane_u16(at(i + 1), vld1_dup_u16(at(i)), 1);
      return vcvt_f32_f16(vreinterpret_f16_u16(vld1_lane_u16(at(i + 3), vld1_lane_u16(at(i + 2), two, 2), 3)));
    };
    return {four(0), four(4)};
  }

  static Ints Widen(int16x8_t v) { return {vmovl_s16(vget_low_s16(v)), vmovl_high_s16(v)}; }
  static Ints Widen(uint8x8_t v) { return Widen(vreinterpretq_s16_u16(vmovl_u8(v))); }

  static void EvenOdd(int8x16_t v, Ints& even, Ints& odd) {
    const int16x8_t pairs = vreinterpretq_s16_s8(v);
    even = Widen(vshrq_n_s16(vshlq_n_s16(pairs, 8), 8));
    odd = Widen(vshrq_n_s16(pairs, 8));
  }
  static void EvenOdd(const Rows& w, size_t offset, Ints& even, Ints& odd) {
    EvenOdd(vld1q_s8(w.template At<int8_t>(offset)), even, odd);
  }

  static void ScalesQ3K(const Rows& w, size_t offset, Ints& even, Ints& odd) {
    const uint8_t* p = w.At(offset);
    static constexpr int8_t kLow[16] = {0, 0, 0, 0, 0, 0, 0, 0, -4, -4, -4, -4, -4, -4, -4, -4};
    static constexpr int8_t kHigh[16] = {4, 4, 4, 4, 2, 2, 2, 2, 0, 0, 0, 0, -2, -2, -2, -2};
    const uint8x8_t eight = vld1_u8(p);
    const uint8x16_t low = vshlq_u8(vcombine_u8(eight, eight), vld1q_s8(kLow));
    const uint8x8_t four = vreinterpret_u8_u32(vdup_n_u32(Word(p + 8)));
    const uint8x16_t high = vshlq_u8(vcombine_u8(four, four), vld1q_s8(kHigh));
    const uint8x16_t codes = vorrq_u8(vandq_u8(low, vdupq_n_u8(15)), vandq_u8(high, vdupq_n_u8(0x30)));
    EvenOdd(vreinterpretq_s8_u8(vsubq_u8(codes, vdupq_n_u8(32))), even, odd);
  }

  static void ScalesQ4K(const Rows& w, size_t offset, Ints& scale, Ints& minimum) {
    const uint8_t* p = w.At(offset);
    static constexpr int8_t kShift[8] = {0, 0, 0, 0, -4, -4, -4, -4};
    const uint8x8_t first = vld1_u8(p);  // four scales, four minimums
    const uint8x8_t low = vand_u8(first, vdup_n_u8(0x3f));
    const uint8x8_t four = vreinterpret_u8_u32(vdup_n_u32(Word(p + 8)));
    const uint8x8_t nibbles = vand_u8(vshl_u8(four, vld1_s8(kShift)), vdup_n_u8(15));
    const uint8x8_t high = vorr_u8(nibbles, vand_u8(vshr_n_u8(first, 2), vdup_n_u8(0x30)));
    scale = Widen(vreinterpret_u8_u32(vzip1_u32(vreinterpret_u32_u8(low), vreinterpret_u32_u8(high))));
    minimum = Widen(vreinterpret_u8_u32(vzip2_u32(vreinterpret_u32_u8(low), vreinterpret_u32_u8(high))));
  }

  static Ints ScalesIQ4XS(const Rows& w, size_t high, size_t low) {
    static constexpr int32_t kLow[8] = {0, -4, -8, -12, -16, -20, -24, -28};
    static constexpr int32_t kHigh[8] = {4, 2, 0, -2, -4, -6, -8, -10};
    const uint32x4_t l = vdupq_n_u32(Word(w.At(low)));
    const uint32x4_t h = vdupq_n_u32(*w.template At<uint16_t>(high));
    const auto scales = [l, h](int32x4_t low_shift, int32x4_t high_shift) {
      const uint32x4_t low_bits = vandq_u32(vshlq_u32(l, low_shift), vdupq_n_u32(15));
      const uint32x4_t high_bits = vandq_u32(vshlq_u32(h, high_shift), vdupq_n_u32(0x30));
      return vsubq_s32(vreinterpretq_s32_u32(vorrq_u32(low_bits, high_bits)), vdupq_n_s32(32));
    };
    return {scales(vld1q_s32(kLow), vld1q_s32(kHigh)), scales(vld1q_s32(kLow + 4), vld1q_s32(kHigh + 4))};
  }

  /// Four bytes, aligned or not.
  static uint32_t Word(const uint8_t* p) {
    uint32_t word;
    __builtin_memcpy(&word, p, sizeof word);
    return word;
  }

  static int32x4_t AddUp(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d) {
    return vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
  }

  static Ints Whole(const Quad (&q)[2]) { return {q[0].even, q[1].even}; }
  static Ints Even(const Quad (&q)[2]) { return {q[0].even, q[1].even}; }
  static Ints Odd(const Quad (&q)[2]) { return {q[0].odd, q[1].odd}; }
};

/// Products by SMULL and SMLAL: 16-bit sums of two products (16 values to a scale) or four, widened when that is safe.
template <>
struct Simd<Neon> : NeonVectors<Neon> {
  struct Pair {
    int16x8_t first, second;
  };

  template <int kSub, int kMagnitude, bool kSigned>
  static auto Dot(Bytes w, Bytes x) {
    if constexpr (kSub == 32 && 4 * kMagnitude * 127 <= INT16_MAX) {
      return Smlal(Smull(w.first, x.first), w.second, x.second);
    } else {
      const Pair sums = {Smull(w.first, x.first), Smull(w.second, x.second)};
      if constexpr (kSub == 16) {
        return sums;
      } else {
        return vpadalq_s16(vpaddlq_s16(sums.first), sums.second);
      }
    }
  }

  /// start + the products, the one side of which is codes of magnitude up to 127, the other up to kMagnitude.
  template <int kMagnitude>
  static int32x4_t DotFrom(int32x4_t start, Bytes w, Bytes x) {
    if constexpr (4 * kMagnitude * 127 <= INT16_MAX) {
      return vpadalq_s16(start, Smlal(Smull(w.first, x.first), w.second, x.second));
    } else {
      return vpadalq_s16(vpadalq_s16(start, Smull(w.first, x.first)), Smull(w.second, x.second));
    }
  }

  template <int kSub, int kMagnitude, class Part>
  static Quad Fold(const Part (&p)[4]) {
    if constexpr (kSub == 16) {
      return {AddUp<2 * kMagnitude>(p[0].first, p[1].first, p[2].first, p[3].first),
              AddUp<2 * kMagnitude>(p[0].second, p[1].second, p[2].second, p[3].second)};
    } else {
      const int32x4_t sums = AddUp<4 * kMagnitude>(p[0], p[1], p[2], p[3]);
      return {sums, sums};
    }
  }

 private:
  static int16x8_t Smull(uint8x16_t w, uint8x16_t x) {
    const int8x16_t a = vreinterpretq_s8_u8(w);
    const int8x16_t b = vreinterpretq_s8_u8(x);
    return vmlal_high_s8(vmull_s8(vget_low_s8(a), vget_low_s8(b)), a, b);
  }
  static int16x8_t Smlal(int16x8_t sum, uint8x16_t w, uint8x16_t x) {
    const int8x16_t a = vreinterpretq_s8_u8(w);
    const int8x16_t b = vreinterpretq_s8_u8(x);
    return vmlal_high_s8(vmlal_s8(sum, vget_low_s8(a), vget_low_s8(b)), a, b);
  }

  /// The sums of the lanes of each; no lane is larger than kLane * 127.
  template <int kLane>
  static int32x4_t AddUp(int16x8_t a, int16x8_t b, int16x8_t c, int16x8_t d) {
    if constexpr (4 * kLane * 127 <= INT16_MAX) {
      return vpaddlq_s16(vpaddq_s16(vpaddq_s16(a, b), vpaddq_s16(c, d)));
    } else {
      static_assert(2 * kLane * 127 <= INT16_MAX);
      return vpaddq_s32(vpaddlq_s16(vpaddq_s16(a, b)), vpaddlq_s16(vpaddq_s16(c, d)));
    }
  }
  template <int kLane>
  static int32x4_t AddUp(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d) {
    return NeonVectors::AddUp(a, b, c, d);
  }
};

}  // namespace thimble
