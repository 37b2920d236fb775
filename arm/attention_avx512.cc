// SPDX-License-Identifier: Apache-2.0
//
// Coded rows of the cache for AVX-512 with VNNI. Scores are those of 16 rows at a time, with a row to a 32-bit lane, so
// that nothing is added up across a register; values go from their codes into sums that stay in registers.
#include <immintrin.h>

#include "arm/coded_rows.h"
#include "quant/iq4_nl.h"
#include "quant/nl3.h"
#include "quant/q8_0.h"

namespace thimble {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kValues = 32;  // of a block of every format here
constexpr size_t kWords = kValues / 4;
constexpr size_t kLine = 64;  // bytes of the processor's cache

template <class Value>
Value Read(const void* from) {
  Value value;
  __builtin_memcpy(&value, from, sizeof(value));
  return value;
}

// Rows of a head lie a few lines apart, with those of other heads between them, and come from far: some bytes of the
// row that is a tile ahead are asked for, with every line that they touch. Row by row is fastest.
[[gnu::always_inline]] inline void PrefetchAfter(const std::byte* row, size_t stride, size_t bytes) {
  const std::byte* ahead = row + kAttentionTile * stride;
  for (size_t at = 0; at < bytes; at += kLine) _mm_prefetch(ahead + at, _MM_HINT_T0);
  _mm_prefetch(ahead + bytes - 1, _MM_HINT_T0);
}

// The same for rows of which each is met `times` times: evenly, one row in so many steps.
struct StepsAhead {
  const std::byte* row;
  size_t stride, bytes, times;
  size_t left = 1;

  void Step() {
    if (--left > 0) return;
    PrefetchAfter(row, stride, bytes);
    row += stride;
    left = times;
  }
};

// Up to 16 rows, of which the first stands in for those that are not there.
struct LaneRows {
  explicit LaneRows(const RowBlock& block) : first(block.first) {
    const size_t count = block.count < kLanes ? block.count : kLanes;
    there = static_cast<__mmask16>((1u << count) - 1);
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    offsets = _mm512_maskz_mullo_epi32(there, lanes, _mm512_set1_epi32(static_cast<int>(block.stride)));
    for (size_t i = 0; i < kLanes; ++i) rows[i] = first + (i < count ? i : 0) * block.stride;
  }

  // The F16 scales at an offset.
  __m512 Scales(size_t at) const {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_i32gather_epi32(offsets, first + at, 1)));
  }

  // words[i] = bytes 4i .. 4i + 3 at an offset.
  void Words(size_t at, __m512i* words) const {
    const auto load = [&](size_t row) { return _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(rows[row] + at)); };
    __m512i quads[4];  // of rows i, 4 + i, 8 + i, 12 + i
    for (size_t i = 0; i < 4; ++i) {
      quads[i] = _mm512_inserti32x4(_mm512_castsi128_si512(load(i)), load(4 + i), 1);
      quads[i] = _mm512_inserti32x4(_mm512_inserti32x4(quads[i], load(8 + i), 2), load(12 + i), 3);
    }
    const __m512i low[2] = {_mm512_unpacklo_epi32(quads[0], quads[1]), _mm512_unpacklo_epi32(quads[2], quads[3])};
    const __m512i high[2] = {_mm512_unpackhi_epi32(quads[0], quads[1]), _mm512_unpackhi_epi32(quads[2], quads[3])};
    words[0] = _mm512_unpacklo_epi64(low[0], low[1]);
    words[1] = _mm512_unpackhi_epi64(low[0], low[1]);
    words[2] = _mm512_unpacklo_epi64(high[0], high[1]);
    words[3] = _mm512_unpackhi_epi64(high[0], high[1]);
  }

  const std::byte* first;
  const std::byte* rows[kLanes];
  __m512i offsets;
  __mmask16 there;
};

__m512 ScaleOf(const std::byte* block) { return _mm512_cvtph_ps(_mm256_set1_epi16(Read<int16_t>(block))); }

// Sixteen levels fill a register: times a block's scale, they are what its codes choose from.
__m512 Levels(const int8_t (&levels)[16]) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(levels))));
}

