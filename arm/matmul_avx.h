// SPDX-License-Identifier: Apache-2.0
//
// What the two x86 instruction sets share in products of many tokens: where a tile lies in a worker's scratch, how GGUF
// rows come to stand side by side, and the corrections for codes that are kept unsigned, as the instructions want them.
// Included by matmul_avx2.cc and matmul_avx512.cc only, which define Slice.
//
// A slice is as many rows as a vector has lanes of 32 bits; a tile is one or two slices, codes after codes and scales
// after scales. The codes of a slice are [cols / 4][rows][4], with a zero point added that makes them unsigned; what
// that adds to a product goes into mins where there are some, else each accumulator starts with minus as much.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "arm/matmul.h"

namespace thimble {

/// Rows in a vector, what is added to the codes of a format, and what needs an instruction set's own vectors.
template <class Isa>
struct Slice;

/// Asks for a block that lies ahead: first into the second cache, from so far that it arrives there in time and beyond
/// the page where the processor's own prefetching ends; then into the first one, whose few open requests would not be
/// enough for the way from memory. Addresses behind the last tile do no harm: the next matrix often lies there.
template <class Isa>
[[gnu::always_inline]] inline void PrefetchBlock(const std::byte* block, size_t bytes) {
  constexpr size_t kNear = 2048, kFar = 8192, kLine = 64;
  for (size_t i = 0; i < bytes; i += kLine) {
    _mm_prefetch(reinterpret_cast<const char*>(block) + kFar + i, _MM_HINT_T1);
    _mm_prefetch(reinterpret_cast<const char*>(block) + kNear + i, _MM_HINT_T0);
  }
}

/// Tokens that are multiplied at a time, at most: Tile::offsets has room for the corrections of so many.
constexpr size_t kTokenGroup = kMatmulTileRows;

/// Columns of a GGUF row that are unpacked before they are put side by side: they stay in the first cache.
constexpr size_t kChunk = 256;

/// An empty tile in a worker's scratch, of which it takes 24 bytes a column at most.
template <class Isa>
Tile<Isa> TileIn(std::byte* scratch, size_t cols, uint8_t sub, uint8_t magnitude, bool minimums) {
  constexpr size_t kRows = kMatmulTileRows;
  std::byte* scales = scratch + cols * kRows;
  std::byte* offsets = scales + cols / sub * kRows * sizeof(float);
  std::byte* mins = offsets + cols / sub * kTokenGroup * sizeof(int32_t);
  return {.cols = cols,
          .sub = sub,
          .magnitude = magnitude,
          .codes = reinterpret_cast<int8_t*>(scratch),
          .scales = reinterpret_cast<float*>(scales),
          .mins = minimums ? reinterpret_cast<float*>(mins) : nullptr,
          .offsets = reinterpret_cast<int32_t*>(offsets)};
}

/// to[count][kRows] = from[kRows][stride], every `step`-th of them.
template <class Isa>
void Transpose(const float* from, size_t stride, size_t step, size_t count, float* to) {
  constexpr size_t kRows = Slice<Isa>::kRows;
  for (size_t i = 0; i < count; ++i) {
    for (size_t r = 0; r < kRows; ++r) to[i * kRows + r] = from[r * stride + i * step];
  }
}

/// Rows [begin, end) of a GGUF matrix into a tile.
template <class Isa>
void UnpackBlocks(const Matrix& w, const BlockFormat<Isa>& format, size_t begin, size_t end, const Tile<Isa>& tile) {
  constexpr size_t kRows = Slice<Isa>::kRows;
  alignas(64) int8_t codes[kRows][kChunk];
  alignas(64) float scales[kRows][kChunk / 16];
  alignas(64) float mins[kRows][kChunk / 32];
  if (end - begin < kMatmulTileRows) {
    std::memset(codes, 0, sizeof codes);
    std::memset(scales, 0, sizeof scales);
    std::memset(mins, 0, sizeof mins);
  }
  const size_t sub = tile.sub, block_size = w.format->block_size, block_bytes = w.format->block_bytes;
  for (size_t first = begin; first < end; first += kRows) {
    const size_t slice = first - begin;
    const size_t rows = end - first < kRows ? end - first : kRows;
    for (size_t c = 0; c < w.cols; c += kChunk) {
      const size_t count = w.cols - c < kChunk ? w.cols - c : kChunk;
      for (size_t r = 0; r < rows; ++r) {
        const std::byte* blocks = w.tile(first + r) + c / block_size * block_bytes;
        format.unpack(blocks, count / block_size, {codes[r], scales[r], mins[r]});
      }
      Slice<Isa>::SideBySide(codes[0], kChunk, count, Slice<Isa>::Zero(tile), tile.codes + slice * w.cols + c * kRows);
      Transpose<Isa>(scales[0], kChunk / 16, sub / 16, count / sub, tile.scales + (slice * w.cols + c * kRows) / sub);
      if (tile.mins != nullptr) {
        Transpose<Isa>(mins[0], kChunk / 32, 1, count / 32, tile.mins + (slice * w.cols + c * kRows) / 32);
      }
    }
  }
  if (tile.mins != nullptr) {
    // scale * (c - zero) - min = scale * c - (min + scale * zero)
    const float zero = static_cast<float>(Slice<Isa>::Zero(tile));
    const size_t rows = (end - begin + kRows - 1) / kRows * kRows;
    for (size_t i = 0; i < w.cols / 32 * rows; ++i) tile.mins[i] += tile.scales[i] * zero;
  }
}

/// What stands in tile.offsets when there are mins: floats to multiply them with.
template <class Isa>
float* Totals(const Tile<Isa>& tile) {
  return reinterpret_cast<float*>(tile.offsets);
}

/// The corrections of `tokens` tokens, [tokens][cols / sub] in tile.offsets: without mins, -zero times the sum of the
/// codes that share a scale of the weights; with mins, Totals: scale * sum.
template <class Isa>
void FillOffsets(const Tile<Isa>& tile, const Activations& x, size_t tokens) {
  const size_t count = tokens * x.cols / Activations::kBlock;
  const int32_t zero = Slice<Isa>::Zero(tile);
  if (tile.sub == 16) {
    Slice<Isa>::OffsetsOf16(x.codes, tokens * x.cols, zero, tile.offsets);
  } else if (tile.mins == nullptr) {
    for (size_t i = 0; i < count; ++i) tile.offsets[i] = -zero * x.sums[i];
  } else {
    float* totals = Totals(tile);
    for (size_t i = 0; i < count; ++i) totals[i] = x.scales[i] * static_cast<float>(x.sums[i]);
  }
}

}  // namespace thimble
