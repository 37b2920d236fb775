// SPDX-License-Identifier: Apache-2.0
//
// What the products of NEON, of NEON with dotprod and with i8mm have in common: a packed matrix tile after tile, and 16
// rows unpacked to 8 bits. The arithmetic itself is in PackedBlocks and TileKernel, which each instruction set defines
// for itself. For matmul_neon*.cc only.
#pragma once

#include <arm_neon.h>

#include "arm/matmul.h"
#include "arm/matmul_dispatch.h"
#include "quant/qb3.h"
#include "quant/qb4.h"

namespace thimble {

/// Rows of one tile times one token; y has room for all 16. Both formats have 4 consecutive values of 4 rows in a
/// vector, which suits processors with and without SDOT.
template <class Isa>
struct PackedBlocks {
  static void Qb4(const std::byte* tile, const Activations& x, float* y);
  static void Qb3(const std::byte* tile, const Activations& x, float* y);
};

/// The order of the codes in a tile, and the product with it. Of kRows rows after kRows rows a tile has, for every
/// kDepth values, kDepth consecutive codes of each row.
template <class Isa>
struct TileKernel;  // has:
//   constexpr size_t kRows, kDepth
//   constexpr int kQb4Factor   what a code of QB4 is multiplied by when it is unpacked, its scale being divided by it
//   void StoreRows(int8_t* out, const int8x16x4_t& rows)
//                              the codes of 16 values of 4 rows, from one vector for each row,
//   void StoreWords(int8_t* out, const int8x16x4_t& words)
//                              or from vectors that hold 4 values of each row
//   template <size_t T> TileSums<Isa, T> Multiply(tile, row, const Activations& x, TileSums<Isa, T> y)
//                              y + rows [row, row + kRows) times tokens [0, T) of x

template <class Isa, size_t T>
struct TileSums {
  float32x4_t of[T][TileKernel<Isa>::kRows / 4];
};

/// Sixteen bfloat16 times a factor.
static inline float32x4x4_t LoadBF16(const std::byte* bits, float factor) {
  const uint16x8_t low = vld1q_u16(reinterpret_cast<const uint16_t*>(bits));
  const uint16x8_t high = vld1q_u16(reinterpret_cast<const uint16_t*>(bits) + 8);
  const auto times = [factor](uint32x4_t wide) { return vmulq_n_f32(vreinterpretq_f32_u32(wide), factor); };
  return {{times(vshll_n_u16(vget_low_u16(low), 16)), times(vshll_high_n_u16(low, 16)),
           times(vshll_n_u16(vget_low_u16(high), 16)), times(vshll_high_n_u16(high, 16))}};
}

/// Words [r][i] become words [i][r]: vectors of a row's 16 bytes each, ones of 4 bytes of each row, and back.
static inline int8x16x4_t Transpose(const int8x16x4_t& v) {
  const auto words = [&v](int i) { return vreinterpretq_s32_s8(v.val[i]); };
  const int32x4x2_t even = vtrnq_s32(words(0), words(1)), odd = vtrnq_s32(words(2), words(3));
  const auto pair = [](int32x4_t a, int32x4_t b, bool high) {
    const int64x2_t c = vreinterpretq_s64_s32(a), d = vreinterpretq_s64_s32(b);
    return vreinterpretq_s8_s64(high ? vtrn2q_s64(c, d) : vtrn1q_s64(c, d));
  };
  return {{pair(even.val[0], odd.val[0], false), pair(even.val[1], odd.val[1], false),
           pair(even.val[0], odd.val[0], true), pair(even.val[1], odd.val[1], true)}};
}

template <class Isa>
void PackedKernels<Isa>::Dot(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y) {
  const auto dot = w.format->type == Type::kQB4 ? PackedBlocks<Isa>::Qb4 : PackedBlocks<Isa>::Qb3;
  for (; begin + 16 <= end; begin += 16, y += 16) dot(w.tile(begin), x, y);
  if (begin == end) return;
  float last[16];
  dot(w.tile(begin), x, last);
  for (size_t r = 0; r < end - begin; ++r) y[r] = last[r];
}

/// Where 16 values from k on of 4 rows go.
template <class Isa>
int8_t* CodesAt(const Tile<Isa>& tile, size_t row, size_t k) {
  constexpr size_t kRows = TileKernel<Isa>::kRows, kDepth = TileKernel<Isa>::kDepth;
  return tile.codes + row / kRows * kRows * tile.cols + k * kRows + row % kRows * kDepth;
}

/// The lower and the upper codes of a vector of QB4, times kQb4Factor.
template <class Isa>
int8x16_t LowCodes(int8x16_t v) {
  return TileKernel<Isa>::kQb4Factor == 16 ? vshlq_n_s8(v, 4) : vshrq_n_s8(vshlq_n_s8(v, 4), 4);
}
template <class Isa>
int8x16_t HighCodes(int8x16_t v) {
  return TileKernel<Isa>::kQb4Factor == 16 ? vandq_s8(v, vdupq_n_s8(-16)) : vshrq_n_s8(v, 4);
}

template <class Isa>
void UnpackQb4(const std::byte* in, const Tile<Isa>& tile) {
  in += Qb4::kSumBytes;
  for (size_t b = 0; b < tile.cols / 32; ++b, in += Qb4::kBlockBytes) {
    for (size_t half = 0; half < 2; ++half) {
      for (size_t g = 0; g < 4; ++g) {
        const auto* codes = reinterpret_cast<const int8_t*>(in) + half * 128 + g * 16;
        const int8x16_t first = vld1q_s8(codes), second = vld1q_s8(codes + 64);
        TileKernel<Isa>::StoreWords(
            CodesAt(tile, 4 * g, b * 32 + half * 16),
            {{LowCodes<Isa>(first), HighCodes<Isa>(first), LowCodes<Isa>(second), HighCodes<Isa>(second)}});
      }
    }
    vst1q_f32_x4(tile.scales + b * 16, LoadBF16(in + Qb4::kCodeBytes, 16.0f / TileKernel<Isa>::kQb4Factor));
  }
}

/// The eight units of QB3, each 4 values of 4 rows, in [-4, 3]; `in` is where their bytes of A begin.
static inline void LoadQb3(const std::byte* in, int8x16x4_t* first, int8x16x4_t* second) {
  const auto* vectors = reinterpret_cast<const uint8_t*>(in);
  const uint8x16_t a = vld1q_u8(vectors), b = vld1q_u8(vectors + Qb3::kUnitBytes),
                   c = vld1q_u8(vectors + 2 * Qb3::kUnitBytes);
  const uint8x16_t mask = vdupq_n_u8(7);
  const auto code = [](uint8x16_t u) { return vsubq_s8(vreinterpretq_s8_u8(u), vdupq_n_s8(4)); };
  *first = {{code(vandq_u8(a, mask)), code(vandq_u8(vshrq_n_u8(a, 3), mask)), code(vandq_u8(b, mask)),
             code(vandq_u8(vshrq_n_u8(b, 3), mask))}};
  *second = {{code(vandq_u8(c, mask)), code(vandq_u8(vshrq_n_u8(c, 3), mask)), code(vshrq_n_u8(vsriq_n_u8(a, b, 2), 5)),
              code(vshrq_n_u8(vsriq_n_u8(c, vshlq_n_u8(b, 1), 2), 5))}};
}

template <class Isa>
void UnpackQb3(const std::byte* in, const Tile<Isa>& tile) {
  for (size_t b = 0; b < tile.cols / 32; ++b, in += Qb3::kBlockBytes) {
    for (size_t g = 0; g < 4; ++g) {
      int8x16x4_t first, second;
      LoadQb3(in + g * 16, &first, &second);
      TileKernel<Isa>::StoreWords(CodesAt(tile, 4 * g, b * 32), first);
      TileKernel<Isa>::StoreWords(CodesAt(tile, 4 * g, b * 32 + 16), second);
    }
    vst1q_f32_x4(tile.scales + b * 16, LoadBF16(in + Qb3::kCodeBytes, 1.0f));
  }
}

/// Rows [begin, end), at most 4, of a GGUF matrix become rows `row` and following of the tile.
template <class Isa>
void UnpackRows(const Matrix& w, const BlockFormat<Isa>& format, size_t begin, size_t end, const Tile<Isa>& tile,
                size_t row, std::byte* scratch) {
  const size_t cols = tile.cols;
  Row8 rows[4];
  for (size_t r = 0; r < 4; ++r) {
    auto* floats = reinterpret_cast<float*>(scratch + 4 * cols) + r * (cols / 16 + cols / 32);
    rows[r] = {reinterpret_cast<int8_t*>(scratch) + r * cols, floats, floats + cols / 16};
    if (begin + r < end) {
      format.unpack(w.tile(begin + r), w.row_blocks(), rows[r]);
    } else {
      for (size_t i = 0; i < cols; ++i) rows[r].codes[i] = 0;
      for (size_t i = 0; i < cols / 16 + cols / 32; ++i) floats[i] = 0.0f;
    }
  }
  for (size_t k = 0; k < cols; k += 16) {
    TileKernel<Isa>::StoreRows(CodesAt(tile, row, k), {{vld1q_s8(rows[0].codes + k), vld1q_s8(rows[1].codes + k),
                                                        vld1q_s8(rows[2].codes + k), vld1q_s8(rows[3].codes + k)}});
  }
  const size_t step = tile.sub / 16;
  for (size_t r = 0; r < 4; ++r) {
    for (size_t i = 0; i < cols / tile.sub; ++i) tile.scales[i * 16 + row + r] = rows[r].scales[i * step];
    if (tile.mins == nullptr) continue;
    for (size_t i = 0; i < cols / 32; ++i) tile.mins[i * 16 + row + r] = rows[r].mins[i];
  }
}

template <class Isa>
Tile<Isa> Tile<Isa>::Unpack(const Matrix& w, const BlockFormat<Isa>* format, size_t begin, size_t end,
                            std::byte* scratch) {
  const size_t cols = w.cols;
  Tile tile = {cols, 32, 4, reinterpret_cast<int8_t*>(scratch), nullptr, nullptr, nullptr};
  scratch += 16 * cols;
  tile.scales = reinterpret_cast<float*>(scratch);
  if (format == nullptr) {
    if (w.format->type == Type::kQB4) {
      tile.magnitude = 8 * TileKernel<Isa>::kQb4Factor;
      UnpackQb4(w.tile(begin), tile);
    } else {
      UnpackQb3(w.tile(begin), tile);
    }
    return tile;
  }
  tile.sub = format->sub;
  tile.magnitude = format->magnitude;
  scratch += cols / tile.sub * 16 * sizeof(float);
  if (format->minimums) {
    tile.mins = reinterpret_cast<float*>(scratch);
    scratch += cols / 32 * 16 * sizeof(float);
  }
  for (size_t r = 0; r < 16; r += 4) UnpackRows(w, *format, begin + r, end, tile, r, scratch);
  return tile;
}

/// What the mins of kRows rows take away: minus the sum of min * the sum of a block's activations.
template <class Isa, size_t T>
TileSums<Isa, T> StartSums(const Tile<Isa>& tile, size_t row, const Activations& x) {
  const size_t blocks = tile.cols / 32;
  TileSums<Isa, T> y = {};
  if (tile.mins == nullptr) return y;
  const float* mins = tile.mins + row;
  for (size_t b = 0; b < blocks; ++b, mins += 16) {
    for (size_t t = 0; t < T; ++t) {
      const float sum = x.scales[t * blocks + b] * static_cast<float>(x.sums[t * blocks + b]);
      for (size_t r = 0; r < TileKernel<Isa>::kRows / 4; ++r) {
        y.of[t][r] = vfmsq_n_f32(y.of[t][r], vld1q_f32(mins + 4 * r), sum);
      }
    }
  }
  return y;
}

/// At most kRows rows from `row` on times tokens [0, T).
template <class Isa, size_t T>
void MultiplyTokens(const Tile<Isa>& tile, size_t row, size_t rows, const Activations& x, float* y, size_t y_stride) {
  constexpr size_t kRows = TileKernel<Isa>::kRows;
  const auto sums = TileKernel<Isa>::template Multiply<T>(tile, row, x, StartSums<Isa, T>(tile, row, x));
  for (size_t t = 0; t < T; ++t, y += y_stride) {
    float all[kRows];
    float* out = rows < kRows ? all : y;
    for (size_t r = 0; r < kRows / 4; ++r) vst1q_f32(out + 4 * r, sums.of[t][r]);
    for (size_t r = 0; rows < kRows && r < rows; ++r) y[r] = all[r];
  }
}

template <class Isa>
void Tile<Isa>::Multiply(const Activations& x, size_t rows, float* y, size_t y_stride) const {
  constexpr size_t kTogether = 4;
  for (size_t r = 0; r < rows; r += TileKernel<Isa>::kRows) {
    size_t t = 0;
    for (; t + kTogether <= x.tokens; t += kTogether) {
      MultiplyTokens<Isa, kTogether>(*this, r, rows - r, x.From(t), y + t * y_stride + r, y_stride);
    }
    for (; t < x.tokens; ++t) MultiplyTokens<Isa, 1>(*this, r, rows - r, x.From(t), y + t * y_stride + r, y_stride);
  }
}

}  // namespace thimble
