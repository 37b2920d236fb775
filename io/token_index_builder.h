// SPDX-License-Identifier: Apache-2.0
//
// Makes the index of a file's tokens and merges: for a pack, or in an arena for a file without one. A firmware that
// reads packs only never calls it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/arena.h"
#include "core/error.h"
#include "io/gguf.h"
#include "io/token_index.h"

namespace thimble {

class TokenIndexBuilder {
 public:
  /// Reads the key of the merges and takes the memory: 12 bytes a token, 20 a merge, 1 KiB. `vocabulary` is the
  /// file's.
  Error Take(const Gguf& file, const Vocabulary& vocabulary, Arena& arena);

  /// Fills the words, once the arena has had the memory. kBadFile: a token listed twice, a merge of what is not a token
  /// or into what is not one, a byte without a token.
  Error Build();

  /// What TokenIndex reads; no pointer while measuring.
  std::span<const uint32_t> words() const { return {words_, word_count_}; }

 private:
  static constexpr Token kNone = -1;

  Error AddTokens();
  Error AddMerges();
  Error AddBytes();
  void AddSpecials();

  size_t SlotOf(uint32_t hash, std::string_view left, std::string_view right) const;
  bool Spells(Token token, std::string_view left, std::string_view right) const;
  Token Find(std::string_view left, std::string_view right = {}) const;

  Vocabulary vocabulary_;
  GgufStrings merges_;
  TokenIndex index_;            // of words_
  uint32_t* words_ = nullptr;   // [word_count_]
  uint32_t* tokens_ = nullptr;  // [slot_count_]; by their text: token << 8 | a part of the hash; about half are free
  size_t word_count_ = 0;
  size_t slot_count_ = 0;
  size_t added_ = 0;  // tokens whose offsets are known
};

}  // namespace thimble