// What a format has: Raised, the codes of a block of 16 rows, 4i .. 4i + 3 in word i, raised by 128 to have no sign;
// Floats, the values of a block of one row, of which the scale is at hand.
struct RowsQ80 {
  using Block = BlockQ8_0;
  static constexpr bool kFine = true;
  static void Raised(const LaneRows& rows, size_t at, __m512i (&words)[kWords]) {
    rows.Words(at + offsetof(Block, qs), words);
    rows.Words(at + offsetof(Block, qs) + 16, words + 4);
    for (__m512i& word : words) word = _mm512_xor_si512(word, _mm512_set1_epi8(-128));
  }
  static void Floats(const std::byte* block, __m512 scale, __m512* to) {
    const std::byte* codes = block + offsetof(Block, qs);
    for (size_t i = 0; i < 2; ++i) {
      const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(codes + i * 16));
      to[i] = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(half)), scale);
    }
  }
};
struct RowsIq4Nl {
  using Block = BlockIQ4_NL;
  static constexpr bool kFine = false;
  static void Raised(const LaneRows& rows, size_t at, __m512i (&words)[kWords]) {
    const __m512i levels = _mm512_broadcast_i32x4(_mm_xor_si128(Read<__m128i>(kLevelsIQ4), _mm_set1_epi8(-128)));
    const __m512i nibble = _mm512_set1_epi8(15);
    rows.Words(at + offsetof(Block, qs), words);
    for (size_t i = 0; i < 4; ++i) {
      words[4 + i] = _mm512_shuffle_epi8(levels, _mm512_and_si512(_mm512_srli_epi16(words[i], 4), nibble));
      words[i] = _mm512_shuffle_epi8(levels, _mm512_and_si512(words[i], nibble));
    }
  }
  static void Floats(const std::byte* block, __m512 scale, __m512* to) {
    const __m512 scaled = _mm512_mul_ps(Levels(kLevelsIQ4), scale);
    const __m512i nibbles = _mm512_cvtepu8_epi32(Read<__m128i>(block + offsetof(Block, qs)));
    to[0] = _mm512_permutexvar_ps(nibbles, scaled);  // by the lower four bits
    to[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(nibbles, 4), scaled);
  }
};
struct RowsNL3 {
  using Block = BlockNL3;
  static constexpr int8_t kLevels[16] = {kLevelsNL3[0], kLevelsNL3[1], kLevelsNL3[2], kLevelsNL3[3],
                                         kLevelsNL3[4], kLevelsNL3[5], kLevelsNL3[6], kLevelsNL3[7]};
  static void Floats(const std::byte* block, __m512 scale, __m512* to) {
    const __m512 scaled = _mm512_mul_ps(Levels(kLevels), scale);
    const __m256i lows = _mm256_set1_epi64x(Read<int64_t>(block + offsetof(Block, ql)));
    const __m256i highs = _mm256_set1_epi32(Read<int32_t>(block + offsetof(Block, qh)));
    const __m256i third = _mm256_srlv_epi32(highs, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    const __m256i two = _mm256_srlv_epi64(lows, _mm256_setr_epi64x(0, 2, 4, 6));
    const __m256i indices = _mm256_or_si256(_mm256_and_si256(two, _mm256_set1_epi8(3)),
                                            _mm256_slli_epi16(_mm256_and_si256(third, _mm256_set1_epi8(1)), 2));
    to[0] = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(_mm256_castsi256_si128(indices)), scaled);
    to[1] = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(_mm256_extracti128_si256(indices, 1)), scaled);
  }
};

