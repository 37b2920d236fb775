// SPDX-License-Identifier: Apache-2.0
//
// QB4, portable: one row out of a tile, and a tile out of rows. The layout is told in qb4.h.
#include "quant/qb4.h"

#include <cstring>

#include "quant/half.h"

namespace thimble {
namespace {

constexpr size_t kRows = Qb4::kRows;
constexpr size_t kBlock = Qb4::kBlock;

// The byte of a block that holds value k of a row, in its high half if k / 4 is odd.
constexpr size_t ByteOf(size_t row, size_t k) { return (k / 8 * kRows + row) * 4 + k % 4; }
constexpr size_t ShiftOf(size_t k) { return k / 4 % 2 * 4; }

int Signed(uint32_t nibble) { return static_cast<int>(nibble ^ 8) - 8; }

void DecodeRow(const std::byte* tile, size_t row, size_t count, float* x) {
  tile += Qb4::kSumBytes;
  for (size_t b = 0; b < count; ++b, tile += Qb4::kBlockBytes, x += kBlock) {
    uint16_t bits;
    std::memcpy(&bits, tile + Qb4::kCodeBytes + row * sizeof bits, sizeof bits);
    const float scale = F32FromBF16(bits) * 16.0f;
    for (size_t k = 0; k < kBlock; ++k) {
      const auto byte = static_cast<uint32_t>(tile[ByteOf(row, k)]);
      x[k] = scale * static_cast<float>(Signed(byte >> ShiftOf(k) & 15));
    }
  }
}

void EncodeTile(const PackedRow* rows, size_t rows_given, size_t count, std::byte* tile) {
  std::memset(tile, 0, count * Qb4::kBlockBytes + 2 * Qb4::kSumBytes);
  for (size_t r = 0; r < rows_given; ++r) {
    float sum = 0.0f;
    for (size_t b = 0; b < count; ++b) {
      std::byte* block = tile + Qb4::kSumBytes + b * Qb4::kBlockBytes;
      const int8_t* codes = rows[r].codes + b * kBlock;
      int32_t total = 0;
      for (size_t k = 0; k < kBlock; ++k) {
        total += codes[k];
        block[ByteOf(r, k)] |= static_cast<std::byte>((static_cast<uint32_t>(codes[k]) & 15) << ShiftOf(k));
      }
      const float scale = F32FromBF16(rows[r].scales[b]);
      sum -= scale * static_cast<float>(total);
      const uint16_t sixteenth = BF16FromF32(scale / 16.0f);
      std::memcpy(block + Qb4::kCodeBytes + r * sizeof sixteenth, &sixteenth, sizeof sixteenth);
    }
    std::memcpy(tile + r * sizeof sum, &sum, sizeof sum);
  }
}

}  // namespace

constinit const Format kFormatQB4 = {
    .type = Type::kQB4,
    .name = "QB4",
    .block_size = kBlock,
    .block_bytes = Qb4::kBlockBytes,
    .tile_rows = kRows,
    .tile_bytes = 2 * Qb4::kSumBytes,
    .decode = nullptr,
    .encode = nullptr,
    .decode_row = DecodeRow,
    .encode_tile = EncodeTile,
};

}  // namespace thimble
