// SPDX-License-Identifier: Apache-2.0
//
// Products for processors with SDOT: Cortex-A55, A76.
#include "arm/matmul_neondot.h"

#include "arm/gguf_blocks.h"
#include "arm/simd_neondot.h"

namespace thimble {
namespace {

// Adds eight rows times 16 values of a token.
[[gnu::always_inline]] inline void AddRows(const int8x16_t* w, int8x16_t x, int32x4_t* sums) {
  for (size_t r = 0; r < 2; ++r) {
    sums[r] = vdotq_laneq_s32(sums[r], w[r], x, 0);
    sums[r] = vdotq_laneq_s32(sums[r], w[2 + r], x, 1);
    sums[r] = vdotq_laneq_s32(sums[r], w[4 + r], x, 2);
    sums[r] = vdotq_laneq_s32(sums[r], w[6 + r], x, 3);
  }
}

// TileKernel::Multiply for tiles with `sub` values to a scale.
template <size_t T, size_t sub>
TileSums<NeonDot, T> MultiplyTile(const Tile<NeonDot>& tile, size_t row, const Activations& x, TileSums<NeonDot, T> y) {
  const size_t cols = tile.cols, blocks = cols / 32;
  const int8_t* codes = tile.codes + row * cols;
  const float* scales = tile.scales + row;
  for (size_t b = 0; b < blocks; ++b, codes += 256) {
    int8x16_t w[16];
    for (size_t i = 0; i < 16; ++i) w[i] = vld1q_s8(codes + 16 * i);
    for (size_t t = 0; t < T; ++t) {
      const int8_t* codes_x = x.codes + t * cols + b * 32;
      int32x4_t sums[2] = {};
      AddRows(w, vld1q_s8(codes_x), sums);
      if (sub == 16) {
        AddScaled(sums, scales, x.scales[t * blocks + b], y.of[t]);
        sums[0] = sums[1] = vdupq_n_s32(0);
      }
      AddRows(w + 8, vld1q_s8(codes_x + 16), sums);
      AddScaled(sums, scales + (32 / sub - 1) * 16, x.scales[t * blocks + b], y.of[t]);
    }
    scales += 16 * (32 / sub);
  }
  return y;
}

}  // namespace

template <>
struct TileKernel<NeonDot> {
  static constexpr size_t kRows = 8, kDepth = 4;
  static constexpr int kQb4Factor = 16;
  static void StoreRows(int8_t* out, const int8x16x4_t& rows) { StoreWords(out, Transpose(rows)); }
  static void StoreWords(int8_t* out, const int8x16x4_t& words) {
    for (size_t i = 0; i < 4; ++i) vst1q_s8(out + i * kRows * kDepth, words.val[i]);
  }
  template <size_t T>
  static auto Multiply(const Tile<NeonDot>& tile, size_t row, const Activations& x, const TileSums<NeonDot, T>& y) {
    return tile.sub == 16 ? MultiplyTile<T, 16>(tile, row, x, y) : MultiplyTile<T, 32>(tile, row, x, y);
  }
};

template struct Tile<NeonDot>;
template struct PackedKernels<NeonDot>;
template const BlockFormat<NeonDot>* FindBlockFormat<NeonDot>(Type type);
template void Matmul<NeonDot>(const Matrix&, size_t, size_t, const Activations&, float*, size_t, std::byte*);

}  // namespace thimble
