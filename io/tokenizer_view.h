// SPDX-License-Identifier: Apache-2.0
//
// What a tokenizer reads: tokens, types and index where they lie, and the few facts that stand beside them. Proves them
// of a file; it encodes nothing. A program whose model is linked has one as a constant (linked_model.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/config.h"
#include "core/error.h"
#include "io/gguf.h"
#include "io/pretokenizer.h"
#include "io/token_index.h"

namespace thimble {

struct TokenizerView {
  /// All of it, of a file that has an index of its tokens. kUnsupported: another kind of tokenizer, or an index of
  /// another version; kNotFound: a key that must be there is not, or there is no index; kBadFile: tokens, types and
  /// index do not fit together (of an index, what TokenIndex::Read proves).
  static Result<TokenizerView> Read(const Gguf& file);

  /// The same in two steps, for who builds the index: all but that, and then what follows from its words.
  static Result<TokenizerView> ReadKeys(const Gguf& file);
  Error SetIndex(const Gguf& file, const uint32_t* words);

  Vocabulary vocabulary;
  const uint32_t* index = nullptr;  // the words of a TokenIndex
  PreTokenizer pre = PreTokenizer::kQwen35;
  bool nfc = true;                              // text is brought to form C
  std::array<uint64_t, 4> special_begins = {};  // bit b: a special token begins with byte b
  std::array<Token, 4> end_tokens = {};
  size_t end_count = 0;  // of them in use
};

}  // namespace thimble
