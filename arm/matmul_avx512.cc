// SPDX-License-Identifier: Apache-2.0
//
// Products for AVX-512 with VNNI. One vpdpbusd multiplies four values of sixteen rows; its weights are unsigned, so the
// accumulators start with what their zero point adds. Activations are broadcast by 32 bits. Packed tiles are multiplied
// as they lie: one or two instructions unpack 64 codes for all tokens of a group.
#include <utility>

#include "arm/gguf_blocks.h"
#include "arm/matmul_avx.h"
#include "arm/matmul_dispatch.h"
#include "arm/simd_avx512.h"
#include "quant/qb3.h"
#include "quant/qb4.h"

namespace thimble {

template <>
struct Slice<Avx512> {
  static constexpr size_t kRows = 16;

  static int32_t Zero(const Tile<Avx512>& tile) { return tile.magnitude; }

  /// to[count / 4][16][4] = the codes of 16 rows, `stride` apart, plus zero. count is a multiple of 16.
  static void SideBySide(const int8_t* from, size_t stride, size_t count, int32_t zero, int8_t* to) {
    const __m512i add = _mm512_set1_epi8(static_cast<char>(zero));
    for (size_t c = 0; c < count; c += 16, from += 16) {
      __m512i v[4];  // lane l of v[i]: 16 values of row i + 4 l
      for (size_t i = 0; i < 4; ++i) {
        const auto row = [&](size_t r) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + r * stride)); };
        v[i] = _mm512_inserti32x4(_mm512_castsi128_si512(row(i)), row(i + 4), 1);
        v[i] = _mm512_inserti32x4(v[i], row(i + 8), 2);
        v[i] = _mm512_add_epi8(_mm512_inserti32x4(v[i], row(i + 12), 3), add);
      }
      const __m512i low01 = _mm512_unpacklo_epi32(v[0], v[1]), low23 = _mm512_unpacklo_epi32(v[2], v[3]);
      const __m512i high01 = _mm512_unpackhi_epi32(v[0], v[1]), high23 = _mm512_unpackhi_epi32(v[2], v[3]);
      for (const __m512i out : {_mm512_unpacklo_epi64(low01, low23), _mm512_unpackhi_epi64(low01, low23),
                                _mm512_unpacklo_epi64(high01, high23), _mm512_unpackhi_epi64(high01, high23)}) {
        _mm512_store_si512(to, out);
        to += 64;
      }
    }
  }

  /// offsets[i] = -zero times the sum of codes 16 i to 16 i + 15. count is a multiple of 256.
  static void OffsetsOf16(const int8_t* codes, size_t count, int32_t zero, int32_t* offsets) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i factor = _mm512_set1_epi8(static_cast<char>(zero)), none = _mm512_setzero_si512();
    for (size_t i = 0; i < count; i += 256, offsets += 16) {
      __m512i parts[4];  // each lane of 128 bits: a sum in four parts
      for (size_t j = 0; j < 4; ++j) {
        parts[j] = _mm512_dpbusd_epi32(none, factor, _mm512_loadu_si512(codes + i + 64 * j));
      }
      const auto add = [](__m512i a, __m512i b) {
        return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
      };
      const __m512i low = add(parts[0], parts[1]), high = add(parts[2], parts[3]);
      const __m512i sums = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
      _mm512_store_si512(offsets, _mm512_sub_epi32(none, _mm512_permutexvar_epi32(order, sums)));
    }
  }
};

namespace {

constexpr size_t kRows = Slice<Avx512>::kRows;
constexpr size_t kBlock = Activations::kBlock;

__m512i Load(const std::byte* p) { return _mm512_loadu_si512(p); }

__m512i Broadcast32(const int8_t* p) {
  int32_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return _mm512_set1_epi32(bits);
}

__m512 Scales(const std::byte* p) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

// The low or the high halves of bytes of QB4 plus 8, from 0 to 15 or sixteen times as much: where they stand.
template <int kMask>
__m512i Halves(__m512i bytes) {
  return _mm512_ternarylogic_epi32(bytes, _mm512_set1_epi8(-0x78), _mm512_set1_epi8(static_cast<char>(kMask)),
                                   0x28);  // (bytes ^ 0x88) & mask
}

// Blocks of packed tiles: codes plus kZero, so none is negative, four values of 16 rows in each of eight units; and the
// scales of the rows.
struct Qb4Block {
  static constexpr size_t kFirst = Qb4::kSumBytes;  // before the blocks of a tile
  static constexpr size_t kBytes = Qb4::kBlockBytes;
  static constexpr int32_t kZero = 8;

