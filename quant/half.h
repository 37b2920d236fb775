// SPDX-License-Identifier: Apache-2.0
//
// The two 16-bit floats, read and written by arithmetic on their bits: the same result on every machine, with or
// without hardware for them, also where subnormals are flushed to zero. F16: 1 sign, 5 exponent, 10 mantissa bits;
// BF16: the upper half of an F32.
#pragma once

#include <bit>
#include <cstdint>

namespace thimble {

/// All ones if a < b, else zero, for a and b below 2^31. Not a comparison, because a loop over conversions becomes
/// vectors only when the compiler finds no branch to make of it.
constexpr uint32_t MaskBelow(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(static_cast<int32_t>(a - b) >> 31);
}

/// The value of an F16, exact; a NaN becomes a quiet NaN.
inline float F32FromF16(uint16_t half) {
  const uint32_t sign = (half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7fffu;
  const uint32_t subnormal = MaskBelow(magnitude, 0x0400);
  const uint32_t infinite = MaskBelow(0x7bff, magnitude);  // or NaN
  // The exponent moves from a bias of 15 to one of 127, that of infinity to 255. A subnormal has no leading one: it
  // gets one with the next exponent, which is then subtracted.
  const uint32_t rebase = (112u << 23) + (subnormal & 1u << 23) + (infinite & 112u << 23);
  const uint32_t bits = (magnitude << 13) + rebase;
  const float leading = std::bit_cast<float>(subnormal & std::bit_cast<uint32_t>(0x1p-14f));
  const float value = std::bit_cast<float>(bits) - leading;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
}

/// The F16 nearest to `value`, ties to the even one; 65520 and above become infinity; a NaN stays a (quiet) NaN.
inline uint16_t F16FromF32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t exponent = magnitude >> 23;
  uint32_t half = 0;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00 | ((magnitude >> 13) & 0x03ff);
  } else if (exponent >= 127 + 16) {
    half = 0x7c00;
  } else if (exponent >= 127 - 14) {
    // A mantissa that rounds up to 2 carries into the exponent, from 65504 into infinity: both are right.
    const uint32_t rebased = magnitude - (112u << 23);
    half = (rebased + 0x0fff + ((rebased >> 13) & 1)) >> 13;
  } else if (exponent >= 127 - 25) {
    // The result counts units of 2^-24; the value is mantissa * 2^(exponent - 150).
    const uint32_t mantissa = (magnitude & 0x007fffffu) | 0x00800000u;
    const uint32_t shift = 126 - exponent;
    half = (mantissa + (1u << (shift - 1)) - 1 + ((mantissa >> shift) & 1)) >> shift;
  }
  return static_cast<uint16_t>((bits >> 16 & 0x8000u) | half);
}

/// The value of a BF16, exact to the bit, NaNs included.
inline float F32FromBF16(uint16_t half) { return std::bit_cast<float>(static_cast<uint32_t>(half) << 16); }

/// The BF16 nearest to `value`, which is not NaN, ties to the even one.
inline uint16_t BF16FromF32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace thimble
