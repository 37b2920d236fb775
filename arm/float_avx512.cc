// SPDX-License-Identifier: Apache-2.0
//
// The float kernels for AVX-512: F, BW, DQ and VL.
#include <immintrin.h>

#include "arm/float_activations.h"
#include "arm/float_attention.h"
#include "arm/float_delta_chunk.h"
#include "arm/float_delta_step.h"
#include "arm/float_matmul.h"
#include "arm/float_state.h"

namespace thimble {

template <>
struct Vector<Avx512> {
  using F = __m512;
  static constexpr size_t kWidth = 16;
  static constexpr size_t kTileRows = 8;
  static constexpr size_t kTileVectors = 2;
  static constexpr size_t kDotColumns = 4;

  static F Set(float x) { return _mm512_set1_ps(x); }
  static F Load(const float* p) { return _mm512_loadu_ps(p); }
  static void Store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static __mmask16 Mask(size_t n) { return static_cast<__mmask16>((1u << n) - 1); }
  static F LoadPart(const float* p, size_t n) { return _mm512_maskz_loadu_ps(Mask(n), p); }
  static void StorePart(float* p, F x, size_t n) { _mm512_mask_storeu_ps(p, Mask(n), x); }

  static __m256i LoadHalf(const std::byte* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static F Load(ElementF32, const std::byte* p) { return _mm512_loadu_ps(p); }
  static F Load(ElementF16, const std::byte* p) { return _mm512_cvtph_ps(LoadHalf(p)); }
  static F Load(ElementBF16, const std::byte* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(LoadHalf(p)), 16));
  }
  static F Load(ElementI16, const std::byte* p) { return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(LoadHalf(p))); }
  // Two vectors of magnitude up to 32767, rounded to nearest even.
  static void StoreRounded(const F* x, int16_t* codes) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x[0])));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + kWidth), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x[1])));
  }
  static void LoadFour(const float* p, F* x) {
    Unroll<4>([&](auto i) { x[i] = Load(p + i * kWidth); });
  }
  static void LoadPair(ElementF32, const float* p, F* x) {
    x[0] = _mm512_loadu_ps(p);
    x[1] = _mm512_loadu_ps(p + kWidth);
  }
  template <class Element>
  static void LoadPair(Element element, const std::byte* p, F* x) {
    x[0] = Load(element, p);
    x[1] = Load(element, p + kWidth * Element::kBytes);
  }

  static F MulAdd(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F MulSub(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a * b
  static F Min(F limit, F x) { return _mm512_min_ps(limit, x); }        // NaN of NaN x; so has Max
  static F Max(F limit, F x) { return _mm512_max_ps(limit, x); }
  static F Inverse(F x) { return Set(1.0f) / x; }
  static F ExponentFromLowBits(F x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x), 23)); }
  static float First(F x) { return _mm512_cvtss_f32(x); }
  // A sum has the same bits whether it is made alone or with three others.
  static float Sum(F x) {
    const __m256 half = AddHalves(x);
    const __m256 pairs = _mm256_add_ps(half, _mm256_movehdup_ps(half));
    const __m256 fours = _mm256_add_ps(pairs, _mm256_permute_ps(pairs, 0x4e));
    return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(fours), _mm256_extractf128_ps(fours, 1)));
  }
  static float Highest(F x) { return _mm512_reduce_max_ps(x); }
  static __m256 AddHalves(F x) { return _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1)); }
  static void Sum4(F a, F b, F c, F d, float* sums) {
    const __m256 ab = _mm256_hadd_ps(AddHalves(a), AddHalves(b));
    const __m256 halves = _mm256_hadd_ps(ab, _mm256_hadd_ps(AddHalves(c), AddHalves(d)));
    _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1)));
  }

  // Some floats that vectors are multiplied with, one by one: read from memory when they are wanted.
  template <size_t kCount>
  static const float* LoadColumn(const float* p) {
    return p;
  }
  template <size_t kLane>
  static F MulAddLane(F a, const float* b, F c) {
    return _mm512_fmadd_ps(a, _mm512_set1_ps(b[kLane]), c);
  }

  // out[c * out_stride + r] = rows[r][i + c] for four rows and columns.
  static void Transpose(const float* const* rows, size_t i, float* out, size_t out_stride) {
    const __m128 a = _mm_loadu_ps(rows[0] + i);
    const __m128 b = _mm_loadu_ps(rows[1] + i);
    const __m128 c = _mm_loadu_ps(rows[2] + i);
    const __m128 d = _mm_loadu_ps(rows[3] + i);
    const __m128 ac_low = _mm_unpacklo_ps(a, c);
    const __m128 ac_high = _mm_unpackhi_ps(a, c);
    const __m128 bd_low = _mm_unpacklo_ps(b, d);
    const __m128 bd_high = _mm_unpackhi_ps(b, d);
    _mm_storeu_ps(out, _mm_unpacklo_ps(ac_low, bd_low));
    _mm_storeu_ps(out + out_stride, _mm_unpackhi_ps(ac_low, bd_low));
    _mm_storeu_ps(out + 2 * out_stride, _mm_unpacklo_ps(ac_high, bd_high));
    _mm_storeu_ps(out + 3 * out_stride, _mm_unpackhi_ps(ac_high, bd_high));
  }

  // The largest magnitude of 32 values; NaN if one is: as integers, magnitudes have the same order and NaN the top.
  static float Magnitude(const float* x) {
    const __m512i no_sign = _mm512_set1_epi32(0x7fffffff);
    const __m512i low = _mm512_and_si512(_mm512_loadu_si512(x), no_sign);
    const __m512i high = _mm512_and_si512(_mm512_loadu_si512(x + kWidth), no_sign);
    return __builtin_bit_cast(float, _mm512_reduce_max_epi32(_mm512_max_epi32(low, high)));
  }

  // codes = x * inverse, rounded, of 32 values of magnitude up to 127; their sum.
  static int32_t RoundBlock(const float* x, float inverse, int8_t* codes) {
    const __m512i low = _mm512_cvtps_epi32(Load(x) * Set(inverse));
    const __m512i high = _mm512_cvtps_epi32(Load(x + kWidth) * Set(inverse));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes), _mm512_cvtepi32_epi8(low));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + kWidth), _mm512_cvtepi32_epi8(high));
    return _mm512_reduce_add_epi32(_mm512_add_epi32(low, high));
  }
};

template struct FloatKernels<Avx512>;

}  // namespace thimble