  explicit Qb4Block(const std::byte* bytes) : p(bytes) {}
  __m512i Unit(size_t i) const {
    const __m512i bytes = Load(p + i / 2 * 64);
    return Halves<0x0f>(i % 2 == 0 ? bytes : _mm512_srli_epi16(bytes, 4));
  }
  __m512 scales() const { return _mm512_mul_ps(Scales(p + Qb4::kCodeBytes), _mm512_set1_ps(16.0f)); }

  const std::byte* p;
};

struct Qb3Block {
  static constexpr size_t kFirst = 0;
  static constexpr size_t kBytes = Qb3::kBlockBytes;
  static constexpr int32_t kZero = 4;

  explicit Qb3Block(const std::byte* bytes)
      : p(bytes), a(Load(p)), b(Load(p + Qb3::kUnitBytes)), c(Load(p + 2 * Qb3::kUnitBytes)) {}
  __m512i Unit(size_t i) const {
    if (i == 6) return Join(_mm512_srli_epi16(a, 5), _mm512_srli_epi16(b, 7));
    if (i == 7) return Join(_mm512_srli_epi16(c, 5), _mm512_srli_epi16(b, 6));
    const __m512i v = i < 2 ? a : i < 4 ? b : c;
    return Low(i % 2 == 0 ? v : _mm512_srli_epi16(v, 3));
  }
  __m512 scales() const { return Scales(p + Qb3::kCodeBytes); }

  static __m512i Low(__m512i v) { return _mm512_and_si512(v, _mm512_set1_epi8(7)); }
  // (top & 6) | (bit & 1)
  static __m512i Join(__m512i top, __m512i bit) {
    return Low(_mm512_ternarylogic_epi32(_mm512_set1_epi8(6), top, bit, 0xca));
  }

  const std::byte* p;
  __m512i a, b, c;
};

// One token times a tile of QB4, sixteen results. Products are kept sixteenfold, as the scales are divided by 16.
__m512 DotQb4(const std::byte* tile, const Activations& x) {
  __m512 sum = _mm512_setzero_ps();
  const std::byte* block = tile + Qb4::kSumBytes;
  for (size_t b = 0; b < x.cols / kBlock; ++b, block += Qb4::kBlockBytes) {
    PrefetchBlock<Avx512>(block, Qb4::kBlockBytes);
    const int8_t* codes = x.codes + b * kBlock;
    __m512i low = _mm512_setzero_si512(), high = _mm512_set1_epi32(-16 * 8 * x.sums[b]);
    for (size_t k = 0; k < kBlock; k += 8) {
      const __m512i bytes = Load(block + k * 8);
      low = _mm512_dpbusd_epi32(low, Halves<0x0f>(bytes), Broadcast32(codes + k));
      high = _mm512_dpbusd_epi32(high, Halves<0xf0>(bytes), Broadcast32(codes + k + 4));
    }
    const __m512 scale = _mm512_mul_ps(Scales(block + Qb4::kCodeBytes), _mm512_set1_ps(x.scales[b]));
    const __m512i dot = _mm512_add_epi32(_mm512_slli_epi32(low, 4), high);
    sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, sum);
  }
  return sum;
}

__m512 DotQb3(const std::byte* tile, const Activations& x) {
  __m512 sum = _mm512_setzero_ps();
  for (size_t b = 0; b < x.cols / kBlock; ++b, tile += Qb3::kBlockBytes) {
    PrefetchBlock<Avx512>(tile, Qb3::kBlockBytes);
    const int8_t* codes = x.codes + b * kBlock;
    const Qb3Block block(tile);
    __m512i even = _mm512_set1_epi32(-4 * x.sums[b]), odd = _mm512_setzero_si512();
    for (size_t i = 0; i < 8; i += 2) {
      even = _mm512_dpbusd_epi32(even, block.Unit(i), Broadcast32(codes + 4 * i));
      odd = _mm512_dpbusd_epi32(odd, block.Unit(i + 1), Broadcast32(codes + 4 * i + 4));
    }
    const __m512 scale = _mm512_mul_ps(block.scales(), _mm512_set1_ps(x.scales[b]));
    sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(even, odd)), scale, sum);
  }
  return sum;
}

