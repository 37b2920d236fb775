// SPDX-License-Identifier: Apache-2.0
//
// Products of quantised weights and 8-bit activations: the parts that an instruction set brings. matmul_dispatch.h puts
// them together; matmul_<isa>.cc defines and instantiates them.
#pragma once

#include "arm/isa.h"
#include "core/kernels.h"

namespace thimble {

/// A row of weights in 8 bits: value i = scales[i / 16] * codes[i] - mins[i / 32].
struct Row8 {
  int8_t* codes;  // [cols]
  float* scales;  // [cols / 16]
  float* mins;    // [cols / 32], untouched when the format has none
};

/// How a GGUF format is read in 8 bits.
template <class Isa>
struct BlockFormat {
  Type type;
  bool minimums;      // it has mins
  uint8_t sub;        // values that share a scale: 16 or 32
  uint8_t magnitude;  // no code is larger

  /// Kernels::matmul of one token, rows [begin, end).
  void (*dot)(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, std::byte* scratch);

  void (*unpack)(const std::byte* row, size_t blocks, const Row8& out);
};

/// The GGUF formats that have their own code (gguf_blocks.h); null for others.
template <class Isa>
const BlockFormat<Isa>* FindBlockFormat(Type type);

/// kMatmulTileRows rows side by side in a worker's scratch. How the codes of the rows are interleaved is an instruction
/// set's own business: whatever its inner loop reads in order.
template <class Isa>
struct Tile {
  size_t cols;
  uint8_t sub;        // values that share a scale: 16 or 32
  uint8_t magnitude;  // no code is larger
  int8_t* codes;      // [cols][kMatmulTileRows], interleaved
  float* scales;      // [cols / sub][kMatmulTileRows]
  float* mins;        // [cols / 32][kMatmulTileRows], or null
  int32_t* offsets;   // where the instructions want corrections of tokens, [kMatmulTileRows][cols / sub]; else null

  /// Rows [begin, end) of a matrix with a BlockFormat, or of a packed one unless kMultipliesPacked; rows up to
  /// kMatmulTileRows become zero.
  static Tile Unpack(const Matrix& w, const BlockFormat<Isa>* format, size_t begin, size_t end, std::byte* scratch);

  /// y[t * y_stride + r] = row r times token t, for r < rows.
  void Multiply(const Activations& x, size_t rows, float* y, size_t y_stride) const;
};

/// Whether many tokens are multiplied with packed tiles as they lie: where unpacking a value costs next to nothing,
/// that spares the way through the scratch.
template <class Isa>
inline constexpr bool kMultipliesPacked = false;
template <>
inline constexpr bool kMultipliesPacked<Avx512> = true;

/// Rows of the packed formats.
template <class Isa>
struct PackedKernels {
  /// One token times rows.
  static void Dot(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y);

  /// Kernels::matmul of many tokens, if kMultipliesPacked.
  static void Multiply(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                       std::byte* scratch);
};

/// Kernels::matmul. Defined in matmul_dispatch.h and instantiated in matmul_<isa>.cc.
template <class Isa>
void Matmul(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
            std::byte* scratch);

}  // namespace thimble
