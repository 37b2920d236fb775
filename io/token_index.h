// SPDX-License-Identifier: Apache-2.0
//
// What a tokenizer looks things up in: the tokens as the file lists them, and an index of them that is read where it
// lies, in a pack or in an arena. Reads and proves both; building an index is token_index_builder.h's business.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/config.h"
#include "core/error.h"
#include "io/bpe.h"
#include "io/gguf.h"

namespace thimble {

/// What a file says of its tokens, proven by Read.
struct Vocabulary {
  static constexpr uint32_t kMax = (uint32_t{1} << 24) - 1;  // tokens; merges too

  /// tokenizer.ggml.token_type
  enum Type : uint8_t { kUndefined, kNormal, kUnknown, kControl, kUserDefined, kUnused, kByte };

  /// Proves model, tokens and types. kUnsupported: not byte-level BPE; kNotFound: a key is not there; kBadFile: they do
  /// not fit together; kTooLarge: too many.
  static Result<Vocabulary> Read(const Gguf& file);

  bool Has(Token token) const { return token >= 0 && static_cast<size_t>(token) < size; }
  Type TypeOf(Token token) const { return static_cast<Type>(types[4 * static_cast<size_t>(token)]); }
  bool IsSpecial(Token token) const { return TypeOf(token) == kControl || TypeOf(token) == kUserDefined; }
  /// Where the first text begins; the others stand behind it as GGUF's strings do, each behind its length in 8 bytes,
  /// the last within 4 GiB.
  const char* base() const { return size > 0 ? (*texts.begin()).data() : nullptr; }

  GgufStrings texts;
  const std::byte* types = nullptr;  // int32[size], little endian, not aligned
  size_t size = 0;                   // tokens
  size_t specials = 0;               // of them control or user-defined
  size_t max_bytes = 0;              // of a text
};

/// The strings of a key that must be there, at most Vocabulary::kMax.
Error ReadTokenStrings(const Gguf& file, std::string_view key, GgufStrings& strings);

/// The index: 32-bit words, little endian, in this order:
///
///     version, merges
///     byte_tokens[256]        the token of each byte
///     offsets[tokens]         of each text from the first
///     specials[specials]      control and user-defined tokens, sorted by their text
///     merges, slots           MergeTable
///
/// A file has it in one array, on a multiple of 4 bytes: 4 bytes a token, 20 a merge, 1 KiB.
class TokenIndex {
 public:
  static constexpr uint32_t kVersion = 1;
  static constexpr std::string_view kKey = "thimble.tokenizer.index";

  static size_t Words(const Vocabulary& vocabulary, size_t merges) {
    return kFront + kBytes + vocabulary.size + vocabulary.specials + MergeTable::Words(merges);
  }

  TokenIndex() = default;
  /// Of `words` that Words() counts and somebody has proven.
  TokenIndex(const Vocabulary& vocabulary, const uint32_t* words);

  /// The index that stands in `file`, whose tokens are `vocabulary`. Whatever its bytes are, afterwards every look-up
  /// ends and gives a token of the vocabulary; texts and specials are exactly the file's. kNotFound: there is none;
  /// kUnsupported: of another version; kBadFile: not of these tokens.
  static Result<TokenIndex> Read(const Gguf& file, const Vocabulary& vocabulary);

  const uint32_t* words() const { return byte_tokens_ - kFront; }
  std::string_view Text(Token token) const;
  std::span<const uint32_t> specials() const { return {specials_, special_count_}; }
  const uint32_t* byte_tokens() const { return byte_tokens_; }  // [256]
  const MergeTable& merges() const { return merges_; }
  /// The control or user-defined token with this text, or -1.
  Token FindSpecial(std::string_view text) const;

 private:
  friend class TokenIndexBuilder;
  static constexpr size_t kFront = 2;
  static constexpr size_t kBytes = 256;

  bool Proven(const Vocabulary& vocabulary) const;

  const char* base_ = nullptr;  // the first text
  const uint32_t* byte_tokens_ = nullptr;
  const uint32_t* offsets_ = nullptr;
  const uint32_t* specials_ = nullptr;
  size_t special_count_ = 0;
  MergeTable merges_;
};

}  // namespace thimble
