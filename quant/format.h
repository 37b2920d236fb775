// SPDX-License-Identifier: Apache-2.0
//
// What a format is: the layout of the rows of a matrix (or of the key/value cache), and how to read it.
// A row is a whole number of blocks; in a packed format some rows share a tile. Every format has a pair of files,
// <name>.h/.cc, and a line in all_formats.cc.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace thimble {

static_assert(std::endian::native == std::endian::little,
              "blocks are read where they are mapped: little-endian machines only");

/// The tensor types that have a Format, with the numbers of ggml (enum ggml_type), as they stand in a GGUF file; then
/// our own, which stand in packs and in caches only.
enum class Type : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kBF16 = 30,

  kQB4 = 1000,  // qb4.h
  kQB3 = 1001,  // qb3.h
  kNL3 = 1002,  // nl3.h
};

/// A row as a packer has it: codes and the scale of every block, a bfloat16. x = scale * code.
struct PackedRow {
  const int8_t* codes;     // [blocks][block_size]
  const uint16_t* scales;  // [blocks], bits of a bfloat16
};

/// One format. The functions never fail and never allocate; blocks need only the alignment of their scale (2 bytes;
/// F32 and packed formats: 4).
struct Format {
  Type type;
  const char* name;         // as ggml writes it, "Q4_K"
  uint32_t block_size;      // elements of a row in a block
  uint32_t block_bytes;     // bytes of a block; of all its rows in a packed format
  uint32_t tile_rows = 1;   // more than 1: a packed format, the rows of a tile lie interleaved
  uint32_t tile_bytes = 0;  // packed: bytes of a tile besides its blocks

  /// x[count * block_size] = the values of `count` blocks, bit for bit those of ggml's dequantize_row_*. (A block whose
  /// scale is infinite or NaN gives infinity and NaN where ggml does; sign and payload of such a NaN are the
  /// machine's.)
  void (*decode)(const std::byte* blocks, size_t count, float* x);

  /// The blocks of x[count * block_size], rounded to nearest even. Null where nothing writes this format yet.
  void (*encode)(const float* x, size_t count, std::byte* blocks);

  /// Packed formats have this one instead of the two above: x[count * block_size] = row `row` of a tile whose rows
  /// have `count` blocks.
  void (*decode_row)(const std::byte* tile, size_t row, size_t count, float* x) = nullptr;

  /// And this one: writes a tile from rows[0 .. rows_given), each of `count` blocks, with codes that the format has;
  /// the other rows of the tile become zero.
  void (*encode_tile)(const PackedRow* rows, size_t rows_given, size_t count, std::byte* tile) = nullptr;

  bool packed() const { return tile_rows > 1; }
};

/// Bytes of a matrix of `rows` rows of `blocks` blocks; the last tile of a packed one is filled up.
constexpr uint64_t MatrixBytes(const Format& format, uint64_t rows, uint64_t blocks) {
  return (rows + format.tile_rows - 1) / format.tile_rows * (blocks * format.block_bytes + format.tile_bytes);
}

/// The formats that this program reads, in the order of their numbers: all of them (all_formats.cc), unless the program
/// defines this function itself. Then only the formats that it returns are linked, and a file with another one is
/// refused when it is opened.
std::span<const Format* const> Formats();

/// The format of a GGUF tensor type, or null when there is none (TypeName still knows its name).
const Format* FindFormat(uint32_t ggml_type);
inline const Format& FormatOf(Type type) { return *FindFormat(static_cast<uint32_t>(type)); }

/// The name of a tensor type, also of ggml's without a Format ("IQ2_XXS", "MXFP4"); "unknown" for other numbers.
const char* TypeName(uint32_t ggml_type);

}  // namespace thimble
