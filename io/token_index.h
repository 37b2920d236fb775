// SPDX-License-Identifier: Apache-2.0
//
// From the text of a token to its number and back. The texts stay in the file; a hash table and their offsets are here.
// It knows nothing of types, merges and the byte alphabet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/arena.h"
#include "core/config.h"

namespace thimble {

/// All tokens of a file, found by their text.
class TokenIndex {
 public:
  static constexpr uint32_t kMax = (uint32_t{1} << 24) - 1;  // tokens
  static constexpr Token kNone = -1;

  /// Takes room for `count` tokens (at most kMax): 12 bytes each. When the arena has memory the index is empty
  /// afterwards.
  void Take(size_t count, Arena& arena);

  /// Adds the next token; false when its text is there already. Texts stand in the file as GGUF's strings do, one
  /// behind the other and each behind its length in 8 bytes; the last begins within 4 GiB of the first.
  bool Add(std::string_view text);

  size_t size() const { return count_; }
  std::string_view Text(Token token) const;
  /// Whether a token's text is `left` and then `right`. False for a token beyond the last.
  bool Spells(Token token, std::string_view left, std::string_view right) const;
  /// The token that spells `left` and then `right`, or kNone.
  Token Find(std::string_view left, std::string_view right = {}) const;

 private:
  size_t SlotOf(uint32_t hash, std::string_view left, std::string_view right) const;

  const char* base_ = nullptr;   // the first text
  uint32_t* offsets_ = nullptr;  // [count_], of each text from base_
  uint32_t* slots_ = nullptr;    // [slot_count_]; token << 8 | a part of the hash; about half are free
  size_t slot_count_ = 0;
  size_t count_ = 0;
};

}  // namespace thimble