// Some tokens times a packed tile as it lies. The accumulators of all tokens stay in registers.
template <size_t kTokens, class Block>
void MultiplyPacked(const std::byte* tile, const Activations& x, int32_t* offsets, __mmask16 rows, float* y,
                    size_t y_stride) {
  const size_t cols = x.cols, blocks = cols / kBlock;
  for (size_t i = 0; i < kTokens * blocks; ++i) offsets[i] = -Block::kZero * x.sums[i];
  const std::byte* p = tile + Block::kFirst;
  __m512 sum[kTokens];
#pragma GCC unroll 16
  for (size_t t = 0; t < kTokens; ++t) sum[t] = _mm512_setzero_ps();
  for (size_t b = 0; b < blocks; ++b, p += Block::kBytes) {
    PrefetchBlock<Avx512>(p, Block::kBytes);
    const Block block(p);
    const int8_t* codes = x.codes + b * kBlock;
    __m512i dot[kTokens];
#pragma GCC unroll 16
    for (size_t t = 0; t < kTokens; ++t) dot[t] = _mm512_set1_epi32(offsets[t * blocks + b]);
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; ++i) {
      const __m512i w = block.Unit(i);
#pragma GCC unroll 16
      for (size_t t = 0; t < kTokens; ++t) {
        dot[t] = _mm512_dpbusd_epi32(dot[t], w, Broadcast32(codes + 4 * i + t * cols));
      }
    }
    const __m512 scale = block.scales();
#pragma GCC unroll 16
    for (size_t t = 0; t < kTokens; ++t) {
      const __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[t]), scale);
      sum[t] = _mm512_fmadd_ps(value, _mm512_set1_ps(x.scales[t * blocks + b]), sum[t]);
    }
  }
#pragma GCC unroll 16
  for (size_t t = 0; t < kTokens; ++t) _mm512_mask_storeu_ps(y + t * y_stride, rows, sum[t]);
}

using PackedFunction = void (*)(const std::byte* tile, const Activations& x, int32_t* offsets, __mmask16 rows, float* y,
                                size_t y_stride);

constexpr size_t kMostTokens = 12;

// MultiplyPacked of 1 to kMostTokens tokens.
template <class Block, size_t... kLess>
PackedFunction FunctionFor(size_t tokens, std::index_sequence<kLess...>) {
  static constexpr PackedFunction kFunctions[] = {MultiplyPacked<kLess + 1, Block>...};
  return kFunctions[tokens - 1];
}

// Some tokens times a tile whose scales are shared by kSub values. The accumulators of all tokens stay in registers.
template <size_t kTokens, size_t kSub, bool kMins>
void MultiplyTokens(const Tile<Avx512>& tile, const Activations& x, __mmask16 rows, float* y, size_t y_stride) {
  const size_t cols = tile.cols, blocks = cols / kBlock, subs = cols / kSub;
  __m512 sum[kTokens];
#pragma GCC unroll 16
  for (size_t t = 0; t < kTokens; ++t) sum[t] = _mm512_setzero_ps();
  const int8_t* weights = tile.codes;
  for (size_t s = 0; s < subs; ++s) {
    const size_t b = s * kSub / kBlock;
    const int8_t* codes = x.codes + s * kSub;
    const int32_t* offset = tile.offsets + s;
    __m512i dot[kTokens];
#pragma GCC unroll 16
    for (size_t t = 0; t < kTokens; ++t) dot[t] = kMins ? _mm512_setzero_si512() : _mm512_set1_epi32(offset[t * subs]);
#pragma GCC unroll 8
    for (size_t k = 0; k < kSub; k += 4, weights += 64) {
      const __m512i w = _mm512_load_si512(weights);
#pragma GCC unroll 16
      for (size_t t = 0; t < kTokens; ++t) dot[t] = _mm512_dpbusd_epi32(dot[t], w, Broadcast32(codes + k + t * cols));
    }
    const __m512 scale = _mm512_load_ps(tile.scales + s * kRows);
    const __m512 min = kMins ? _mm512_load_ps(tile.mins + s * kRows) : scale;
    const float* total = Totals(tile) + s;
#pragma GCC unroll 16
    for (size_t t = 0; t < kTokens; ++t) {
      const __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[t]), scale);
      sum[t] = _mm512_fmadd_ps(value, _mm512_set1_ps(x.scales[t * blocks + b]), sum[t]);
      if constexpr (kMins) sum[t] = _mm512_fnmadd_ps(min, _mm512_set1_ps(total[t * subs]), sum[t]);
    }
  }
