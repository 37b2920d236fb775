// SPDX-License-Identifier: Apache-2.0
//
// The vectors of arm/gguf_blocks.h on AVX2 with FMA and F16C: products of bytes are added up in 16 bits as far as the
// codes' magnitude allows. Nothing here knows the layout of a block, but for the packed scales of the k-formats.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "arm/simd.h"

namespace thimble {

/// Asks for weights that lie ahead, in the same rows or in the next: first into the second cache, from so far that they
/// arrive there in time and beyond the page where the processor's own prefetching ends; then into the first one, whose
/// few open requests would not be enough for the way from memory. Addresses behind the last row do no harm: the next
/// matrix often lies there. Inlined always: a function that only prefetches has no effect in GCC's eyes, and a call of
/// it is dropped.
template <class Isa>
[[gnu::always_inline]] inline void PrefetchAhead(const void* at, size_t bytes) {
  constexpr size_t kNear = 2048, kFar = 8192, kLine = 64;
  for (size_t i = 0; i < bytes; i += kLine) {
    _mm_prefetch(static_cast<const char*>(at) + kFar + i, _MM_HINT_T1);
    _mm_prefetch(static_cast<const char*>(at) + kNear + i, _MM_HINT_T0);
  }
}

/// Everything but the products, for one row in registers of 256 bits.
template <class Isa>
struct YmmVectors {
  static constexpr size_t kRows = 1;
  static constexpr size_t kVectors = 2;
  static constexpr bool kStarts = false;
  static constexpr bool kRaises = false;
  using Rows = BlockRows<Isa, 1>;
  using Bytes = __m256i;
  using Ints = __m256i;
  using Floats = __m256;
  using Quad = __m256i;  // sums of the first 16 values of each of four times 32, then those of the second 16
  using Sum = __m256;
  using Scalar = __m256;

