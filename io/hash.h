// SPDX-License-Identifier: Apache-2.0
//
// The checksum of packs and snapshots: XXH3 with 128 bits, over bytes that come in pieces. It finds accidents, not
// enemies.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace thimble {

class Hash {
 public:
  Hash();
  void Add(std::span<const std::byte> bytes);

  /// Of all bytes so far.
  uint64_t low64() const;

  /// The whole 128 bits, the low half first.
  std::array<uint64_t, 2> digest() const;

  /// The same as text: 32 hexadecimal digits, the highest first, as xxhsum -H128 writes them.
  std::array<char, 32> hex() const;

 private:
  alignas(64) std::byte state_[576];
};

/// low64 of `bytes`.
uint64_t HashOf(std::span<const std::byte> bytes);

}  // namespace thimble
