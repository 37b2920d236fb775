// SPDX-License-Identifier: Apache-2.0
//
// The vectors of arm/gguf_blocks.h with AVX-512 VNNI: four products of bytes at a time are added to 32 bits, whatever
// the magnitude of the codes. A register holds 32 bytes of two rows. Its 32-bit lanes are, four at a time, the first
// four of one row, those of the other row, the second four of one and of the other.
#pragma once

#include "arm/simd_avx2.h"

namespace thimble {

template <>
struct Simd<Avx512> {
  static constexpr size_t kRows = 2;
  static constexpr size_t kVectors = 2;
  static constexpr bool kStarts = false;
  static constexpr bool kRaises = true;
  using Rows = BlockRows<Avx512, 2>;
  using Bytes = __m512i;  // 32 of one row, 32 of the other
  using Ints = __m512i;
  using Floats = __m512;
  using Quad = __m512i;  // of each row as in YmmVectors
  using Sum = __m512;
  using Scalar = __m512;

  /// For one row: registers of 256 bits.
  struct One : YmmVectors<Avx512> {
    template <int kSub, int kMagnitude, bool kSigned>
    static __m256i Dot(__m256i w, __m256i x) {
      return _mm256_dpbusd_epi32(_mm256_setzero_si256(), w, x);
    }
    template <int kSub, int kMagnitude>
    static __m256i Fold(const __m256i (&p)[4]) {
      return _mm256_hadd_epi32(_mm256_hadd_epi32(p[0], p[1]), _mm256_hadd_epi32(p[2], p[3]));
    }
  };

