// SPDX-License-Identifier: Apache-2.0
//
// Products for AVX2. vpmaddubsw multiplies unsigned weights and signed activations to pairs in 16 bits, which are added
// up there as long as they cannot overflow: with weights up to 16, a whole block of 32. Formats whose codes need all
// eight bits give their signs to the activations instead.
#include "arm/gguf_blocks.h"
#include "arm/matmul_avx.h"
#include "arm/matmul_dispatch.h"
#include "arm/simd_avx2.h"
#include "quant/qb3.h"
#include "quant/qb4.h"

namespace thimble {

template <>
struct Slice<Avx2> {
  static constexpr size_t kRows = 8;
  static constexpr int kMaxUnsigned = 32;  // the largest magnitude of codes that are kept unsigned

  static int32_t Zero(const Tile<Avx2>& tile) { return tile.magnitude <= kMaxUnsigned ? tile.magnitude : 0; }

  /// to[count / 4][8][4] = the codes of 8 rows, `stride` apart, plus zero. count is a multiple of 16.
  static void SideBySide(const int8_t* from, size_t stride, size_t count, int32_t zero, int8_t* to) {
    const __m256i add = _mm256_set1_epi8(static_cast<char>(zero));
    for (size_t c = 0; c < count; c += 16, from += 16) {
      __m256i v[4];  // 16 values of rows i and i + 4
      for (size_t i = 0; i < 4; ++i) {
        const auto row = [&](size_t r) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + r * stride)); };
        v[i] = _mm256_add_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(row(i)), row(i + 4), 1), add);
      }
      const __m256i low01 = _mm256_unpacklo_epi32(v[0], v[1]), low23 = _mm256_unpacklo_epi32(v[2], v[3]);
      const __m256i high01 = _mm256_unpackhi_epi32(v[0], v[1]), high23 = _mm256_unpackhi_epi32(v[2], v[3]);
      for (const __m256i out : {_mm256_unpacklo_epi64(low01, low23), _mm256_unpackhi_epi64(low01, low23),
                                _mm256_unpacklo_epi64(high01, high23), _mm256_unpackhi_epi64(high01, high23)}) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(to), out);
        to += 32;
      }
    }
  }

  /// offsets[i] = -zero times the sum of codes 16 i to 16 i + 15. count is a multiple of 128.
  static void OffsetsOf16(const int8_t* codes, size_t count, int32_t zero, int32_t* offsets) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i factor = _mm256_set1_epi8(static_cast<char>(zero)), minus_one = _mm256_set1_epi16(-1);
    for (size_t i = 0; i < count; i += 128, offsets += 8) {
      __m256i parts[4];  // each lane of 128 bits: a sum in four parts
      for (size_t j = 0; j < 4; ++j) {
        const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i + 32 * j));
        parts[j] = _mm256_madd_epi16(_mm256_maddubs_epi16(factor, values), minus_one);
      }
      const auto add = [](__m256i a, __m256i b) {
        return _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
      };
      const __m256i low = add(parts[0], parts[1]), high = add(parts[2], parts[3]);
      const __m256i sums = _mm256_add_epi32(_mm256_unpacklo_epi64(low, high), _mm256_unpackhi_epi64(low, high));
      _mm256_store_si256(reinterpret_cast<__m256i*>(offsets), _mm256_permutevar8x32_epi32(sums, order));
    }
  }
};

