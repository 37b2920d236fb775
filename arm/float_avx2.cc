// SPDX-License-Identifier: Apache-2.0
//
// The float kernels for AVX2 with FMA and F16C.
#include <immintrin.h>

#include "arm/float_activations.h"
#include "arm/float_attention.h"
#include "arm/float_delta_chunk.h"
#include "arm/float_delta_step.h"
#include "arm/float_matmul.h"
#include "arm/float_state.h"

namespace thimble {

template <>
struct Vector<Avx2> {
  using F = __m256;
  static constexpr size_t kWidth = 8;
  static constexpr size_t kTileRows = 4;
  static constexpr size_t kTileVectors = 2;
  static constexpr size_t kDotColumns = 2;

  static F Set(float x) { return _mm256_set1_ps(x); }
  static F Load(const float* p) { return _mm256_loadu_ps(p); }
  static void Store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static __m256i Mask(size_t n) {
    static constexpr int32_t kMask[2 * kWidth] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask + kWidth - n));
  }
  static F LoadPart(const float* p, size_t n) { return _mm256_maskload_ps(p, Mask(n)); }
  static void StorePart(float* p, F x, size_t n) { _mm256_maskstore_ps(p, Mask(n), x); }

  static __m128i LoadHalf(const std::byte* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static F Load(ElementF32, const std::byte* p) { return _mm256_loadu_ps(reinterpret_cast<const float*>(p)); }
  static F Load(ElementF16, const std::byte* p) { return _mm256_cvtph_ps(LoadHalf(p)); }
  static F Load(ElementBF16, const std::byte* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(LoadHalf(p)), 16));
  }
  static F Load(ElementI16, const std::byte* p) { return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(LoadHalf(p))); }
  // Two vectors of magnitude up to 32767, rounded to nearest even.
  static void StoreRounded(const F* x, int16_t* codes) {
    const __m256i halves = _mm256_packs_epi32(_mm256_cvtps_epi32(x[0]), _mm256_cvtps_epi32(x[1]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), _mm256_permute4x64_epi64(halves, 0xd8));
  }
  static void LoadFour(const float* p, F* x) {
    Unroll<4>([&](auto i) { x[i] = Load(p + i * kWidth); });
  }
  static void LoadPair(ElementF32, const float* p, F* x) {
    x[0] = _mm256_loadu_ps(p);
    x[1] = _mm256_loadu_ps(p + kWidth);
  }
  template <class Element>
  static void LoadPair(Element element, const std::byte* p, F* x) {
    x[0] = Load(element, p);
    x[1] = Load(element, p + kWidth * Element::kBytes);
  }

  static F MulAdd(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F MulSub(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }  // c - a * b
  static F Min(F limit, F x) { return _mm256_min_ps(limit, x); }        // NaN of NaN x; so has Max
  static F Max(F limit, F x) { return _mm256_max_ps(limit, x); }
  static F Inverse(F x) { return Set(1.0f) / x; }
  static F ExponentFromLowBits(F x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 23)); }
  static float First(F x) { return _mm256_cvtss_f32(x); }
  // A sum has the same bits whether it is made alone or with three others.
  static float Sum(F x) {
    const __m256 pairs = _mm256_add_ps(x, _mm256_movehdup_ps(x));
    const __m256 fours = _mm256_add_ps(pairs, _mm256_permute_ps(pairs, 0x4e));
    return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(fours), _mm256_extractf128_ps(fours, 1)));
  }
  static float Highest(F x) {
    __m128 top = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    top = _mm_max_ps(top, _mm_movehl_ps(top, top));
    return _mm_cvtss_f32(_mm_max_ss(top, _mm_movehdup_ps(top)));
  }
  static void Sum4(F a, F b, F c, F d, float* sums) {
    const __m256 halves = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1)));
  }

  // Some floats that vectors are multiplied with, one by one: read from memory when they are wanted.
  template <size_t kCount>
  static const float* LoadColumn(const float* p) {
    return p;
  }
  template <size_t kLane>
  static F MulAddLane(F a, const float* b, F c) {
    return _mm256_fmadd_ps(a, _mm256_broadcast_ss(b + kLane), c);
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
    const __m256i no_sign = _mm256_set1_epi32(0x7fffffff);
    __m256i top = _mm256_setzero_si256();
    Unroll<4>([&](auto i) {
      const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + kWidth * i));
      top = _mm256_max_epi32(top, _mm256_and_si256(bits, no_sign));
    });
    __m128i highest = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
    highest = _mm_max_epi32(highest, _mm_shuffle_epi32(highest, 0x4e));
    highest = _mm_max_epi32(highest, _mm_shuffle_epi32(highest, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(highest));
  }

  // codes = x * inverse, rounded, of 32 values of magnitude up to 127; their sum.
  static int32_t RoundBlock(const float* x, float inverse, int8_t* codes) {
    __m256i whole[4];
    Unroll<4>([&](auto i) { whole[i] = _mm256_cvtps_epi32(Load(x + kWidth * i) * Set(inverse)); });
    const __m256i low = _mm256_packs_epi32(whole[0], whole[1]);
    const __m256i high = _mm256_packs_epi32(whole[2], whole[3]);
    const __m256i bytes = _mm256_packs_epi16(low, high);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), _mm256_permutevar8x32_epi32(bytes, order));
    const __m256i pairs = _mm256_madd_epi16(_mm256_add_epi16(low, high), _mm256_set1_epi16(1));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
  }
};

template struct FloatKernels<Avx2>;

}  // namespace thimble