// The products of 128 with the codes of a block of a query, which codes raised by 128 bring in; in the fine sense if
// the format is.
template <class F>
int32_t RaisedBy(const int8_t* codes, const int8_t* low) {
  const __m256i raise = _mm256_set1_epi8(-128);
  __m256i eight = _mm256_dpbusd_epi32(_mm256_setzero_si256(), raise, Read<__m256i>(codes));
  if constexpr (F::kFine) eight = _mm256_dpbusd_epi32(_mm256_slli_epi32(eight, 7), raise, Read<__m256i>(low));
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

// Query by query beside each other: one waits for its last products.
template <size_t kColumns>
void AddProducts(const __m512i (&words)[kWords], const int8_t* queries, size_t stride, __m512i (&sums)[kColumns]) {
  for (size_t i = 0; i < kWords; ++i) {
    for (size_t c = 0; c < kColumns; ++c) {
      sums[c] = _mm512_dpbusd_epi32(sums[c], words[i], _mm512_set1_epi32(Read<int32_t>(queries + c * stride + 4 * i)));
    }
  }
}

// Some blocks of all rows times kColumns queries; sums begin with what stands in `scores`, or at 0 with block 0.
template <class F, size_t kColumns>
void ScoreBlocks(const RowBlock& block, const CodedQueries& queries, size_t column, size_t begin, size_t count,
                 float* scores) {
  constexpr size_t kMost = 8, kBytes = sizeof(typename F::Block);
  const size_t blocks = queries.d / kValues;
  const int8_t* codes = queries.codes + column * queries.d + begin * kValues;
  const int8_t* low = queries.low + column * queries.d + begin * kValues;
  const float* scales = queries.scales + column * blocks + begin;
  const size_t ahead = (kLanes + count - 1) / count;  // rows asked for with a block
  int32_t starts[kColumns][kMost];
  for (size_t c = 0; c < kColumns; ++c) {
    for (size_t b = 0; b < count; ++b) {
      starts[c][b] = -RaisedBy<F>(codes + c * queries.d + b * kValues, low + c * queries.d + b * kValues);
    }
  }
  for (size_t r = 0; r < block.count; r += kLanes) {
    const LaneRows rows({block.first + r * block.stride, block.stride, block.count - r});
    float* to = scores + column * kAttentionTile + r;
    __m512 sums[kColumns];
    for (size_t c = 0; c < kColumns; ++c) {
      sums[c] = _mm512_maskz_loadu_ps(begin == 0 ? __mmask16{0} : rows.there, to + c * kAttentionTile);
    }
    for (size_t b = 0; b < count; ++b) {
      const size_t at = (begin + b) * kBytes;
      for (size_t i = b * ahead; i < (b + 1) * ahead; ++i) {
        PrefetchAfter(block.first + (r + i) * block.stride + begin * kBytes, block.stride, count * kBytes);
      }
      const __m512 row_scales = rows.Scales(at + offsetof(typename F::Block, d));
      __m512i words[kWords];
      F::Raised(rows, at, words);
      __m512i products[kColumns] = {};
      if constexpr (F::kFine) {
        AddProducts(words, codes + b * kValues, queries.d, products);
        for (__m512i& sum : products) sum = _mm512_slli_epi32(sum, 7);
      }
      for (size_t c = 0; c < kColumns; ++c) {
        products[c] = _mm512_add_epi32(products[c], _mm512_set1_epi32(starts[c][b]));
      }
      AddProducts(words, (F::kFine ? low : codes) + b * kValues, queries.d, products);
      for (size_t c = 0; c < kColumns; ++c) {
        const __m512 both = _mm512_mul_ps(row_scales, _mm512_set1_ps(scales[c * blocks + b]));
        sums[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[c]), both, sums[c]);
      }
    }
    for (size_t c = 0; c < kColumns; ++c) _mm512_mask_storeu_ps(to + c * kAttentionTile, rows.there, sums[c]);
  }
}

// CodedFormat::score.
template <class F>
void ScoreRows(const RowBlock& block, const CodedQueries& queries, float* scores) {
  constexpr size_t kMost = 8, kColumns = 4;
  const size_t blocks = queries.d / kValues;
  for (size_t begin = 0; begin < blocks; begin += kMost) {
    const size_t count = blocks - begin < kMost ? blocks - begin : kMost;
    size_t c = 0;
    for (; c + kColumns <= queries.count; c += kColumns) {
      ScoreBlocks<F, kColumns>(block, queries, c, begin, count, scores);
    }
    for (; c < queries.count; ++c) ScoreBlocks<F, 1>(block, queries, c, begin, count, scores);
  }
}

// CodedFormat::decode.
template <class F>
void DecodeRows(const RowBlock& block, size_t d, float* to) {
  for (size_t r = 0; r < block.count; ++r) {
    const std::byte* at = block.first + r * block.stride;
    PrefetchAfter(at, block.stride, d / kValues * sizeof(typename F::Block));
    for (size_t i = 0; i < d; i += kValues, to += kValues, at += sizeof(typename F::Block)) {
      __m512 x[2];
      F::Floats(at, ScaleOf(at + offsetof(typename F::Block, d)), x);
      _mm512_storeu_ps(to, x[0]);
      _mm512_storeu_ps(to + kLanes, x[1]);
    }
  }
}

