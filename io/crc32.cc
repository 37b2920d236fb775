// SPDX-License-Identifier: Apache-2.0
//
// See crc32.h. Four bits at a time, the lowest first.
#include "io/crc32.h"

#include <array>

namespace thimble {
namespace {

constexpr uint32_t kPolynomial = 0xedb88320;  // x^32 + x^26 + ... + 1, the highest power in the lowest bit

constexpr std::array<uint32_t, 16> kTable = [] {
  std::array<uint32_t, 16> table = {};
  for (uint32_t i = 0; i < 16; ++i) {
    table[i] = i;
    for (int bit = 0; bit < 4; ++bit) table[i] = table[i] >> 1 ^ ((table[i] & 1) != 0 ? kPolynomial : 0);
  }
  return table;
}();

}  // namespace

void Crc32::Add(std::span<const std::byte> bytes) {
  uint32_t state = state_;
  for (const std::byte byte : bytes) {
    state ^= static_cast<uint32_t>(byte);
    state = state >> 4 ^ kTable[state & 15];
    state = state >> 4 ^ kTable[state & 15];
  }
  state_ = state;
}

}  // namespace thimble
