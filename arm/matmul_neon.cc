// SPDX-License-Identifier: Apache-2.0
//
// Products for processors without SDOT: Cortex-A53, A72. SMLAL multiplies eight pairs of bytes; its sums of 16 bits
// hold as many products as the largest code allows, and are widened as late as that permits.
#include "arm/matmul_neon.h"

#include "arm/gguf_blocks.h"
#include "arm/simd_neon.h"

namespace thimble {
namespace {

// Values [4 lane, 4 lane + 4) of x, four times: for four rows.
template <int lane>
int8x16_t ForFourRows(int8x16_t x) {
  return vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(x), lane));
}

// The sums of four rows, each in four lanes.
struct Sums {
  int16x8_t low;   // of rows 0 and 1
  int16x8_t high;  // of rows 2 and 3

  [[gnu::always_inline]] void Start(int8x16_t w, int8x16_t x) {
    low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
    high = vmull_high_s8(w, x);
  }
  [[gnu::always_inline]] void Add(int8x16_t w, int8x16_t x) {
    low = vmlal_s8(low, vget_low_s8(w), vget_low_s8(x));
    high = vmlal_high_s8(high, w, x);
  }
};

// Four groups of four rows times values [4 lane, 4 lane + 8) of x, read from 64 bytes of QB4.
template <int lane, bool first>
[[gnu::always_inline]] inline void AddQb4(const int8_t* codes, int8x16_t x, Sums* sums) {
  const int8x16_t low = ForFourRows<lane>(x), high = ForFourRows<lane + 1>(x);
  for (size_t g = 0; g < 4; ++g) {
    const int8x16_t v = vld1q_s8(codes + 16 * g);
    const int8x16_t code = vshrq_n_s8(vshlq_n_s8(v, 4), 4);
    first ? sums[g].Start(code, low) : sums[g].Add(code, low);
    sums[g].Add(vshrq_n_s8(v, 4), high);
  }
}

// Four rows times a block of x, `vectors` being where their bytes of A begin in QB3. Codes count from 0 here: `offset`
// is 4 times what a lane's activations add up to, two lanes being a row. The odd units come 8 times as large as they
// are; three products of those fit, then they are divided.
[[gnu::always_inline]] inline int32x4_t DotQb3(const uint8_t* vectors, const int8x16_t* x, int16x8_t offset) {
  const uint8x16_t a = vld1q_u8(vectors), b = vld1q_u8(vectors + Qb3::kUnitBytes),
                   c = vld1q_u8(vectors + 2 * Qb3::kUnitBytes);
  const uint8x16_t even = vdupq_n_u8(7), odd = vdupq_n_u8(7 << 3);
  Sums sums;
  sums.Start(vreinterpretq_s8_u8(vandq_u8(a, odd)), x[1]);
  sums.Add(vreinterpretq_s8_u8(vandq_u8(b, odd)), x[3]);
  sums.Add(vreinterpretq_s8_u8(vandq_u8(c, odd)), x[5]);
  sums.low = vshrq_n_s16(sums.low, 3);
  sums.high = vshrq_n_s16(sums.high, 3);
  sums.Add(vreinterpretq_s8_u8(vandq_u8(a, even)), x[0]);
  sums.Add(vreinterpretq_s8_u8(vandq_u8(b, even)), x[2]);
  sums.Add(vreinterpretq_s8_u8(vandq_u8(c, even)), x[4]);
  sums.Add(vreinterpretq_s8_u8(vshrq_n_u8(vsriq_n_u8(a, b, 2), 5)), x[6]);
  sums.Add(vreinterpretq_s8_u8(vshrq_n_u8(vsriq_n_u8(c, vshlq_n_u8(b, 1), 2), 5)), x[7]);
  return vpaddlq_s16(vsubq_s16(vpaddq_s16(sums.low, sums.high), offset));
}

// Four rows' sums from sums[4], whose lanes are parts of one row's. kNarrow: four lanes still fit in 16 bits.
template <bool kNarrow>
[[gnu::always_inline]] inline int32x4_t Fold(const int16x8_t* sums) {
  if constexpr (kNarrow) {
    return vpaddlq_s16(vpaddq_s16(vpaddq_s16(sums[0], sums[1]), vpaddq_s16(sums[2], sums[3])));
  } else {
    return vpaddq_s32(vpaddq_s32(vpaddlq_s16(sums[0]), vpaddlq_s16(sums[1])),
                      vpaddq_s32(vpaddlq_s16(sums[2]), vpaddlq_s16(sums[3])));
  }
}

// Four rows times 16 values of a token, added to sums.
template <bool first>
[[gnu::always_inline]] inline void AddRows(const int8x16_t* w, int8x16_t x, int16x8_t* sums) {
  for (size_t r = 0; r < 4; ++r) {
    const int8x8_t low = vget_low_s8(w[r]);
    sums[r] = first ? vmull_s8(low, vget_low_s8(x)) : vmlal_s8(sums[r], low, vget_low_s8(x));
    sums[r] = vmlal_high_s8(sums[r], w[r], x);
  }
}

// Four rows times a block of a token: of its values' two halves, added up if they share a scale.
template <size_t sub, bool kNarrow>
[[gnu::always_inline]] inline int32x4x2_t DotRows(const int8x16_t* w, const int8_t* x) {
  int16x8_t first[4], second[4];
  AddRows<true>(w, vld1q_s8(x), first);
  if constexpr (sub == 32 && kNarrow) {
    AddRows<false>(w + 4, vld1q_s8(x + 16), first);
    return {{Fold<true>(first)}};
  }
  AddRows<true>(w + 4, vld1q_s8(x + 16), second);
  const int32x4x2_t halves = {{Fold<kNarrow>(first), Fold<kNarrow>(second)}};
  return sub == 16 ? halves : int32x4x2_t{{vaddq_s32(halves.val[0], halves.val[1])}};
}

