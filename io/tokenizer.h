// SPDX-License-Identifier: Apache-2.0
//
// Text to tokens and back: byte-level BPE with Qwen3.5's pre-tokenizer, as GGUF's tokenizer.ggml.* describes it. The
// strings stay in the mapped file, and its index too if it has one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/arena.h"
#include "core/config.h"
#include "core/error.h"
#include "io/bpe.h"
#include "io/gguf.h"
#include "io/token_index.h"
#include "io/tokenizer_view.h"
#include "io/unicode.h"

namespace thimble {

/// How Encode treats text that spells a control or user-defined token ("<|im_end|>").
enum class Specials : uint8_t {
  kText,       // as ordinary text: what a user typed cannot end his own turn
  kRecognise,  // as that token
};

class Tokenizer {
 public:
  static constexpr size_t kMaxText = size_t{1} << 28;  // bytes

  /// Proves tokenizer.ggml.* and takes the memory; run on a measuring arena it only counts bytes. `max_text` is the
  /// longest text in bytes that Encode will get (at most kMaxText): its scratch is 29 bytes per byte of text (9 where
  /// the file turns normalisation off). A pack has its index of tokens in it, which is proven and read where it lies;
  /// of a file without one it is built in `arena`: 12 bytes per token, 20 per merge and 1 KiB.
  ///
  /// Text is normalised to form C unless tokenizer.ggml.normalizer.nfc says false: Qwen's own tokenizer does it, and
  /// files made before that key was in use do not say so. kUnsupported: another kind of tokenizer, or an index of
  /// another version; kNotFound: a key that must be there is not; kBadFile: tokens, types, merges and index do not fit
  /// together (a token listed twice, a merge of what is not a token or into what is not one; of an
  /// index, what TokenIndex::Read proves); kTooLarge, kTooSmall: memory.
  ///
  /// With kLatin for `rules` Encode takes text of these characters only, and the scratch is 9 bytes per byte in any
  /// case.
  static Result<Tokenizer> Bind(const Gguf& file, size_t max_text, Arena& arena, const TextRules& rules = kUnicode);

  /// The same of a file that has an index, kNotFound without: a program that calls only this one does not contain what
  /// builds an index.
  static Result<Tokenizer> BindIndexed(const Gguf& file, size_t max_text, Arena& arena,
                                       const TextRules& rules = kUnicode);

  /// The same of what was proven before: it only takes memory, and what reads files is not linked.
  static Result<Tokenizer> Bind(const TokenizerView& view, size_t max_text, Arena& arena,
                                const TextRules& rules = kUnicode);

  Tokenizer() = default;

  /// Tokens in the vocabulary, padding rows included.
  uint32_t size() const { return static_cast<uint32_t>(view_.vocabulary.size); }

  /// Writes the tokens of `text` to `out` and returns their number: the ids that Hugging Face's tokenizer gives,
  /// nothing added. kTooLarge when text is longer than max_text; kUnsupported with the byte where a character begins
  /// that the rules do not know; kTooSmall with the number needed when `out` is. A byte
  /// that is not part of a UTF-8 character counts as a symbol and keeps its own token, so that decoding gives the same
  /// bytes again.
  Result<size_t> Encode(std::string_view text, Specials specials, std::span<Token> out);

  /// As the file spells it: byte alphabet for ordinary tokens. Empty for a token beyond the list.
  std::string_view TokenText(Token token) const;
  /// Its bytes; returns how many. `out` has max_token_bytes() of room.
  size_t Decode(Token token, std::span<char> out) const;
  size_t max_token_bytes() const { return view_.vocabulary.max_bytes; }

  /// Not to be printed.
  bool IsControl(Token token) const {
    return view_.vocabulary.Has(token) && view_.vocabulary.TypeOf(token) == Vocabulary::kControl;
  }
  /// Never to be sampled.
  bool IsUnused(Token token) const {
    return !view_.vocabulary.Has(token) || view_.vocabulary.TypeOf(token) == Vocabulary::kUnused;
  }

  /// A control or user-defined token by its text; kNotFound.
  Result<Token> Find(std::string_view special) const;
  /// Where generation stops, none twice: the file's eos and eot, <|im_end|>, <|endoftext|>.
  std::span<const Token> end_tokens() const { return std::span(view_.end_tokens).first(view_.end_count); }

  /// A special token within a text: `bytes` from `at` on spell `token`.
  struct Special {
    size_t at;
    size_t bytes;  // 0: there is none
    Token token;
  };
  /// The first special token in `text`, of those that begin there the longest.
  Special NextSpecial(std::string_view text) const;

  /// The most tokens that a text of this many bytes can have.
  size_t MaxTokens(size_t text_bytes) const { return (view_.nfc ? kNfcGrowth : 1) * text_bytes; }

 private:
  struct Sink;

  Tokenizer(const TokenizerView& view, const TextRules& rules);
  Error TakeWork(size_t max_text, Arena& arena);
  void EncodeText(std::string_view text, Sink& sink);

  TokenizerView view_;  // nfc: only where the rules have something to do
  TokenIndex index_;
  BpeWork work_;
  const TextRules* rules_ = nullptr;
  size_t max_text_ = 0;
  char* normal_ = nullptr;  // [kNfcGrowth * max_text_], normalised text; null without
};

}  // namespace thimble
