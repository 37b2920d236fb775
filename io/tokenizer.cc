// SPDX-License-Identifier: Apache-2.0
//
// Encode goes special tokens, normal form, pieces, byte pairs.
#include "io/tokenizer.h"

#include <algorithm>

#include "io/byte_alphabet.h"
#include "io/token_index_builder.h"
#include "io/unicode.h"

namespace thimble {

/// Where Encode writes: counts on when the room ends.
struct Tokenizer::Sink {
  void Put(Token token) {
    if (count < out.size()) out[count] = token;
    ++count;
  }
  std::span<Token> out;
  size_t count;
};

Result<Tokenizer> Tokenizer::Bind(const Gguf& file, size_t max_text, Arena& arena, const TextRules& rules) {
  if (file.Find(TokenIndex::kKey)) return BindIndexed(file, max_text, arena, rules);
  const Result<TokenizerView> view = TokenizerView::ReadKeys(file);
  if (!view) return view.error();
  Tokenizer tokenizer(*view, rules);
  TokenIndexBuilder builder;
  if (Error error = builder.Take(file, view->vocabulary, arena); !error.ok()) return error;
  if (Error error = tokenizer.TakeWork(max_text, arena); !error.ok()) return error;
  if (arena.measuring()) return tokenizer;
  if (Error error = builder.Build(); !error.ok()) return error;
  if (Error error = tokenizer.view_.SetIndex(file, builder.words().data()); !error.ok()) return error;
  tokenizer.index_ = TokenIndex(view->vocabulary, tokenizer.view_.index);
  return tokenizer;
}

Result<Tokenizer> Tokenizer::BindIndexed(const Gguf& file, size_t max_text, Arena& arena, const TextRules& rules) {
  const Result<TokenizerView> view = TokenizerView::Read(file);
  if (!view) return view.error();
  return Bind(*view, max_text, arena, rules);
}

Result<Tokenizer> Tokenizer::Bind(const TokenizerView& view, size_t max_text, Arena& arena, const TextRules& rules) {
  Tokenizer tokenizer(view, rules);
  tokenizer.index_ = TokenIndex(view.vocabulary, view.index);
  if (Error error = tokenizer.TakeWork(max_text, arena); !error.ok()) return error;
  return tokenizer;
}

Tokenizer::Tokenizer(const TokenizerView& view, const TextRules& rules) : view_(view), rules_(&rules) {
  view_.nfc = view.nfc && rules.to_nfc != nullptr;
}

/// The scratch of Encode.
Error Tokenizer::TakeWork(size_t max_text, Arena& arena) {
  if (max_text > kMaxText) return {Status::kTooLarge, "a text this long can not be planned for", max_text};
  const size_t max_normal = (view_.nfc ? kNfcGrowth : 1) * max_text;
  work_.Take(max_normal, arena);
  normal_ = arena.Take<char>(view_.nfc ? max_normal : 0);
  max_text_ = max_text;
  return arena.error();
}

/// The first special token in `text`, of several that begin there the longest; at text.size() with 0 bytes if none.
Tokenizer::Special Tokenizer::NextSpecial(std::string_view text) const {
  for (size_t at = 0; at < text.size(); ++at) {
    const auto first = static_cast<unsigned char>(text[at]);
    if ((view_.special_begins[first / 64] >> first % 64 & 1) == 0) continue;
    // Those that agree with the text so far stand side by side: narrow them by one byte at a time.
    Special found = {text.size(), 0, 0};
    const uint32_t* begin = index_.specials().data();
    const uint32_t* end = begin + index_.specials().size();
    for (size_t depth = 0; begin != end && at + depth < text.size(); ++depth) {
      const auto byte = static_cast<unsigned char>(text[at + depth]);
      const auto byte_of = [this, depth](uint32_t token) {
        const std::string_view spelled = index_.Text(static_cast<Token>(token));
        return depth < spelled.size() ? static_cast<unsigned char>(spelled[depth]) : -1;
      };
      begin = std::partition_point(begin, end, [&](uint32_t token) { return byte_of(token) < byte; });
      end = std::partition_point(begin, end, [&](uint32_t token) { return byte_of(token) == byte; });
      if (begin == end) break;
      const auto first_token = static_cast<Token>(*begin);
      if (index_.Text(first_token).size() == depth + 1) found = {at, depth + 1, first_token};
    }
    if (found.bytes != 0) return found;
  }
  return {text.size(), 0, 0};
}

/// Ordinary text, as long as it is without a special token: what comes after one begins anew.
void Tokenizer::EncodeText(std::string_view text, Sink& sink) {
  if (view_.nfc && !rules_->is_surely_nfc(text)) {
    text = {normal_, rules_->to_nfc(text, work_.room(0), work_.room(1), normal_)};
  }
  while (!text.empty()) {
    const std::string_view piece = {text.data(), FirstPiece(text, view_.pre, *rules_)};
    text.remove_prefix(piece.size());
    work_.Merge(piece, index_.byte_tokens(), index_.merges());
    for (size_t symbol = 0; symbol < piece.size(); symbol = work_.Next(symbol)) sink.Put(work_.TokenAt(symbol));
  }
}

Result<size_t> Tokenizer::Encode(std::string_view text, Specials specials, std::span<Token> out) {
  if (text.size() > max_text_) {
    return Error{Status::kTooLarge, "the text is longer than was planned for", text.size()};
  }
  if (const size_t at = FindUnknown(*rules_, text); at < text.size()) {
    return Error{Status::kUnsupported,
                 "this program reads text of Latin script only; a character at this byte is another", at};
  }
  Sink sink = {out, 0};
  while (!text.empty()) {
    const Special found = specials == Specials::kRecognise ? NextSpecial(text) : Special{text.size(), 0, 0};
    EncodeText({text.data(), found.at}, sink);
    if (found.bytes != 0) sink.Put(found.token);
    text.remove_prefix(found.at + found.bytes);
  }
  if (sink.count > out.size()) {
    return Error{Status::kTooSmall, "there is no room for this many tokens", sink.count};
  }
  return sink.count;
}

std::string_view Tokenizer::TokenText(Token token) const {
  return view_.vocabulary.Has(token) ? index_.Text(token) : std::string_view();
}

size_t Tokenizer::Decode(Token token, std::span<char> out) const {
  const std::string_view text = TokenText(token);
  size_t size = 0;
  bool literal = !view_.vocabulary.Has(token) || view_.vocabulary.IsSpecial(token) || IsUnused(token);
  for (size_t at = 0; at < text.size() && !literal;) {
    const Utf8Char c = ReadUtf8({text.data() + at, text.size() - at});
    at += c.bytes;
    literal = c.kind != Utf8Char::Kind::kWhole || c.point >= kAlphabetEnd || kByteOfPoint[c.point] > 255;
    if (!literal) out[size++] = static_cast<char>(kByteOfPoint[c.point]);
  }
  if (!literal) return size;
  std::copy(text.begin(), text.end(), out.begin());  // not of the byte alphabet: it spells itself
  return text.size();
}

Result<Token> Tokenizer::Find(std::string_view special) const {
  const Token token = index_.FindSpecial(special);
  if (token >= 0) return token;
  return Error{Status::kNotFound, "the vocabulary has no such special token", special};
}

}  // namespace thimble
