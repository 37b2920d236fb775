// SPDX-License-Identifier: Apache-2.0
//
// The float kernels for every AArch64 processor.
#include <arm_neon.h>

#include "arm/float_activations.h"
#include "arm/float_attention.h"
#include "arm/float_delta_chunk.h"
#include "arm/float_delta_step.h"
#include "arm/float_matmul.h"
#include "arm/float_state.h"

namespace thimble {

template <>
struct Vector<Neon> {
  using F = float32x4_t;
  static constexpr size_t kWidth = 4;
  static constexpr size_t kTileRows = 8;
  static constexpr size_t kTileVectors = 2;
  static constexpr size_t kDotColumns = 4;

  static F Set(float x) { return vdupq_n_f32(x); }
  static F Load(const float* p) { return vld1q_f32(p); }
  static void Store(float* p, F x) { vst1q_f32(p, x); }
  static F LoadPart(const float* p, size_t n) {
    float x[kWidth] = {};
    for (size_t i = 0; i < n; ++i) x[i] = p[i];
    return vld1q_f32(x);
  }
  static void StorePart(float* p, F x, size_t n) {
    float values[kWidth];
    vst1q_f32(values, x);
    for (size_t i = 0; i < n; ++i) p[i] = values[i];
  }

  static void LoadFour(const float* p, F* x) {
    const float32x4x4_t four = vld1q_f32_x4(p);
    Unroll<4>([&](auto i) { x[i] = four.val[i]; });
  }
  static F Load(ElementF32, const std::byte* p) { return vld1q_f32(reinterpret_cast<const float*>(p)); }
  static F Load(ElementF16, const std::byte* p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const uint16_t*>(p))));
  }
  static F Load(ElementBF16, const std::byte* p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(reinterpret_cast<const uint16_t*>(p)), 16));
  }
  static F Load(ElementI16, const std::byte* p) {
    return vcvtq_f32_s32(vmovl_s16(vld1_s16(reinterpret_cast<const int16_t*>(p))));
  }
  static void LoadPair(ElementF32, const float* p, F* x) {
    const float32x4x2_t two = vld1q_f32_x2(p);
    x[0] = two.val[0];
    x[1] = two.val[1];
  }
  static void LoadPair(ElementF32, const std::byte* p, F* x) {
    LoadPair(ElementF32(), reinterpret_cast<const float*>(p), x);
  }
  static void LoadPair(ElementF16, const std::byte* p, F* x) {
    const float16x8_t halves = vreinterpretq_f16_u16(vld1q_u16(reinterpret_cast<const uint16_t*>(p)));
    x[0] = vcvt_f32_f16(vget_low_f16(halves));
    x[1] = vcvt_high_f32_f16(halves);
  }
  static void LoadPair(ElementBF16, const std::byte* p, F* x) {
    const uint16x8_t halves = vld1q_u16(reinterpret_cast<const uint16_t*>(p));
    x[0] = vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(halves), 16));
    x[1] = vreinterpretq_f32_u32(vshll_high_n_u16(halves, 16));
  }
  static void LoadPair(ElementI16, const std::byte* p, F* x) {
    const int16x8_t codes = vld1q_s16(reinterpret_cast<const int16_t*>(p));
    x[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(codes)));
    x[1] = vcvtq_f32_s32(vmovl_high_s16(codes));
  }
  // Two vectors of magnitude up to 32767, rounded to nearest even.
  static void StoreRounded(const F* x, int16_t* codes) {
    const int16x8_t low = vreinterpretq_s16_s32(vcvtnq_s32_f32(x[0]));
    vst1q_s16(codes, vuzp1q_s16(low, vreinterpretq_s16_s32(vcvtnq_s32_f32(x[1]))));
  }

  static F MulAdd(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  static F MulSub(F a, F b, F c) { return vfmsq_f32(c, a, b); }  // c - a * b
  static F Min(F limit, F x) { return vminq_f32(limit, x); }     // NaN of NaN x; so has Max
  static F Max(F limit, F x) { return vmaxq_f32(limit, x); }
  static F Inverse(F x) {  // of 1 to infinity
    F y = vrecpeq_f32(x);
    y = vmulq_f32(y, vrecpsq_f32(x, y));
    return vmulq_f32(y, vrecpsq_f32(x, y));
  }
  static F ExponentFromLowBits(F x) { return vreinterpretq_f32_s32(vshlq_n_s32(vreinterpretq_s32_f32(x), 23)); }
  static float First(F x) { return vgetq_lane_f32(x, 0); }
  static float Sum(F x) { return vaddvq_f32(x); }
  static float Highest(F x) { return vmaxvq_f32(x); }
  static void Sum4(F a, F b, F c, F d, float* sums) { vst1q_f32(sums, vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d))); }

  // Some floats that vectors are multiplied with, one by one.
  template <size_t kCount>
  struct Column {
    F part[kCount / 4];
  };
  template <size_t kCount>
  static Column<kCount> LoadColumn(const float* p) {
    Column<kCount> column;
    Unroll<kCount / 4>([&](auto i) { column.part[i] = vld1q_f32(p + 4 * i); });
    return column;
  }
  template <size_t kLane, size_t kCount>
  static F MulAddLane(F a, const Column<kCount>& b, F c) {
    return vfmaq_laneq_f32(c, a, b.part[kLane / 4], kLane % 4);
  }

  // out[c * out_stride + r] = rows[r][i + c] for four rows and columns.
  static void Transpose(const float* const* rows, size_t i, float* out, size_t out_stride) {
    const F a = vld1q_f32(rows[0] + i);
    const F b = vld1q_f32(rows[1] + i);
    const F c = vld1q_f32(rows[2] + i);
    const F d = vld1q_f32(rows[3] + i);
    const F ac_low = vzip1q_f32(a, c);
    const F ac_high = vzip2q_f32(a, c);
    const F bd_low = vzip1q_f32(b, d);
    const F bd_high = vzip2q_f32(b, d);
    vst1q_f32(out, vzip1q_f32(ac_low, bd_low));
    vst1q_f32(out + out_stride, vzip2q_f32(ac_low, bd_low));
    vst1q_f32(out + 2 * out_stride, vzip1q_f32(ac_high, bd_high));
    vst1q_f32(out + 3 * out_stride, vzip2q_f32(ac_high, bd_high));
  }

  // The largest magnitude of 32 values; NaN if one is.
  static float Magnitude(const float* x) {
    F highest[4];
    Unroll<4>(
        [&](auto i) { highest[i] = vmaxq_f32(vabsq_f32(vld1q_f32(x + 8 * i)), vabsq_f32(vld1q_f32(x + 8 * i + 4))); });
    return Highest(vmaxq_f32(vmaxq_f32(highest[0], highest[1]), vmaxq_f32(highest[2], highest[3])));
  }

  // codes = x * inverse, rounded, of 32 values of magnitude up to 127; their sum.
  static int32_t RoundBlock(const float* x, float inverse, int8_t* codes) {
    int16x8_t words[4];
    Unroll<4>([&](auto i) {
      const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 8 * i), inverse));
      const int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 8 * i + 4), inverse));
      words[i] = vuzp1q_s16(vreinterpretq_s16_s32(low), vreinterpretq_s16_s32(high));
    });
    vst1q_s8(codes, vuzp1q_s8(vreinterpretq_s8_s16(words[0]), vreinterpretq_s8_s16(words[1])));
    vst1q_s8(codes + 16, vuzp1q_s8(vreinterpretq_s8_s16(words[2]), vreinterpretq_s8_s16(words[3])));
    return vaddlvq_s16(vaddq_s16(vaddq_s16(words[0], words[1]), vaddq_s16(words[2], words[3])));
  }
};

template struct FloatKernels<Neon>;

}  // namespace thimble