  static Bytes Load(const Rows& w, size_t offset) {
    return Two(_mm256_loadu_si256(w.At<__m256i_u>(offset, 0)), _mm256_loadu_si256(w.At<__m256i_u>(offset, 1)));
  }
  static Bytes LoadValues(const int8_t* p) { return _mm512_broadcast_i64x4(One::LoadValues(p)); }
  [[gnu::always_inline]] static void Prefetch(const Rows& w, size_t bytes) {
    PrefetchAhead<Avx512>(w.At<char>(0, 0), bytes);
    PrefetchAhead<Avx512>(w.At<char>(0, 1), bytes);
  }
  static Bytes Nibbles(const Rows& w, size_t offset) {
    const __m512i twice = Two(_mm256_broadcastsi128_si256(_mm_loadu_si128(w.At<__m128i_u>(offset, 0))),
                              _mm256_broadcastsi128_si256(_mm_loadu_si128(w.At<__m128i_u>(offset, 1))));
    return Field<0, 15>(_mm512_srlv_epi64(twice, _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4)));
  }
  template <int kRight>
  static Bytes Shift(Bytes v) {
    if constexpr (kRight > 0) {
      return _mm512_srli_epi16(v, kRight);
    } else if constexpr (kRight < 0) {
      return _mm512_slli_epi16(v, -kRight);
    } else {
      return v;
    }
  }
  template <int kRight, int kMask>
  static Bytes Field(Bytes v) {
    return _mm512_and_si512(Shift<kRight>(v), _mm512_set1_epi8(kMask));
  }
  template <int kMask>
  static Bytes Merge(Bytes low, Bytes high) {
    return _mm512_ternarylogic_epi64(low, high, _mm512_set1_epi8(kMask), 0xf8);  // low | (high & mask)
  }
  template <int kLeft, int kMask>
  static Bytes Join(Bytes low, Bytes high) {
    return Merge < kMask & ~((1 << kLeft) - 1) > (Field<0, (1 << kLeft) - 1>(low), Shift<-kLeft>(high));
  }
  static Bytes Lookup(const int8_t* levels, Bytes index) {
    const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(levels));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), index);
  }

  template <int kSub, int kMagnitude, bool kSigned>
  static __m512i Dot(Bytes w, Bytes x) {
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, x);
  }
  static Bytes Raise(Bytes w) { return _mm512_xor_si512(w, _mm512_set1_epi8(-128)); }
  template <int kSub, int kMagnitude>
  static Quad Fold(const __m512i (&p)[4]) {
    const __m512i first = _mm512_add_epi32(_mm512_unpacklo_epi32(p[0], p[1]), _mm512_unpackhi_epi32(p[0], p[1]));
    const __m512i second = _mm512_add_epi32(_mm512_unpacklo_epi32(p[2], p[3]), _mm512_unpackhi_epi32(p[2], p[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
  }
  static Ints Whole(const Quad (&q)[2]) { return _mm512_add_epi32(Even(q), Odd(q)); }
  static Ints Even(const Quad (&q)[2]) { return _mm512_shuffle_i64x2(q[0], q[1], 0x88); }
  static Ints Odd(const Quad (&q)[2]) { return _mm512_shuffle_i64x2(q[0], q[1], 0xdd); }

  static Ints LoadInts(const int32_t* p) {
    const __m512i both = _mm512_castsi256_si512(One::LoadInts(p));
    return _mm512_shuffle_i64x2(both, both, 0x50);
  }
  static Ints Subtract(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
  static Ints Multiply(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }
  template <int kFactor>
  static Ints Multiply(Ints a) {
    return _mm512_mullo_epi32(a, _mm512_set1_epi32(kFactor));
  }
  static Ints MultiplyAdd(Ints sum, Ints a, Ints b) { return _mm512_add_epi32(sum, _mm512_mullo_epi32(a, b)); }
  static Floats ToFloats(Ints v) { return _mm512_cvtepi32_ps(v); }

  static Floats LoadFloats(const float* p) {
    const __m512 both = _mm512_castps256_ps512(One::LoadFloats(p));
    return _mm512_shuffle_f32x4(both, both, 0x50);
  }
  static Floats Multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }

  static Sum Zero() { return _mm512_setzero_ps(); }
  static Sum Products(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Sum AddProducts(Sum sum, Floats a, Floats b) { return _mm512_fmadd_ps(a, b, sum); }
  static Sum AddScaled(Sum sum, Sum a, Scalar b) { return _mm512_fmadd_ps(a, b, sum); }
  static Sum SubtractScaled(Sum sum, Sum a, Scalar b) { return _mm512_fnmadd_ps(a, b, sum); }
  static void Totals(Sum sum, float* y) {
    const __m256 rows = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
    const __m256 two = _mm256_add_ps(rows, _mm256_movehdup_ps(rows));
    const __m256 one = _mm256_add_ps(two, _mm256_permute_ps(two, 0x02));
    y[0] = _mm_cvtss_f32(_mm256_castps256_ps128(one));
    y[1] = _mm_cvtss_f32(_mm256_extractf128_ps(one, 1));
  }

  static Scalar Half(const Rows& w, size_t offset) {
    const __m128 first = _mm_cvtph_ps(_mm_set1_epi16(*w.At<int16_t>(offset, 0)));
    const __m128 second = _mm_cvtph_ps(_mm_set1_epi16(*w.At<int16_t>(offset, 1)));
    const __m256 both = _mm256_insertf128_ps(_mm256_castps128_ps256(first), second, 1);
    return _mm512_broadcast_f32x8(both);
  }
  /// The eight 16-bit words that are kStride bytes apart, in the low half. Reads 128 bytes, which groups have.
  template <size_t kStride>
  static __m128i Words(const Rows& w, size_t offset, size_t row) {
    constexpr int kStep = kStride / 2;
    const auto pick = [&w, offset, row](size_t first, __m512i index) {
      const __m512i low = _mm512_loadu_si512(w.At(offset + first * kStride, row));
      const __m512i high = _mm512_loadu_si512(w.At(offset + first * kStride + 64, row));
      return _mm512_castsi512_si128(_mm512_permutex2var_epi16(low, index, high));
    };
    const __m512i index = _mm512_castsi128_si512(
        _mm_setr_epi16(0, kStep, 2 * kStep, 3 * kStep, 4 * kStep & 63, 5 * kStep & 63, 6 * kStep & 63, 7 * kStep & 63));
    if constexpr (7 * kStep < 64) {
      return pick(0, index);
    } else {
      return _mm_unpacklo_epi64(pick(0, index), pick(4, index));
    }
  }
  template <size_t kStride>
  static Floats Halves(const Rows& w, size_t offset) {
    return _mm512_cvtph_ps(Interleave(Words<kStride>(w, offset, 0), Words<kStride>(w, offset, 1)));
  }

  static void EvenOdd(__m256i v, Ints& even, Ints& odd) {
    const __m256i pairs = _mm256_permute4x64_epi64(v, 0xd8);
    even = _mm512_cvtepi16_epi32(_mm256_srai_epi16(_mm256_slli_epi16(pairs, 8), 8));
    odd = _mm512_cvtepi16_epi32(_mm256_srai_epi16(pairs, 8));
  }
  static void EvenOdd(const Rows& w, size_t offset, Ints& even, Ints& odd) {
    EvenOdd(Two(_mm_loadu_si128(w.At<__m128i_u>(offset, 0)), _mm_loadu_si128(w.At<__m128i_u>(offset, 1))), even, odd);
  }
  static void ScalesQ3K(const Rows& w, size_t offset, Ints& even, Ints& odd) {
    EvenOdd(Two(One::BytesQ3K(w.At(offset, 0)), One::BytesQ3K(w.At(offset, 1))), even, odd);
  }
  static void ScalesQ4K(const Rows& w, size_t offset, Ints& scale, Ints& minimum) {
    const auto first = One::UnpackQ4K(w.At(offset, 0)), second = One::UnpackQ4K(w.At(offset, 1));
    scale = _mm512_cvtepu8_epi32(_mm_unpacklo_epi32(first.scales, second.scales));
    minimum = _mm512_cvtepu8_epi32(_mm_unpacklo_epi32(first.minimums, second.minimums));
  }
  static Ints ScalesIQ4XS(const Rows& w, size_t high, size_t low) {
    const __m512i both = Two(One::ScalesIQ4XS({{w.row[0]}}, high, low), One::ScalesIQ4XS({{w.row[1]}}, high, low));
    return _mm512_shuffle_i64x2(both, both, 0xd8);
  }

 private:
  static __m512i Two(__m256i first, __m256i second) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
  }
  static __m256i Two(__m128i first, __m128i second) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
  }
  /// Eight 16-bit lanes of each row in the order of Ints.
  static __m256i Interleave(__m128i first, __m128i second) {
    return Two(_mm_unpacklo_epi64(first, second), _mm_unpackhi_epi64(first, second));
  }
};

}  // namespace thimble