namespace {

constexpr size_t kRows = Slice<Avx2>::kRows;
constexpr size_t kBlock = Activations::kBlock;
constexpr size_t kUnit = 64;  // bytes of a load for all 16 rows of a packed tile; a slice's are half of them

__m256i Load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
void Store(int8_t* p, __m256i v) { _mm256_store_si256(reinterpret_cast<__m256i*>(p), v); }

__m256i Broadcast32(const int8_t* p) {
  int32_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return _mm256_set1_epi32(bits);
}

__m256 Scales(const std::byte* p) {
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

__m256i AddPairs(__m256i pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }

// Codes of QB4 plus 8, from 0 to 15, in either half of a byte; then the halves.
__m256i Qb4Bytes(__m256i bytes) { return _mm256_xor_si256(bytes, _mm256_set1_epi8(-0x78)); }
__m256i LowCodes(__m256i bytes) { return _mm256_and_si256(bytes, _mm256_set1_epi8(15)); }
__m256i HighCodes(__m256i bytes) { return LowCodes(_mm256_srli_epi16(bytes, 4)); }

// A block of 8 rows of QB3, codes plus 4, from 0 to 7: four values each.
struct Units {
  __m256i u[8];
};

Units Qb3Units(const std::byte* p) {
  const __m256i a = Load(p), b = Load(p + kUnit), c = Load(p + 2 * kUnit);
  const __m256i seven = _mm256_set1_epi8(7), six = _mm256_set1_epi8(6), one = _mm256_set1_epi8(1);
  const auto low = [&](__m256i v) { return _mm256_and_si256(v, seven); };
  const auto join = [&](__m256i top, __m256i bit) {
    return _mm256_or_si256(_mm256_and_si256(top, six), _mm256_and_si256(bit, one));
  };
  return {{low(a), low(_mm256_srli_epi16(a, 3)), low(b), low(_mm256_srli_epi16(b, 3)), low(c),
           low(_mm256_srli_epi16(c, 3)), join(_mm256_srli_epi16(a, 5), _mm256_srli_epi16(b, 7)),
           join(_mm256_srli_epi16(c, 5), _mm256_srli_epi16(b, 6))}};
}

// One token times 8 rows of a tile, `half` being 0 or 1.
__m256 DotQb4(const std::byte* tile, size_t half, const Activations& x) {
  __m256 sum = _mm256_setzero_ps();
  const std::byte* block = tile + Qb4::kSumBytes;
  for (size_t b = 0; b < x.cols / kBlock; ++b, block += Qb4::kBlockBytes) {
    if (half == 0) PrefetchBlock<Avx2>(block, Qb4::kBlockBytes);
    const int8_t* codes = x.codes + b * kBlock;
    __m256i low = _mm256_setzero_si256(), high = low;  // in 16 bits
    for (size_t k = 0; k < kBlock; k += 8) {
      const __m256i bytes = Qb4Bytes(Load(block + k * 8 + half * kUnit / 2));
      low = _mm256_add_epi16(low, _mm256_maddubs_epi16(LowCodes(bytes), Broadcast32(codes + k)));
      high = _mm256_add_epi16(high, _mm256_maddubs_epi16(HighCodes(bytes), Broadcast32(codes + k + 4)));
    }
    const __m256i dot =
        _mm256_add_epi32(_mm256_add_epi32(AddPairs(low), AddPairs(high)), _mm256_set1_epi32(-8 * x.sums[b]));
    const __m256 scale = _mm256_mul_ps(Scales(block + Qb4::kCodeBytes + half * 16), _mm256_set1_ps(x.scales[b]));
    sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, sum);
  }
  return _mm256_mul_ps(sum, _mm256_set1_ps(16.0f));
}

__m256 DotQb3(const std::byte* block, size_t half, const Activations& x) {
  __m256 sum = _mm256_setzero_ps();
  for (size_t b = 0; b < x.cols / kBlock; ++b, block += Qb3::kBlockBytes) {
    if (half == 0) PrefetchBlock<Avx2>(block, Qb3::kBlockBytes);
    const int8_t* codes = x.codes + b * kBlock;
    const Units units = Qb3Units(block + half * kUnit / 2);
    __m256i even = _mm256_setzero_si256(), odd = even;
    for (size_t i = 0; i < 8; i += 2) {
      even = _mm256_add_epi16(even, _mm256_maddubs_epi16(units.u[i], Broadcast32(codes + 4 * i)));
      odd = _mm256_add_epi16(odd, _mm256_maddubs_epi16(units.u[i + 1], Broadcast32(codes + 4 * i + 4)));
    }
    const __m256i dot = _mm256_add_epi32(AddPairs(_mm256_add_epi16(even, odd)), _mm256_set1_epi32(-4 * x.sums[b]));
    const __m256 scale = _mm256_mul_ps(Scales(block + Qb3::kCodeBytes + half * 16), _mm256_set1_ps(x.scales[b]));
    sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, sum);
  }
  return sum;
}