#pragma GCC unroll 16
  for (size_t t = 0; t < kTokens; ++t) _mm512_mask_storeu_ps(y + t * y_stride, rows, sum[t]);
}

template <size_t kTokens>
void MultiplyGroup(const Tile<Avx512>& tile, const Activations& x, __mmask16 rows, float* y, size_t y_stride) {
  static_assert(kTokens <= kTokenGroup);
  FillOffsets(tile, x, kTokens);
  if (tile.sub == 16) {
    MultiplyTokens<kTokens, 16, false>(tile, x, rows, y, y_stride);
  } else if (tile.mins == nullptr) {
    MultiplyTokens<kTokens, 32, false>(tile, x, rows, y, y_stride);
  } else {
    MultiplyTokens<kTokens, 32, true>(tile, x, rows, y, y_stride);
  }
}

// Lanes below `count`, for masked stores.
__mmask16 FirstRows(size_t count) { return static_cast<__mmask16>((1u << count) - 1); }

}  // namespace

template <>
Tile<Avx512> Tile<Avx512>::Unpack(const Matrix& w, const BlockFormat<Avx512>* format, size_t begin, size_t end,
                                  std::byte* scratch) {
  const Tile tile = TileIn<Avx512>(scratch, w.cols, format->sub, format->magnitude, format->minimums);
  UnpackBlocks<Avx512>(w, *format, begin, end, tile);
  return tile;
}

template <>
void Tile<Avx512>::Multiply(const Activations& x, size_t rows, float* y, size_t y_stride) const {
  const __mmask16 mask = FirstRows(rows);
  for (size_t t = 0; t < x.tokens;) {
    const Activations rest = x.From(t);
    if (rest.tokens >= 12) {
      MultiplyGroup<12>(*this, rest, mask, y + t * y_stride, y_stride);
      t += 12;
    } else if (rest.tokens >= 4) {
      MultiplyGroup<4>(*this, rest, mask, y + t * y_stride, y_stride);
      t += 4;
    } else {
      MultiplyGroup<1>(*this, rest, mask, y + t * y_stride, y_stride);
      t += 1;
    }
  }
}

template <>
void PackedKernels<Avx512>::Dot(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y) {
  const bool qb4 = w.format->type == Type::kQB4;
  const size_t tile_bytes = w.tile_bytes();
  const std::byte* tile = w.tile(begin);
  for (size_t r = begin; r < end; r += kRows, tile += tile_bytes, y += kRows) {
    const __m512 results = qb4 ? DotQb4(tile, x) : DotQb3(tile, x);
    _mm512_mask_storeu_ps(y, FirstRows(end - r < kRows ? end - r : kRows), results);
  }
}

// As many tokens at a time as there are registers for, but in groups of one size.
template <>
void PackedKernels<Avx512>::Multiply(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y,
                                     size_t y_stride, std::byte* scratch) {
  constexpr std::make_index_sequence<kMostTokens> kLess;
  const bool qb4 = w.format->type == Type::kQB4;
  int32_t* offsets = reinterpret_cast<int32_t*>(scratch);
  for (size_t r = begin; r < end; r += kRows, y += kRows) {
    const __mmask16 rows = FirstRows(end - r < kRows ? end - r : kRows);
    size_t t = 0;
    for (size_t groups = (x.tokens + kMostTokens - 1) / kMostTokens; groups > 0; --groups) {
      const Activations rest = x.From(t);
      const size_t tokens = (rest.tokens + groups - 1) / groups;
      const PackedFunction multiply = qb4 ? FunctionFor<Qb4Block>(tokens, kLess) : FunctionFor<Qb3Block>(tokens, kLess);
      multiply(w.tile(r), rest, offsets, rows, y + t * y_stride, y_stride);
      t += tokens;
    }
  }
}

template const BlockFormat<Avx512>* FindBlockFormat<Avx512>(Type type);
template void Matmul<Avx512>(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                             std::byte* scratch);

}  // namespace thimble
