// SPDX-License-Identifier: Apache-2.0
//
// The packed formats: what was written to a tile comes back from it, and every code lies where the format's header says
// (the sentences of qb4.h and qb3.h a second time, byte by byte).
#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <vector>

#include "core/weights.h"
#include "quant/half.h"
#include "quant/qb3.h"
#include "quant/qb4.h"

namespace thimble {
namespace {

constexpr size_t kBlocks = 3;
constexpr size_t kCols = kBlocks * 32;

struct Rows {
  std::vector<int8_t> codes;
  std::vector<uint16_t> scales;

  Rows(size_t rows, int low, int high) : codes(rows * kCols), scales(rows * kBlocks) {
    std::mt19937 random(static_cast<unsigned>(rows));
    std::uniform_int_distribution<int> code(low, high);
    std::uniform_real_distribution<float> scale(-2.0f, 2.0f);
    for (int8_t& c : codes) c = static_cast<int8_t>(code(random));
    for (uint16_t& s : scales) s = BF16FromF32(scale(random));
  }

  std::vector<PackedRow> Views() const {
    std::vector<PackedRow> views;
    for (size_t r = 0; r * kCols < codes.size(); ++r) views.push_back({&codes[r * kCols], &scales[r * kBlocks]});
    return views;
  }
};

// One tile of `count` rows decodes to scale times code, and the rows that fill it up to zeros.
void CheckValues(const Format& format, const Rows& rows, size_t count, const std::vector<std::byte>& tile) {
  const Matrix matrix{&format, tile.data(), format.tile_rows, kCols};
  REQUIRE(matrix.bytes() == tile.size());
  std::vector<float> x(kCols);
  for (size_t r = 0; r < format.tile_rows; ++r) {
    matrix.DecodeRow(r, x.data());
    for (size_t k = 0; k < kCols; ++k) {
      CAPTURE(r);
      CAPTURE(k);
      const float scale = r < count ? F32FromBF16(rows.scales[r * kBlocks + k / 32]) : 0.0f;
      const float code = r < count ? static_cast<float>(rows.codes[r * kCols + k]) : 0.0f;
      REQUIRE(x[k] == scale * code);
    }
  }
}

uint32_t ByteAt(const std::vector<std::byte>& tile, size_t at) { return static_cast<uint32_t>(tile[at]); }

TEST_CASE("QB4: what is written is read, and lies where XNNPACK reads it") {
  const Format& format = FormatOf(Type::kQB4);
  for (const size_t count : {size_t{1}, size_t{5}, size_t{16}}) {
    const Rows rows(count, -8, 7);
    std::vector<std::byte> tile(kBlocks * format.block_bytes + format.tile_bytes, std::byte{0xff});
    const auto views = rows.Views();
    format.encode_tile(views.data(), count, kBlocks, tile.data());
    CheckValues(format, rows, count, tile);

    for (size_t r = 0; r < count; ++r) {
      double sum = 0.0;
      for (size_t k = 0; k < kCols; ++k) {
        const int code = rows.codes[r * kCols + k];
        sum -= static_cast<double>(F32FromBF16(rows.scales[r * kBlocks + k / 32])) * code;
        // Behind the sums, and the blocks before: groups of eight values, row by row four bytes; the second four values
        // are the high halves.
        const size_t byte = 64 + k / 32 * (256 + 32) + (k % 32 / 8 * 16 + r) * 4 + k % 4;
        const uint32_t nibble = k % 8 < 4 ? ByteAt(tile, byte) & 15 : ByteAt(tile, byte) >> 4;
        REQUIRE(nibble == (static_cast<uint32_t>(code) & 15));
      }
      float stored;
      std::memcpy(&stored, &tile[r * 4], 4);
      CHECK(static_cast<double>(stored) == doctest::Approx(sum).epsilon(1e-5));
    }
    for (size_t at = tile.size() - 64; at < tile.size(); ++at) CHECK(ByteAt(tile, at) == 0);  // bias
  }
}

TEST_CASE("QB3: what is written is read, and three vectors hold eight units") {
  const Format& format = FormatOf(Type::kQB3);
  for (const size_t count : {size_t{1}, size_t{5}, size_t{16}}) {
    const Rows rows(count, -4, 3);
    std::vector<std::byte> tile(kBlocks * format.block_bytes, std::byte{0xff});
    const auto views = rows.Views();
    format.encode_tile(views.data(), count, kBlocks, tile.data());
    CheckValues(format, rows, count, tile);

    for (size_t b = 0; b < kBlocks; ++b) {
      for (size_t i = 0; i < 4 * count; ++i) {
        const size_t at = b * (3 * 64 + 32) + i;
        const uint32_t va = ByteAt(tile, at), vb = ByteAt(tile, at + 64), vc = ByteAt(tile, at + 128);
        const uint32_t units[8] = {va & 7,
                                   va >> 3 & 7,
                                   vb & 7,
                                   vb >> 3 & 7,
                                   vc & 7,
                                   vc >> 3 & 7,
                                   (va & 0xc0) >> 5 | (vb & 0x80) >> 7,
                                   (vc & 0xc0) >> 5 | (vb & 0x40) >> 6};
        for (size_t u = 0; u < 8; ++u) {
          REQUIRE(static_cast<int>(units[u]) - 4 == rows.codes[i / 4 * kCols + b * 32 + 4 * u + i % 4]);
        }
      }
    }
  }
}

TEST_CASE("a matrix of tiles ends with a whole tile") {
  const Format& format = FormatOf(Type::kQB4);
  const size_t tile = 4 * format.block_bytes + format.tile_bytes;
  CHECK(MatrixBytes(format, 1, 4) == tile);
  CHECK(MatrixBytes(format, 16, 4) == tile);
  CHECK(MatrixBytes(format, 17, 4) == 2 * tile);
  CHECK(MatrixBytes(FormatOf(Type::kQ4_0), 17, 4) == 17 * 4 * 18);
}

}  // namespace
}  // namespace thimble