// 8 rows of a tile into a slice.
void UnpackQb4(const std::byte* tile, size_t half, size_t blocks, int8_t* to, float* scales) {
  const std::byte* block = tile + Qb4::kSumBytes;
  for (size_t b = 0; b < blocks; ++b, block += Qb4::kBlockBytes) {
    for (size_t k = 0; k < kBlock; k += 8, to += 8 * kRows) {
      const __m256i bytes = Qb4Bytes(Load(block + k * 8 + half * kUnit / 2));
      Store(to, LowCodes(bytes));
      Store(to + 4 * kRows, HighCodes(bytes));
    }
    const __m256 scale = _mm256_mul_ps(Scales(block + Qb4::kCodeBytes + half * 16), _mm256_set1_ps(16.0f));
    _mm256_store_ps(scales + b * kRows, scale);
  }
}

void UnpackQb3(const std::byte* block, size_t half, size_t blocks, int8_t* to, float* scales) {
  for (size_t b = 0; b < blocks; ++b, block += Qb3::kBlockBytes) {
    const Units units = Qb3Units(block + half * kUnit / 2);
    for (size_t i = 0; i < 8; ++i, to += 4 * kRows) Store(to, units.u[i]);
    _mm256_store_ps(scales + b * kRows, Scales(block + Qb3::kCodeBytes + half * 16));
  }
}

// Products of kSub values of 8 rows and of a token. kSafe: how many pairs of products add up to less than 2^15; 0: the
// codes are signed.
template <size_t kSub, size_t kSafe>
__m256i Dot(const __m256i (&w)[kSub / 4], const int8_t* x) {
  __m256i dot = _mm256_setzero_si256();
  if constexpr (kSafe == 0) {
#pragma GCC unroll 8
    for (size_t k = 0; k < kSub / 4; ++k) {
      const __m256i product =
          _mm256_maddubs_epi16(_mm256_abs_epi8(w[k]), _mm256_sign_epi8(Broadcast32(x + 4 * k), w[k]));
      dot = _mm256_add_epi32(dot, AddPairs(product));
    }
  } else {
#pragma GCC unroll 8
    for (size_t k = 0; k < kSub / 4; k += kSafe) {
      __m256i pairs = _mm256_maddubs_epi16(w[k], Broadcast32(x + 4 * k));
#pragma GCC unroll 8
      for (size_t i = k + 1; i < k + kSafe; ++i) {
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(w[i], Broadcast32(x + 4 * i)));
      }
      dot = _mm256_add_epi32(dot, AddPairs(pairs));
    }
  }
  return dot;
}

// Up to kTokenGroup tokens times the slice that begins with `row`: y[t][8].
template <size_t kSub, size_t kSafe, bool kMins>
void MultiplySlice(const Tile<Avx2>& tile, size_t row, const Activations& x, size_t tokens, __m256* y) {
  const size_t cols = x.cols, blocks = cols / kBlock, subs = cols / kSub;
  const int8_t* codes = tile.codes + row * cols;
  const float* scales = tile.scales + row * subs;
  const float* mins = tile.mins + (kMins ? row * subs : 0);
  const int32_t* offsets = tile.offsets;
  const float* totals = Totals(tile);
  const int8_t* x_codes = x.codes;
  const float* x_scales = x.scales;
  for (size_t t = 0; t < tokens; ++t) y[t] = _mm256_setzero_ps();
  for (size_t s = 0; s < subs; ++s) {
    const size_t b = s * kSub / kBlock;
    __m256i w[kSub / 4];
#pragma GCC unroll 8
    for (size_t k = 0; k < kSub / 4; ++k) w[k] = Load(codes + (s * kSub + 4 * k) * kRows);
    const __m256 scale = _mm256_load_ps(scales + s * kRows);
    const __m256 min = kMins ? _mm256_load_ps(mins + s * kRows) : scale;
    for (size_t t = 0; t < tokens; ++t) {
      __m256i dot = Dot<kSub, kSafe>(w, x_codes + t * cols + s * kSub);
      if constexpr (!kMins && kSafe != 0) dot = _mm256_add_epi32(dot, _mm256_set1_epi32(offsets[t * subs + s]));
      const __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), scale);
      y[t] = _mm256_fmadd_ps(value, _mm256_set1_ps(x_scales[t * blocks + b]), y[t]);
      if constexpr (kMins) y[t] = _mm256_fnmadd_ps(min, _mm256_set1_ps(totals[t * subs + s]), y[t]);
    }
  }
}