  static Bytes Load(const Rows& w, size_t offset) { return _mm256_loadu_si256(w.template At<__m256i_u>(offset)); }
  static Bytes LoadValues(const int8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(p)); }
  static void Store(int8_t* p, Bytes v) { _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(p), v); }
  [[gnu::always_inline]] static void Prefetch(const Rows& w, size_t bytes) {
    PrefetchAhead<Isa>(w.template At<char>(0), bytes);
  }
  static Bytes Broadcast(uint8_t value) { return _mm256_set1_epi8(static_cast<char>(value)); }
  static Bytes Nibbles(const Rows& w, size_t offset) {
    const __m256i v = _mm256_broadcastsi128_si256(_mm_loadu_si128(w.template At<__m128i_u>(offset)));
    return Field<0, 15>(_mm256_srlv_epi32(v, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4)));
  }
  template <int kRight>
  static Bytes Shift(Bytes v) {
    if constexpr (kRight > 0) {
      return _mm256_srli_epi16(v, kRight);
    } else if constexpr (kRight < 0) {
      return _mm256_slli_epi16(v, -kRight);
    } else {
      return v;
    }
  }
  template <int kRight, int kMask>
  static Bytes Field(Bytes v) {
    return _mm256_and_si256(Shift<kRight>(v), _mm256_set1_epi8(kMask));
  }
  template <int kMask>
  static Bytes Merge(Bytes low, Bytes high) {
    return _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(kMask)));
  }
  template <int kLeft, int kMask>
  static Bytes Join(Bytes low, Bytes high) {
    return Merge < kMask & ~((1 << kLeft) - 1) > (Field<0, (1 << kLeft) - 1>(low), Shift<-kLeft>(high));
  }
  template <int kOffset>
  static Bytes Subtract(Bytes v) {
    return _mm256_sub_epi8(v, _mm256_set1_epi8(kOffset));
  }
  static Bytes Lookup(const int8_t* levels, Bytes index) {
    const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(levels));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), index);
  }

  static Ints LoadInts(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(p)); }
  static void StoreInts(int32_t* p, Ints v) { _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(p), v); }
  static Ints Subtract(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
  static Ints Multiply(Ints a, Ints b) { return _mm256_mullo_epi32(a, b); }
  template <int kFactor>
  static Ints Multiply(Ints a) {
    return _mm256_mullo_epi32(a, _mm256_set1_epi32(kFactor));
  }
  static Ints MultiplyAdd(Ints sum, Ints a, Ints b) { return _mm256_add_epi32(sum, _mm256_mullo_epi32(a, b)); }
  static Floats ToFloats(Ints v) { return _mm256_cvtepi32_ps(v); }

  static Floats LoadFloats(const float* p) { return _mm256_loadu_ps(p); }
  static void StoreFloats(float* p, Floats v) { _mm256_storeu_ps(p, v); }
  static void StoreInterleaved(float* p, Floats even, Floats odd) {
    const __m256 low = _mm256_unpacklo_ps(even, odd);
    const __m256 high = _mm256_unpackhi_ps(even, odd);
    _mm256_storeu_ps(p, _mm256_permute2f128_ps(low, high, 0x20));
    _mm256_storeu_ps(p + 8, _mm256_permute2f128_ps(low, high, 0x31));
  }
  static Floats Multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  template <int kFactor>
  static Floats MultiplySubtract(Floats sum, Floats a) {
    return _mm256_fnmadd_ps(a, _mm256_set1_ps(kFactor), sum);
  }

  static Sum Zero() { return _mm256_setzero_ps(); }
  static Sum Products(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Sum AddProducts(Sum sum, Floats a, Floats b) { return _mm256_fmadd_ps(a, b, sum); }
  static Sum AddScaled(Sum sum, Sum a, Scalar b) { return _mm256_fmadd_ps(a, b, sum); }
  static Sum SubtractScaled(Sum sum, Sum a, Scalar b) { return _mm256_fnmadd_ps(a, b, sum); }
  static void Totals(Sum sum, float* y) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    *y = _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }

  static Scalar Half(const Rows& w, size_t offset) {
    return _mm256_cvtph_ps(_mm_set1_epi16(*w.template At<int16_t>(offset)));
  }
  template <size_t kStride>
  static Floats Halves(const Rows& w, size_t offset) {
    const auto at = [&w, offset](size_t i) { return *w.template At<int16_t>(offset + i * kStride); };
    return _mm256_cvtph_ps(_mm_setr_epi16(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)));
  }

  static void EvenOdd(__m128i v, Ints& even, Ints& odd) {
    even = _mm256_cvtepi16_epi32(_mm_srai_epi16(_mm_slli_epi16(v, 8), 8));
    odd = _mm256_cvtepi16_epi32(_mm_srai_epi16(v, 8));
  }
  static void EvenOdd(const Rows& w, size_t offset, Ints& even, Ints& odd) {
    EvenOdd(_mm_loadu_si128(w.template At<__m128i_u>(offset)), even, odd);
  }

  static void ScalesQ3K(const Rows& w, size_t offset, Ints& even, Ints& odd) {
    EvenOdd(BytesQ3K(w.At(offset)), even, odd);
  }

  static void ScalesQ4K(const Rows& w, size_t offset, Ints& scale, Ints& minimum) {
    const BytesQ4K bytes = UnpackQ4K(w.At(offset));
    scale = _mm256_cvtepu8_epi32(bytes.scales);
    minimum = _mm256_cvtepu8_epi32(bytes.minimums);
  }

  static Ints ScalesIQ4XS(const Rows& w, size_t high, size_t low) {
    const __m256i l = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(Word(w.At(low)))),
                                        _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    const __m256i h = _mm256_srlv_epi32(_mm256_set1_epi32(*w.template At<uint16_t>(high) << 4),
                                        _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    const __m256i codes =
        _mm256_or_si256(_mm256_and_si256(l, _mm256_set1_epi32(15)), _mm256_and_si256(h, _mm256_set1_epi32(0x30)));
    return _mm256_sub_epi32(codes, _mm256_set1_epi32(32));
  }

  static Ints Whole(const Quad (&q)[2]) { return _mm256_add_epi32(Even(q), Odd(q)); }
  static Ints Even(const Quad (&q)[2]) { return _mm256_permute2x128_si256(q[0], q[1], 0x20); }
  static Ints Odd(const Quad (&q)[2]) { return _mm256_permute2x128_si256(q[0], q[1], 0x31); }

  /// Four bytes, aligned or not.
  static uint32_t Word(const uint8_t* p) {
    uint32_t word;
    __builtin_memcpy(&word, p, sizeof word);
    return word;
  }

  /// The scales of Q3_K, a byte each.
  static __m128i BytesQ3K(const uint8_t* p) {
    const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(p));
    const __m128i low = _mm_and_si128(_mm_unpacklo_epi64(eight, _mm_srli_epi16(eight, 4)), _mm_set1_epi8(15));
    const __m128i four = _mm_srlv_epi32(_mm_set1_epi32(static_cast<int>(Word(p + 8))), _mm_setr_epi32(0, 2, 4, 6));
    const __m128i high = _mm_slli_epi16(_mm_and_si128(four, _mm_set1_epi8(3)), 4);
    return _mm_sub_epi8(_mm_or_si128(low, high), _mm_set1_epi8(32));
  }

  /// The 6-bit codes of Q4_K and Q5_K (quant/k_scales.h), a byte each.
  struct BytesQ4K {
    __m128i scales, minimums;
  };
  static BytesQ4K UnpackQ4K(const uint8_t* p) {
    const uint32_t first = Word(p), second = Word(p + 4), third = Word(p + 8);
    const uint64_t scale_high = (third & 0x0f0f0f0fu) | (first >> 2 & 0x30303030u);
    const uint64_t minimum_high = (third >> 4 & 0x0f0f0f0fu) | (second >> 2 & 0x30303030u);
    return {_mm_cvtsi64_si128(static_cast<int64_t>((first & 0x3f3f3f3fu) | scale_high << 32)),
            _mm_cvtsi64_si128(static_cast<int64_t>((second & 0x3f3f3f3fu) | minimum_high << 32))};
  }
};

/// Products by VPMADDUBSW: 16-bit sums of two products, widened when that is safe.
template <>
struct Simd<Avx2> : YmmVectors<Avx2> {
  using One = Simd;

  template <int kSub, int kMagnitude, bool kSigned>
  static __m256i Dot(Bytes w, Bytes x) {
    if constexpr (kSigned) {
      return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    } else {
      return _mm256_maddubs_epi16(w, x);
    }
  }

  template <int kSub, int kMagnitude>
  static Quad Fold(const __m256i (&p)[4]) {
    constexpr int kLane = 2 * kMagnitude * 127;  // no lane is larger
    if constexpr (4 * kLane <= INT16_MAX) {
      return Widen(_mm256_hadd_epi16(_mm256_hadd_epi16(p[0], p[1]), _mm256_hadd_epi16(p[2], p[3])));
    } else if constexpr (2 * kLane <= INT16_MAX) {
      return _mm256_hadd_epi32(Widen(_mm256_hadd_epi16(p[0], p[1])), Widen(_mm256_hadd_epi16(p[2], p[3])));
    } else {
      return _mm256_hadd_epi32(_mm256_hadd_epi32(Widen(p[0]), Widen(p[1])),
                               _mm256_hadd_epi32(Widen(p[2]), Widen(p[3])));
    }
  }

 private:
  static __m256i Widen(__m256i pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }
};

}  // namespace thimble