// TileKernel::Multiply for tiles with `sub` values to a scale.
template <size_t T, size_t sub, bool kNarrow>
TileSums<Neon, T> MultiplyTile(const Tile<Neon>& tile, size_t row, const Activations& x, TileSums<Neon, T> y) {
  const size_t cols = tile.cols, blocks = cols / 32;
  const int8_t* codes = tile.codes + row * cols;
  const float* scales = tile.scales + row;
  for (size_t b = 0; b < blocks; ++b, codes += 128) {
    int8x16_t w[8];
    for (size_t i = 0; i < 8; ++i) w[i] = vld1q_s8(codes + 16 * i);
    for (size_t t = 0; t < T; ++t) {
      const int32x4x2_t sums = DotRows<sub, kNarrow>(w, x.codes + t * cols + b * 32);
      for (size_t i = 0; i < 32 / sub; ++i) {
        const float32x4_t scale = vmulq_n_f32(vld1q_f32(scales + i * 16), x.scales[t * blocks + b]);
        y.of[t][0] = vfmaq_f32(y.of[t][0], vcvtq_f32_s32(sums.val[i]), scale);
      }
    }
    scales += 16 * (32 / sub);
  }
  return y;
}

}  // namespace

template <>
struct TileKernel<Neon> {
  static constexpr size_t kRows = 4, kDepth = 16;
  static constexpr int kQb4Factor = 1;
  static void StoreRows(int8_t* out, const int8x16x4_t& rows) {
    for (size_t r = 0; r < 4; ++r) vst1q_s8(out + r * kDepth, rows.val[r]);
  }
  static void StoreWords(int8_t* out, const int8x16x4_t& words) { StoreRows(out, Transpose(words)); }
  template <size_t T>
  static TileSums<Neon, T> Multiply(const Tile<Neon>& tile, size_t row, const Activations& x,
                                    const TileSums<Neon, T>& y) {
    // Four lanes of a sum hold half of the products of a scale's values; two products always fit.
    const bool narrow = tile.sub / 2 * 127 * tile.magnitude <= 32767;
    if (tile.sub == 16)
      return narrow ? MultiplyTile<T, 16, true>(tile, row, x, y) : MultiplyTile<T, 16, false>(tile, row, x, y);
    return narrow ? MultiplyTile<T, 32, true>(tile, row, x, y) : MultiplyTile<T, 32, false>(tile, row, x, y);
  }
};

template <>
void PackedBlocks<Neon>::Qb4(const std::byte* tile, const Activations& x, float* y) {
  const auto* codes = reinterpret_cast<const int8_t*>(tile + Qb4::kSumBytes);
  float32x4x4_t rows = {};
  for (size_t b = 0; b < x.cols / 32; ++b, codes += Qb4::kBlockBytes) {
    const int8x16_t x0 = vld1q_s8(x.codes + b * 32), x1 = vld1q_s8(x.codes + b * 32 + 16);
    Sums sums[4];
    AddQb4<0, true>(codes, x0, sums);
    AddQb4<2, false>(codes + 64, x0, sums);
    AddQb4<0, false>(codes + 128, x1, sums);
    AddQb4<2, false>(codes + 192, x1, sums);
    const float32x4x4_t scales = LoadBF16(reinterpret_cast<const std::byte*>(codes + Qb4::kCodeBytes), x.scales[b]);
    for (size_t g = 0; g < 4; ++g) {
      rows.val[g] =
          vfmaq_f32(rows.val[g], vcvtq_f32_s32(vpaddlq_s16(vpaddq_s16(sums[g].low, sums[g].high))), scales.val[g]);
    }
  }
  for (float32x4_t& four : rows.val) four = vmulq_n_f32(four, 16.0f);
  vst1q_f32_x4(y, rows);
}

template <>
void PackedBlocks<Neon>::Qb3(const std::byte* tile, const Activations& x, float* y) {
  const auto* vectors = reinterpret_cast<const uint8_t*>(tile);
  float32x4x4_t rows = {};
  for (size_t b = 0; b < x.cols / 32; ++b, vectors += Qb3::kBlockBytes) {
    const int8x16_t x0 = vld1q_s8(x.codes + b * 32), x1 = vld1q_s8(x.codes + b * 32 + 16);
    const int8x16_t four[8] = {ForFourRows<0>(x0), ForFourRows<1>(x0), ForFourRows<2>(x0), ForFourRows<3>(x0),
                               ForFourRows<0>(x1), ForFourRows<1>(x1), ForFourRows<2>(x1), ForFourRows<3>(x1)};
    const int16x8_t offset = vdupq_n_s16(static_cast<int16_t>(2 * x.sums[b]));
    const float32x4x4_t scales = LoadBF16(reinterpret_cast<const std::byte*>(vectors + Qb3::kCodeBytes), x.scales[b]);
    for (size_t g = 0; g < 4; ++g) {
      rows.val[g] = vfmaq_f32(rows.val[g], vcvtq_f32_s32(DotQb3(vectors + 16 * g, four, offset)), scales.val[g]);
    }
  }
  vst1q_f32_x4(y, rows);
}

template struct Tile<Neon>;
template struct PackedKernels<Neon>;
template const BlockFormat<Neon>* FindBlockFormat<Neon>(Type type);
template void Matmul<Neon>(const Matrix&, size_t, size_t, const Activations&, float*, size_t, std::byte*);

}  // namespace thimble