using SliceFunction = void (*)(const Tile<Avx2>& tile, size_t row, const Activations& x, size_t tokens, __m256* y);

// kSafe * 2 * (2 * magnitude) * 127 has to be below 2^15. Codes that are kept signed come in blocks of 32 without mins
// only (Q8_0, IQ4), and no format with mins has a magnitude above 16.
SliceFunction FunctionFor(const Tile<Avx2>& tile) {
  if (tile.magnitude > Slice<Avx2>::kMaxUnsigned) return MultiplySlice<32, 0, false>;
  if (tile.sub == 16) return tile.magnitude <= 16 ? MultiplySlice<16, 4, false> : MultiplySlice<16, 2, false>;
  if (tile.mins != nullptr) return tile.magnitude <= 8 ? MultiplySlice<32, 8, true> : MultiplySlice<32, 4, true>;
  return tile.magnitude <= 8 ? MultiplySlice<32, 8, false> : MultiplySlice<32, 2, false>;
}

// Lanes below `count`, for masked stores.
__m256i FirstRows(size_t count) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count < kRows ? count : kRows)), lanes);
}

}  // namespace

template <>
Tile<Avx2> Tile<Avx2>::Unpack(const Matrix& w, const BlockFormat<Avx2>* format, size_t begin, size_t end,
                              std::byte* scratch) {
  if (format != nullptr) {
    const Tile tile = TileIn<Avx2>(scratch, w.cols, format->sub, format->magnitude, format->minimums);
    UnpackBlocks<Avx2>(w, *format, begin, end, tile);
    return tile;
  }
  const bool qb4 = w.format->type == Type::kQB4;
  const size_t blocks = w.cols / kBlock;
  const Tile tile = TileIn<Avx2>(scratch, w.cols, kBlock, qb4 ? 8 : 4, false);
  for (size_t r = begin; r < end; r += kRows) {
    const size_t slice = r - begin;
    (qb4 ? UnpackQb4 : UnpackQb3)(w.tile(begin), slice / kRows, blocks, tile.codes + slice * w.cols,
                                  tile.scales + slice * blocks);
  }
  return tile;
}

template <>
void Tile<Avx2>::Multiply(const Activations& x, size_t rows, float* y, size_t y_stride) const {
  const SliceFunction multiply = FunctionFor(*this);
  for (size_t t = 0; t < x.tokens; t += kTokenGroup) {
    const Activations rest = x.From(t);
    const size_t tokens = rest.tokens < kTokenGroup ? rest.tokens : kTokenGroup;
    FillOffsets(*this, rest, tokens);
    for (size_t r = 0; r < rows; r += kRows) {
      __m256 results[kTokenGroup];
      multiply(*this, r, rest, tokens, results);
      const __m256i mask = FirstRows(rows - r);
      for (size_t i = 0; i < tokens; ++i) _mm256_maskstore_ps(y + (t + i) * y_stride + r, mask, results[i]);
    }
  }
}

template <>
void PackedKernels<Avx2>::Dot(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y) {
  const auto dot = w.format->type == Type::kQB4 ? DotQb4 : DotQb3;
  for (size_t r = begin; r < end; r += kRows, y += kRows) {
    _mm256_maskstore_ps(y, FirstRows(end - r), dot(w.tile(r), r / kRows % 2, x));
  }
}

template const BlockFormat<Avx2>* FindBlockFormat<Avx2>(Type type);
template void Matmul<Avx2>(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                           std::byte* scratch);

}  // namespace thimble
