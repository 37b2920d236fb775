// SPDX-License-Identifier: Apache-2.0
//
// See math.h. None is inline: their constants and steps are many, and called for they are as fast.
#include "core/math.h"

#include <array>
#include <bit>
#include <cstddef>
#include <limits>

namespace thimble {
namespace {

// Numbers from 0 to 1 in 2^-31.
uint32_t Multiply(uint32_t a, uint32_t b) { return static_cast<uint32_t>(uint64_t{a} * b >> 31); }

// (pi / 4)^n / n!, in 2^-31: the terms of cosine (n even) and sine (odd) at an eighth of a turn.
constexpr std::array<uint32_t, 12> kOctant = [] {
  std::array<uint32_t, 12> terms = {};
  double term = 2147483648.0;
  for (size_t n = 0; n < terms.size(); term *= 0.785398163397448309616 / static_cast<double>(++n)) {
    terms[n] = static_cast<uint32_t>(term);
  }
  return terms;
}();

}  // namespace

float Exp(float x) {
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

void ExactSum::Add(float x) {
  const float sum = value + x;
  const float added = sum - value;
  const float lost = (value - (sum - added)) + (x - added) + rest;
  value = sum + lost;
  rest = lost - (value - sum);
}

float Log(float x) {
  if (x == 0.0f) return -std::numeric_limits<float>::infinity();
  if (!(x > 0.0f) || x == std::numeric_limits<float>::infinity())
    return x > 0.0f ? x : std::numeric_limits<float>::quiet_NaN();
  return ExactLog(x).value;
}

ExactSum ExactLog(float x) {
  // x = m 2^e with m in [sqrt(1/2), sqrt(2)), then log m by a polynomial in m - 1.
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  int32_t exponent = static_cast<int32_t>(bits >> 23) - 126;
  float m = std::bit_cast<float>((bits & 0x007fffffu) | 0x3f000000u);
  if (m < 0.707106781f) {
    --exponent;
    m = m + m;
  }
  const float f = m - 1.0f;
  const float square = f * f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  const float e = static_cast<float>(exponent);
  ExactSum sum = {e * 0.693359375f};  // ln 2 in two parts, the first of few bits
  sum.Add(f);
  sum.Add(p * f * square + e * -2.12194440e-4f - 0.5f * square);
  return sum;
}

float Softplus(float x) {
  if (x > 20.0f) return x;  // e^-20 is below the last place of x
  const float y = Exp(x);
  const float u = 1.0f + y;
  return u == 1.0f ? y : Log(u) * (y / (u - 1.0f));  // the factor undoes the rounding of 1 + y
}

double LogDouble(double x) {
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  int exponent = static_cast<int>(bits >> 52) - 1022;
  double m = std::bit_cast<double>((bits & 0x000fffffffffffffull) | 0x3fe0000000000000ull);
  if (m < 0.70710678118654752) {
    --exponent;
    m = m + m;
  }
  const double s = (m - 1.0) / (m + 1.0);  // log m = 2 artanh s, |s| < 0.172
  const double square = s * s;
  double sum = 0.0;
  for (int k = 25; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
  return 2.0 * s * sum + exponent * 0.69314718055994530942;
}

double ExpDouble(double x) {
  const int n = static_cast<int>(x * 1.44269504088896340736 + (x < 0.0 ? -0.5 : 0.5));
  const double r = x - n * 0.69314718055994530942;
  double sum = 1.0;
  for (int k = 18; k >= 1; --k) sum = sum * r / k + 1.0;
  return sum * std::bit_cast<double>(static_cast<uint64_t>(n + 1023) << 52);
}

void CosSin(uint64_t turn, float* cosine, float* sine) {
  const uint64_t quadrant = (turn + (uint64_t{1} << 61)) >> 62;
  const uint64_t rest = turn - (quadrant << 62);  // of an eighth of a turn, to either side
  const bool below = rest >> 63 != 0;
  const auto x = static_cast<uint32_t>((below ? 0 - rest : rest) >> 30);
  const uint32_t square = Multiply(x, x);
  uint32_t c = 0;
  uint32_t s = 0;
  for (size_t n = kOctant.size(); n > 0; n -= 2) {
    c = kOctant[n - 2] - Multiply(square, c);
    s = kOctant[n - 1] - Multiply(square, s);
  }
  const float near = static_cast<float>(c) * 0x1p-31f;
  const float aside = static_cast<float>(Multiply(x, s)) * (below ? -0x1p-31f : 0x1p-31f);
  const bool swap = (quadrant & 1) != 0;
  const float unsigned_cosine = swap ? aside : near;
  const float unsigned_sine = swap ? near : aside;
  *cosine = ((quadrant + 1) & 2) != 0 ? -unsigned_cosine : unsigned_cosine;
  *sine = (quadrant & 2) != 0 ? -unsigned_sine : unsigned_sine;
}

}  // namespace thimble
