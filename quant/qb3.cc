// SPDX-License-Identifier: Apache-2.0
//
// QB3, portable: one row out of a tile, and a tile out of rows. The layout is told in qb3.h.
#include "quant/qb3.h"

#include <cstring>

#include "quant/half.h"

namespace thimble {
namespace {

constexpr size_t kBlock = Qb3::kBlock;

void DecodeRow(const std::byte* tile, size_t row, size_t count, float* x) {
  for (size_t b = 0; b < count; ++b, tile += Qb3::kBlockBytes, x += kBlock) {
    uint16_t bits;
    std::memcpy(&bits, tile + Qb3::kCodeBytes + row * sizeof bits, sizeof bits);
    const float scale = F32FromBF16(bits);
    for (size_t i = 0; i < 4; ++i) {  // of the values of a unit
      uint32_t v[3];
      for (size_t j = 0; j < 3; ++j) v[j] = static_cast<uint32_t>(tile[j * Qb3::kUnitBytes + row * 4 + i]);
      const uint32_t units[8] = {v[0] & 7,
                                 v[0] >> 3 & 7,
                                 v[1] & 7,
                                 v[1] >> 3 & 7,
                                 v[2] & 7,
                                 v[2] >> 3 & 7,
                                 v[0] >> 6 << 1 | v[1] >> 7,
                                 v[2] >> 6 << 1 | (v[1] >> 6 & 1)};
      for (size_t u = 0; u < 8; ++u) x[4 * u + i] = scale * static_cast<float>(static_cast<int>(units[u]) - 4);
    }
  }
}

void EncodeTile(const PackedRow* rows, size_t rows_given, size_t count, std::byte* tile) {
  std::memset(tile, 0, count * Qb3::kBlockBytes);
  for (size_t r = 0; r < rows_given; ++r) {
    for (size_t b = 0; b < count; ++b) {
      std::byte* block = tile + b * Qb3::kBlockBytes;
      for (size_t i = 0; i < 4; ++i) {
        const auto u = [&](size_t unit) { return static_cast<uint32_t>(rows[r].codes[b * kBlock + 4 * unit + i] + 4); };
        const uint32_t v[3] = {u(0) | u(1) << 3 | u(6) >> 1 << 6, u(2) | u(3) << 3 | (u(7) & 1) << 6 | (u(6) & 1) << 7,
                               u(4) | u(5) << 3 | u(7) >> 1 << 6};
        for (size_t j = 0; j < 3; ++j) block[j * Qb3::kUnitBytes + r * 4 + i] = static_cast<std::byte>(v[j]);
      }
      std::memcpy(block + Qb3::kCodeBytes + r * sizeof(uint16_t), &rows[r].scales[b], sizeof(uint16_t));
    }
  }
}

}  // namespace

constinit const Format kFormatQB3 = {
    .type = Type::kQB3,
    .name = "QB3",
    .block_size = kBlock,
    .block_bytes = Qb3::kBlockBytes,
    .tile_rows = Qb3::kRows,
    .tile_bytes = 0,
    .decode = nullptr,
    .encode = nullptr,
    .decode_row = DecodeRow,
    .encode_tile = EncodeTile,
};

}  // namespace thimble
