// SPDX-License-Identifier: Apache-2.0
//
// Transcendental functions of our own. The C library's differ from machine to machine; these give the same bits
// everywhere (with -ffp-contract=off), which is what lets one golden file judge every processor.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace thimble {

/// e^x to about 1 unit in the last place; 0 below -87.3, infinity above 88.7.
inline float Exp(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;  // x - n ln 2, ln 2 in two parts
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const float bounded = n < -126.0f ? -126.0f : n > 128.0f ? 128.0f : n;
  const int32_t whole = bounded == bounded ? static_cast<int32_t>(bounded) : 0;
  const int32_t half = whole >> 1;  // 2^n in two factors, as 2^128 has no float
  const float y = p * std::bit_cast<float>((half + 127) << 23) * std::bit_cast<float>((whole - half + 127) << 23);
  if (x < -87.33654f) return 0.0f;
  if (x > 88.72283f) return std::numeric_limits<float>::infinity();
  return x == x ? y : x;
}

/// 1 / (1 + e^-x)
inline float Sigmoid(float x) { return 1.0f / (1.0f + Exp(-x)); }

/// x * Sigmoid(x)
inline float Silu(float x) { return x / (1.0f + Exp(-x)); }

/// Natural logarithm of a normal x > 0, to about 1 unit in the last place. Log(0) is minus infinity.
float Log(float x);

/// log(1 + e^x), also accurate where e^x is small.
float Softplus(float x);

/// For tables made once: natural logarithm of x > 0 and e^x, in double precision.
double LogDouble(double x);
double ExpDouble(double x);

/// Cosine and sine of `turn` / 2^64 of a whole turn, each rounded once.
void CosSin(uint64_t turn, float* cosine, float* sine);

}  // namespace thimble
