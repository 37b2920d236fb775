// SPDX-License-Identifier: Apache-2.0
//
// How byte-level BPE spells bytes: those that print keep their code point, the other 68 take U+0100 onwards in their
// order.
#pragma once

#include <array>
#include <cstdint>

namespace thimble {

inline constexpr uint32_t kAlphabetEnd = 0x100 + 68;

/// The code point of each byte.
inline constexpr auto kPointOfByte = [] {
  const auto prints = [](uint32_t byte) { return (byte > 32 && byte < 127) || (byte > 160 && byte != 173); };
  std::array<uint16_t, 256> points{};
  uint16_t next = 0x100;
  for (uint16_t byte = 0; byte < 256; ++byte) points[byte] = prints(byte) ? byte : next++;
  return points;
}();

/// And the other way round; 256 for a code point that stands for no byte.
inline constexpr auto kByteOfPoint = [] {
  std::array<uint16_t, kAlphabetEnd> bytes{};
  bytes.fill(256);
  for (uint16_t byte = 0; byte < 256; ++byte) bytes[kPointOfByte[byte]] = byte;
  return bytes;
}();

}  // namespace thimble
