// SPDX-License-Identifier: Apache-2.0
//
// Products for processors with SMMLA: Cortex-A510, A710 and later, Neoverse V1. It multiplies eight values of two rows
// with those of two tokens.
#include "arm/gguf_blocks.h"
#include "arm/matmul_neondot.h"
#include "arm/simd_neoni8mm.h"

namespace thimble {
namespace {

// Values [8 i, 8 i + 8) of two tokens side by side, for i in [0, 2).
struct Pair {
  int8x16_t x[2];
  Pair() = default;
  Pair(int8x16_t first, int8x16_t second) {
    const int64x2_t a = vreinterpretq_s64_s8(first), b = vreinterpretq_s64_s8(second);
    x[0] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
    x[1] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
  }
};

// Sums of four rows for two tokens; a row's two rows lie in the halves of a vector.
struct Square {
  int32x4_t rows01 = vdupq_n_s32(0);
  int32x4_t rows23 = vdupq_n_s32(0);

  [[gnu::always_inline]] void Add(const Pair& x, const int8_t* codes) {
    for (size_t i = 0; i < 2; ++i) {
      rows01 = vmmlaq_s32(rows01, x.x[i], vld1q_s8(codes + 64 * i));
      rows23 = vmmlaq_s32(rows23, x.x[i], vld1q_s8(codes + 64 * i + 16));
    }
  }
  [[gnu::always_inline]] int32x4_t First() const {
    return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(rows01), vreinterpretq_s64_s32(rows23)));
  }
  [[gnu::always_inline]] int32x4_t Second() const {
    return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(rows01), vreinterpretq_s64_s32(rows23)));
  }
};

// TileKernel::Multiply for tiles with `sub` values to a scale. A single token is multiplied twice.
template <size_t T, size_t sub>
TileSums<NeonI8mm, T> MultiplyTile(const Tile<NeonI8mm>& tile, size_t row, const Activations& x,
                                   TileSums<NeonI8mm, T> y) {
  constexpr size_t kPairs = (T + 1) / 2;
  const size_t cols = tile.cols, blocks = cols / 32;
  const int8_t* codes = tile.codes + row * cols;
  const float* scales = tile.scales + row;
  for (size_t b = 0; b < blocks; ++b) {
    Square squares[kPairs][2];
    for (size_t half = 0; half < 2; ++half, codes += 128) {
      for (size_t p = 0; p < kPairs; ++p) {
        const int8_t* a = x.codes + 2 * p * cols + b * 32 + half * 16;
        const Pair pair(vld1q_s8(a), vld1q_s8(T == 1 ? a : a + cols));
        squares[p][0].Add(pair, codes);
        squares[p][1].Add(pair, codes + 32);
      }
      if (sub == 32 && half == 0) continue;
      int32x4_t sums[2 * kPairs][2];
      for (size_t p = 0; p < kPairs; ++p) {
        for (size_t r = 0; r < 2; ++r) {
          sums[2 * p][r] = squares[p][r].First();
          sums[2 * p + 1][r] = squares[p][r].Second();
          squares[p][r] = Square();
        }
      }
      for (size_t t = 0; t < T; ++t) AddScaled(sums[t], scales, x.scales[t * blocks + b], y.of[t]);
      scales += 16;
    }
  }
  return y;
}

}  // namespace

template <>
struct TileKernel<NeonI8mm> {
  static constexpr size_t kRows = 8, kDepth = 8;
  static constexpr int kQb4Factor = 16;
  static void StoreRows(int8_t* out, const int8x16x4_t& rows) {
    const Pair low(rows.val[0], rows.val[1]), high(rows.val[2], rows.val[3]);
    for (size_t i = 0; i < 2; ++i) {
      vst1q_s8(out + i * kRows * kDepth, low.x[i]);
      vst1q_s8(out + i * kRows * kDepth + 16, high.x[i]);
    }
  }
  static void StoreWords(int8_t* out, const int8x16x4_t& words) {
    for (size_t i = 0; i < 2; ++i) {
      const int32x4x2_t pair = {{vreinterpretq_s32_s8(words.val[2 * i]), vreinterpretq_s32_s8(words.val[2 * i + 1])}};
      vst2q_s32(reinterpret_cast<int32_t*>(out + i * kRows * kDepth), pair);
    }
  }
  template <size_t T>
  static auto Multiply(const Tile<NeonI8mm>& tile, size_t row, const Activations& x, const TileSums<NeonI8mm, T>& y) {
    return tile.sub == 16 ? MultiplyTile<T, 16>(tile, row, x, y) : MultiplyTile<T, 32>(tile, row, x, y);
  }
};

template struct Tile<NeonI8mm>;
template struct PackedKernels<NeonI8mm>;
template const BlockFormat<NeonI8mm>* FindBlockFormat<NeonI8mm>(Type type);
template void Matmul<NeonI8mm>(const Matrix&, size_t, size_t, const Activations&, float*, size_t, std::byte*);

}  // namespace thimble
