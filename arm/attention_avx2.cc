// SPDX-License-Identifier: Apache-2.0
//
// Coded rows of the cache for AVX2 with FMA and F16C.
#include "arm/score_rows.h"
#include "arm/simd_avx2.h"

namespace thimble {

template <>
struct Codes<Avx2> {
  using S = Simd<Avx2>;
  using Sum = __m256;
  using Scale = __m256;
  using Products = __m256i;
  static constexpr size_t kVectors = 2;
  static constexpr size_t kFolded = 1;

  static Sum Zero() { return _mm256_setzero_ps(); }
  static Scale Scales(const S::Rows* w, size_t offset) { return S::Half(*w, offset); }
  static __m256i Multiply(__m256i row, __m256i query) {
    return _mm256_madd_epi16(S::Dot<32, 127, true>(row, query), _mm256_set1_epi16(1));
  }
  static __m256i Refine(__m256i products, __m256i row, __m256i low) {
    return _mm256_add_epi32(_mm256_slli_epi32(products, 7), Multiply(row, low));
  }
  static Sum AddScaled(Sum sum, const __m256i* products, Scale row_scale, float query_scale) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(*products), _mm256_mul_ps(row_scale, _mm256_set1_ps(query_scale)), sum);
  }
  static void Totals(Sum sum, float* totals) { S::Totals(sum, totals); }

  static __m256i Eighths(const uint8_t* low, const uint8_t* high) {
    const __m256i lows = _mm256_set1_epi64x(static_cast<int64_t>(S::Word(low) | uint64_t{S::Word(low + 4)} << 32));
    const __m256i highs = _mm256_set1_epi32(static_cast<int>(S::Word(high)));
    const __m256i two = _mm256_and_si256(_mm256_srlv_epi64(lows, _mm256_setr_epi64x(0, 2, 4, 6)), _mm256_set1_epi8(3));
    const __m256i third =
        _mm256_and_si256(_mm256_srlv_epi32(highs, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)), _mm256_set1_epi8(1));
    return _mm256_or_si256(two, _mm256_slli_epi16(third, 2));
  }
  static void StoreFloats(__m256i codes, const uint16_t* scale, float* to) {
    const __m256 scales = _mm256_cvtph_ps(_mm_set1_epi16(static_cast<int16_t>(*scale)));
    const __m128i halves[2] = {_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1)};
    for (size_t i = 0; i < 4; ++i) {
      const __m128i eight = i % 2 == 0 ? halves[i / 2] : _mm_srli_si128(halves[i / 2], 8);
      _mm256_storeu_ps(to + 8 * i, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight)), scales));
    }
  }
  template <const int8_t (&kLevels)[16]>
  static void StoreLevels(__m256i indices, const uint16_t* scale, float* to) {
    StoreFloats(S::Lookup(kLevels, indices), scale, to);
  }
};

template const CodedFormat* FindCodedFormat<Avx2>(Type type);

}  // namespace thimble
