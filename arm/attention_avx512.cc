// SPDX-License-Identifier: Apache-2.0
//
// Coded rows of the cache for AVX-512 with VNNI: a register holds 32 codes of each of two rows.
#include "arm/score_rows.h"
#include "arm/simd_avx512.h"

namespace thimble {

template <>
struct Codes<Avx512> {
  using S = Simd<Avx512>;
  using One = S::One;
  using Sum = __m512;
  using Scale = __m512;
  using Products = __m512i;
  static constexpr size_t kVectors = 2;
  static constexpr size_t kFolded = 1;

  // Rows of a head lie a few lines apart, with those of other heads between them: asked for this far ahead.
  static void PrefetchAfter(const void* row) {
    constexpr size_t kAhead = 8192;
    _mm_prefetch(static_cast<const char*>(row) + kAhead, _MM_HINT_T0);
  }

  static Sum Zero() { return _mm512_setzero_ps(); }
  static Scale Scales(const S::Rows* w, size_t offset) {
    PrefetchAfter(w->At<char>(offset, 0));
    PrefetchAfter(w->At<char>(offset, 1));
    const __m128i halves[2] = {_mm_set1_epi16(*w->At<int16_t>(offset, 0)), _mm_set1_epi16(*w->At<int16_t>(offset, 1))};
    return _mm512_cvtph_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(halves[0]), halves[1], 1));
  }
  // Products want one side without a sign: the query's, raised by 128, and 128 times the rows taken off again, which is
  // the same for all queries.
  static __m512i MultiplyFrom(__m512i start, __m512i rows, __m512i query) {
    const __m512i raise = _mm512_set1_epi8(-128);
    const __m512i raised = _mm512_dpbusd_epi32(_mm512_setzero_si512(), raise, rows);
    return _mm512_dpbusd_epi32(_mm512_sub_epi32(start, raised), _mm512_xor_si512(query, raise), rows);
  }
  static __m512i Multiply(__m512i rows, __m512i query) { return MultiplyFrom(_mm512_setzero_si512(), rows, query); }
  static __m512i Refine(__m512i products, __m512i rows, __m512i low) {
    return MultiplyFrom(_mm512_slli_epi32(products, 7), rows, low);
  }
  static Sum AddScaled(Sum sum, const __m512i* products, Scale row_scales, float query_scale) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(*products), _mm512_mul_ps(row_scales, _mm512_set1_ps(query_scale)), sum);
  }
  static void Totals(Sum sum, float* totals) {
    One::Totals(_mm512_castps512_ps256(sum), totals);
    One::Totals(_mm512_extractf32x8_ps(sum, 1), totals + 1);
  }

  static __m256i Eighths(const uint8_t* low, const uint8_t* high) {
    const __m256i lows = _mm256_set1_epi64x(static_cast<int64_t>(One::Word(low) | uint64_t{One::Word(low + 4)} << 32));
    const __m256i highs = _mm256_set1_epi32(static_cast<int>(One::Word(high)));
    const __m256i third = _mm256_srlv_epi32(highs, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    const __m256i two = _mm256_srlv_epi64(lows, _mm256_setr_epi64x(0, 2, 4, 6));
    return _mm256_or_si256(_mm256_and_si256(two, _mm256_set1_epi8(3)),
                           _mm256_slli_epi16(_mm256_and_si256(third, _mm256_set1_epi8(1)), 2));
  }
  static void StoreFloats(__m256i codes, const uint16_t* scale, float* to) {
    const __m512 scales = _mm512_cvtph_ps(_mm256_set1_epi16(static_cast<int16_t>(*scale)));
    const __m512 first = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(codes)));
    const __m512 second = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(codes, 1)));
    _mm512_storeu_ps(to, _mm512_mul_ps(first, scales));
    _mm512_storeu_ps(to + 16, _mm512_mul_ps(second, scales));
  }
  template <const int8_t (&kLevels)[16]>
  static void StoreLevels(__m256i indices, const uint16_t* scale, float* to) {
    StoreFloats(One::Lookup(kLevels, indices), scale, to);
  }
};

// Sixteen levels fill a register: times a block's scale, they are what its nibbles choose from.
template <>
void DecodeRows<Avx512, CodedIq4Nl<Avx512>>(const RowBlock& block, size_t d, float* to) {
  const __m512 levels =
      _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(kLevelsIQ4))));
  for (size_t r = 0; r < block.count; ++r) {
    const auto* row = reinterpret_cast<const BlockIQ4_NL*>(block.first + r * block.stride);
    for (size_t i = 0; i < d; i += 32, to += 32, ++row) {
      Codes<Avx512>::PrefetchAfter(row);
      const __m512 scaled = _mm512_mul_ps(levels, _mm512_cvtph_ps(_mm256_set1_epi16(static_cast<int16_t>(row->d))));
      const __m512i nibbles = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(row->qs)));
      _mm512_storeu_ps(to, _mm512_permutexvar_ps(nibbles, scaled));  // by the lower four bits
      _mm512_storeu_ps(to + 16, _mm512_permutexvar_ps(_mm512_srli_epi32(nibbles, 4), scaled));
    }
  }
}

template const CodedFormat* FindCodedFormat<Avx512>(Type type);

}  // namespace thimble
