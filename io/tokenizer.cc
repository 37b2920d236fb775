// SPDX-License-Identifier: Apache-2.0
//
// Bind proves the keys; Encode goes special tokens, normal form, pieces, byte pairs.
#include "io/tokenizer.h"

#include <algorithm>

#include "io/byte_alphabet.h"
#include "io/token_index_builder.h"
#include "io/unicode.h"

namespace thimble {

namespace {

constexpr std::string_view kPreKey = "tokenizer.ggml.pre";
constexpr std::string_view kNfcKey = "tokenizer.ggml.normalizer.nfc";
constexpr std::string_view kLowercaseKey = "tokenizer.ggml.normalizer.lowercase";
constexpr std::string_view kStripAccentsKey = "tokenizer.ggml.normalizer.strip_accents";
constexpr std::string_view kEosKey = "tokenizer.ggml.eos_token_id";
constexpr std::string_view kEotKey = "tokenizer.ggml.eot_token_id";

/// A bool that may be absent.
Error ReadBool(const Gguf& file, std::string_view key, bool& value) {
  const auto found = file.Find(key);
  if (!found) return {};
  if (!found->AsBool()) return {Status::kBadFile, "this key must be true or false", key};
  value = *found->AsBool();
  return {};
}

}  // namespace

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
  Tokenizer tokenizer;
  tokenizer.rules_ = &rules;
  TokenIndexBuilder builder;
  if (Error error = tokenizer.ReadKeys(file); !error.ok()) return error;
  if (Error error = builder.Take(file, tokenizer.vocabulary_, arena); !error.ok()) return error;
  if (Error error = tokenizer.TakeWork(max_text, arena); !error.ok()) return error;
  if (arena.measuring()) return tokenizer;
  if (Error error = builder.Build(); !error.ok()) return error;
  tokenizer.index_ = TokenIndex(tokenizer.vocabulary_, builder.words().data());
  tokenizer.FindBegins();
  if (Error error = tokenizer.AddEnds(file); !error.ok()) return error;
  return tokenizer;
}

Result<Tokenizer> Tokenizer::BindIndexed(const Gguf& file, size_t max_text, Arena& arena, const TextRules& rules) {
  Tokenizer tokenizer;
  tokenizer.rules_ = &rules;
  if (Error error = tokenizer.ReadKeys(file); !error.ok()) return error;
  const Result<TokenIndex> index = TokenIndex::Read(file, tokenizer.vocabulary_);
  if (!index) return index.error();
  tokenizer.index_ = *index;
  if (Error error = tokenizer.TakeWork(max_text, arena); !error.ok()) return error;
  tokenizer.FindBegins();
  if (Error error = tokenizer.AddEnds(file); !error.ok()) return error;
  return tokenizer;
}

Error Tokenizer::ReadKeys(const Gguf& file) {
  const Result<Vocabulary> vocabulary = Vocabulary::Read(file);
  if (!vocabulary) return vocabulary.error();
  vocabulary_ = *vocabulary;
  const auto pre = file.Find(kPreKey);
  if (!pre) return {Status::kNotFound, "the file has no tokenizer, or not all of one", kPreKey};
  const auto name = pre->AsString();
  if (!name) return {Status::kBadFile, "this key must be a string", kPreKey};
  if (*name != "qwen35" && *name != "qwen2") {
    return {Status::kUnsupported, "only the pre-tokenizers qwen35 and qwen2 are supported", kPreKey, *name};
  }
  pre_ = *name == "qwen35" ? PreTokenizer::kQwen35 : PreTokenizer::kQwen2;
  for (const std::string_view key : {kLowercaseKey, kStripAccentsKey}) {
    bool wanted = false;
    if (Error error = ReadBool(file, key, wanted); !error.ok()) return error;
    if (wanted) return {Status::kUnsupported, "this normalisation of text is not supported; normal form C is", key};
  }
  const Error error = ReadBool(file, kNfcKey, nfc_);
  nfc_ = nfc_ && rules_->to_nfc != nullptr;
  return error;
}

/// The scratch of Encode.
Error Tokenizer::TakeWork(size_t max_text, Arena& arena) {
  if (max_text > kMaxText) return {Status::kTooLarge, "a text this long can not be planned for", max_text};
  const size_t max_normal = (nfc_ ? kNfcGrowth : 1) * max_text;
  work_.Take(max_normal, arena);
  normal_ = arena.Take<char>(nfc_ ? max_normal : 0);
  max_text_ = max_text;
  return arena.error();
}

/// With which bytes a special token may begin.
void Tokenizer::FindBegins() {
  for (const uint32_t token : index_.specials()) {
    const std::string_view text = index_.Text(static_cast<Token>(token));
    if (text.empty()) continue;
    const auto first = static_cast<unsigned char>(text[0]);
    special_begins_[first / 64] |= uint64_t{1} << first % 64;
  }
}

Error Tokenizer::AddEnds(const Gguf& file) {
  for (const std::string_view key : {kEosKey, kEotKey}) {
    const auto value = file.Find(key);
    if (!value) continue;
    const auto id = value->AsUnsigned();
    if (!id || *id >= vocabulary_.size)
      return {Status::kBadFile, "this key must be a token's number", key, {}, id.value_or(0)};
    AddEnd(static_cast<Token>(*id));
  }
  for (const std::string_view text : {"<|im_end|>", "<|endoftext|>"}) {
    if (const Token token = index_.FindSpecial(text); token >= 0) AddEnd(token);
  }
  return {};
}

void Tokenizer::AddEnd(Token token) {
  const auto ends = end_tokens();
  if (std::find(ends.begin(), ends.end(), token) == ends.end()) end_tokens_[end_count_++] = token;
}

/// The first special token in `text`, of several that begin there the longest; at text.size() with 0 bytes if none.
Tokenizer::Special Tokenizer::NextSpecial(std::string_view text) const {
  for (size_t at = 0; at < text.size(); ++at) {
    const auto first = static_cast<unsigned char>(text[at]);
    if ((special_begins_[first / 64] >> first % 64 & 1) == 0) continue;
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
  if (nfc_ && !rules_->is_surely_nfc(text)) {
    text = {normal_, rules_->to_nfc(text, work_.room(0), work_.room(1), normal_)};
  }
  while (!text.empty()) {
    const std::string_view piece = {text.data(), FirstPiece(text, pre_, *rules_)};
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
  return vocabulary_.Has(token) ? index_.Text(token) : std::string_view();
}

size_t Tokenizer::Decode(Token token, std::span<char> out) const {
  const std::string_view text = TokenText(token);
  size_t size = 0;
  bool literal = !vocabulary_.Has(token) || vocabulary_.IsSpecial(token) || IsUnused(token);
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
