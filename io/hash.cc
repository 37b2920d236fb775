// SPDX-License-Identifier: Apache-2.0
//
// See hash.h. The only file that sees xxHash, which is a header here: nothing to link, nothing to load.
#include "io/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace thimble {
namespace {

XXH3_state_t* StateIn(std::byte* bytes) { return reinterpret_cast<XXH3_state_t*>(bytes); }
const XXH3_state_t* StateIn(const std::byte* bytes) { return reinterpret_cast<const XXH3_state_t*>(bytes); }

}  // namespace

Hash::Hash() {
  static_assert(sizeof(XXH3_state_t) <= sizeof state_ && alignof(XXH3_state_t) <= 64);
  XXH3_INITSTATE(StateIn(state_));
  XXH3_128bits_reset(StateIn(state_));
}

void Hash::Add(std::span<const std::byte> bytes) { XXH3_128bits_update(StateIn(state_), bytes.data(), bytes.size()); }

uint64_t Hash::low64() const { return XXH3_128bits_digest(StateIn(state_)).low64; }

std::array<uint64_t, 2> Hash::digest() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(StateIn(state_));
  return {hash.low64, hash.high64};
}

std::array<char, 32> Hash::hex() const {
  const std::array<uint64_t, 2> hash = digest();
  std::array<char, 32> text;
  for (size_t i = 0; i < text.size(); ++i) {
    const uint64_t half = i < 16 ? hash[1] : hash[0];
    text[i] = "0123456789abcdef"[half >> (60 - 4 * (i % 16)) & 15];
  }
  return text;
}

uint64_t HashOf(std::span<const std::byte> bytes) { return XXH3_128bits(bytes.data(), bytes.size()).low64; }

}  // namespace thimble
