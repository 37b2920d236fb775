// SPDX-License-Identifier: Apache-2.0
//
// Whole numbers as text. On a core without 64-bit division the compiler's own brings 700 bytes, so this divides in
// pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace thimble {

inline constexpr size_t kDecimalDigits = 20;  // of the largest uint64_t

/// `number` in decimal; the text lies at the end of `out`.
inline std::string_view Decimal(uint64_t number, std::span<char, kDecimalDigits> out) {
  size_t begin = out.size();
  do {
    // By ten from the top, each piece with the rest of the one before in front: below 10 * 2^16, or 2^32.
    const auto high = static_cast<uint32_t>(number >> 32);
    const auto low = static_cast<uint32_t>(number);
    const uint32_t middle = high % 10 << 16 | low >> 16;
    const uint32_t last = middle % 10 << 16 | (low & 0xffff);
    out[--begin] = static_cast<char>('0' + last % 10);
    number = uint64_t{high / 10} << 32 | (middle / 10 << 16 | last / 10);
  } while (number != 0);
  return {out.data() + begin, out.size() - begin};
}

}  // namespace thimble