// kBlocks blocks of the rows, which begin at `at` in these, times the weights of kColumns outputs.
template <class F, size_t kBlocks, size_t kColumns>
void AddBlocks(const RowBlock& block, size_t at, const float* weights, float* out, size_t out_stride,
               StepsAhead& ahead) {
  constexpr size_t kBytes = sizeof(typename F::Block);
  float scales[kBlocks][kAttentionTile];
  for (size_t r = 0; r < block.count; r += kLanes) {
    const LaneRows rows({block.first + r * block.stride, block.stride, block.count - r});
    for (size_t b = 0; b < kBlocks; ++b) {
      _mm512_storeu_ps(scales[b] + r, rows.Scales(at + b * kBytes + offsetof(typename F::Block, d)));
    }
  }
  __m512 sums[kColumns][2 * kBlocks];
  for (size_t c = 0; c < kColumns; ++c) {
    for (size_t v = 0; v < 2 * kBlocks; ++v) sums[c][v] = _mm512_loadu_ps(out + c * out_stride + v * kLanes);
  }
  const std::byte* row = block.first + at;
  for (size_t r = 0; r < block.count; ++r, row += block.stride) {
    ahead.Step();
    __m512 x[2 * kBlocks];
    for (size_t b = 0; b < kBlocks; ++b) F::Floats(row + b * kBytes, _mm512_set1_ps(scales[b][r]), x + 2 * b);
    for (size_t c = 0; c < kColumns; ++c) {
      const __m512 weight = _mm512_set1_ps(weights[c * kAttentionTile + r]);
      for (size_t v = 0; v < 2 * kBlocks; ++v) sums[c][v] = _mm512_fmadd_ps(x[v], weight, sums[c][v]);
    }
  }
  for (size_t c = 0; c < kColumns; ++c) {
    for (size_t v = 0; v < 2 * kBlocks; ++v) _mm512_storeu_ps(out + c * out_stride + v * kLanes, sums[c][v]);
  }
}

template <class F, size_t kColumns>
void AddColumns(const RowBlock& block, size_t d, const float* weights, float* out, size_t out_stride) {
  constexpr size_t kBlocks = 2;
  StepsAhead ahead{block.first, block.stride, d / kValues * sizeof(typename F::Block),
                   (d / kValues + kBlocks - 1) / kBlocks};
  size_t i = 0, at = 0;
  for (; i + kBlocks * kValues <= d; i += kBlocks * kValues, at += kBlocks * sizeof(typename F::Block)) {
    AddBlocks<F, kBlocks, kColumns>(block, at, weights, out + i, out_stride, ahead);
  }
  if (i < d) AddBlocks<F, 1, kColumns>(block, at, weights, out + i, out_stride, ahead);
}

// CodedFormat::add.
template <class F>
void AddRows(const RowBlock& block, size_t d, const float* weights, size_t columns, float* out, size_t out_stride) {
  constexpr size_t kColumns = 4;
  size_t c = 0;
  for (; c + kColumns <= columns; c += kColumns) {
    AddColumns<F, kColumns>(block, d, weights + c * kAttentionTile, out + c * out_stride, out_stride);
  }
  for (; c < columns; ++c) AddColumns<F, 1>(block, d, weights + c * kAttentionTile, out + c * out_stride, out_stride);
}

}  // namespace

template <>
const CodedFormat* FindCodedFormat<Avx512>(Type type) {
  static constexpr CodedFormat kFormats[] = {
      {Type::kQ8_0, true, ScoreRows<RowsQ80>, DecodeRows<RowsQ80>, AddRows<RowsQ80>},
      {Type::kIQ4_NL, false, ScoreRows<RowsIq4Nl>, DecodeRows<RowsIq4Nl>, AddRows<RowsIq4Nl>},
      {Type::kNL3, false, nullptr, DecodeRows<RowsNL3>, AddRows<RowsNL3>},  // never keys
  };
  for (const CodedFormat& format : kFormats) {
    if (format.type == type) return &format;
  }
  return nullptr;
}

}  // namespace thimble
