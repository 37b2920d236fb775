// SPDX-License-Identifier: Apache-2.0
//
// Bind proves the keys and fills the tables; Encode goes special tokens, normal form, pieces, byte pairs.
#include "io/tokenizer.h"

#include <algorithm>

#include "io/unicode.h"

namespace thimble {

namespace {

constexpr std::string_view kModelKey = "tokenizer.ggml.model";
constexpr std::string_view kPreKey = "tokenizer.ggml.pre";
constexpr std::string_view kTokensKey = "tokenizer.ggml.tokens";
constexpr std::string_view kTypesKey = "tokenizer.ggml.token_type";
constexpr std::string_view kMergesKey = "tokenizer.ggml.merges";
constexpr std::string_view kNfcKey = "tokenizer.ggml.normalizer.nfc";
constexpr std::string_view kLowercaseKey = "tokenizer.ggml.normalizer.lowercase";
constexpr std::string_view kStripAccentsKey = "tokenizer.ggml.normalizer.strip_accents";
constexpr std::string_view kEosKey = "tokenizer.ggml.eos_token_id";
constexpr std::string_view kEotKey = "tokenizer.ggml.eot_token_id";

// The byte alphabet: bytes that print keep their code point, the other 68 take U+0100 onwards in their order.
constexpr uint32_t kAlphabetEnd = 0x100 + 68;

constexpr bool Prints(uint32_t byte) { return (byte > 32 && byte < 127) || (byte > 160 && byte != 173); }

/// The code point of each byte, and the other way round: kAlphabetEnd entries, 256 where none.
constexpr auto kPointOfByte = [] {
  std::array<uint16_t, 256> points{};
  uint16_t next = 0x100;
  for (uint16_t byte = 0; byte < 256; ++byte) points[byte] = Prints(byte) ? byte : next++;
  return points;
}();

constexpr auto kByteOfPoint = [] {
  std::array<uint16_t, kAlphabetEnd> bytes{};
  bytes.fill(256);
  for (uint16_t byte = 0; byte < 256; ++byte) bytes[kPointOfByte[byte]] = byte;
  return bytes;
}();

/// The string of a key that must be `first` or `second`.
Error CheckName(const Gguf& file, std::string_view key, std::string_view first, std::string_view second,
                const char* refusal) {
  const auto value = file.Find(key);
  if (!value) return {Status::kNotFound, "the file has no tokenizer, or not all of one", key};
  const auto text = value->AsString();
  if (!text) return {Status::kBadFile, "this key must be a string", key};
  return *text == first || *text == second ? Error{} : Error{Status::kUnsupported, refusal, key, *text};
}

Error ReadStrings(const Gguf& file, std::string_view key, GgufStrings& strings) {
  const auto value = file.Find(key);
  if (!value) return {Status::kNotFound, "the file has no tokenizer, or not all of one", key};
  const auto array = value->AsStrings();
  if (!array) return {Status::kBadFile, "this key must be an array of strings", key};
  if (array->size() > TokenIndex::kMax) return {Status::kTooLarge, "this array is too long", key, {}, array->size()};
  strings = *array;
  return {};
}

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

Result<Tokenizer> Tokenizer::Bind(const Gguf& file, size_t max_text, Arena& arena) {
  Tokenizer tokenizer;
  GgufStrings tokens(nullptr, 0);
  GgufStrings merges(nullptr, 0);
  if (Error error = tokenizer.ReadKind(file); !error.ok()) return error;
  if (Error error = ReadStrings(file, kTokensKey, tokens); !error.ok()) return error;
  if (Error error = ReadStrings(file, kMergesKey, merges); !error.ok()) return error;
  if (Error error = tokenizer.MeasureTokens(tokens); !error.ok()) return error;
  if (Error error = tokenizer.ReadTypes(file); !error.ok()) return error;
  if (max_text > kMaxText) return Error{Status::kTooLarge, "a text this long can not be planned for", {}, {}, max_text};

  const size_t max_normal = (tokenizer.nfc_ ? kNfcGrowth : 1) * max_text;
  tokenizer.index_.Take(tokenizer.count_, arena);
  tokenizer.merges_.Take(static_cast<size_t>(merges.size()), arena);
  tokenizer.specials_ = arena.Take<Token>(tokenizer.special_count_);
  tokenizer.work_.Take(max_normal, arena);
  tokenizer.normal_ = arena.Take<char>(tokenizer.nfc_ ? max_normal : 0);
  tokenizer.max_text_ = max_text;
  if (arena.measuring()) return tokenizer;
  if (Error error = arena.error(); !error.ok()) return error;

  if (Error error = tokenizer.AddTokens(tokens); !error.ok()) return error;
  if (Error error = tokenizer.AddMerges(merges); !error.ok()) return error;
  if (Error error = tokenizer.AddBytes(); !error.ok()) return error;
  tokenizer.AddSpecials();
  if (Error error = tokenizer.AddEnds(file); !error.ok()) return error;
  return tokenizer;
}

Error Tokenizer::ReadKind(const Gguf& file) {
  if (Error error = CheckName(file, kModelKey, "gpt2", "gpt2", "only byte-level BPE (gpt2) is supported");
      !error.ok()) {
    return error;
  }
  if (Error error =
          CheckName(file, kPreKey, "qwen35", "qwen2", "only the pre-tokenizers qwen35 and qwen2 are supported");
      !error.ok()) {
    return error;
  }
  pre_ = file.Find(kPreKey)->AsString() == "qwen35" ? PreTokenizer::kQwen35 : PreTokenizer::kQwen2;
  for (const std::string_view key : {kLowercaseKey, kStripAccentsKey}) {
    bool wanted = false;
    if (Error error = ReadBool(file, key, wanted); !error.ok()) return error;
    if (wanted) return {Status::kUnsupported, "this normalisation of text is not supported; normal form C is", key};
  }
  return ReadBool(file, kNfcKey, nfc_);
}

/// What Take and others need to know before there is an index.
Error Tokenizer::MeasureTokens(const GgufStrings& tokens) {
  count_ = static_cast<size_t>(tokens.size());
  const char* base = count_ > 0 ? (*tokens.begin()).data() : nullptr;
  for (const std::string_view text : tokens) {
    max_token_bytes_ = std::max(max_token_bytes_, text.size());
    if (static_cast<uint64_t>(text.data() - base) > UINT32_MAX) {
      return {Status::kTooLarge, "the texts of the tokens are longer than 4 GiB", kTokensKey};
    }
  }
  return {};
}

Error Tokenizer::ReadTypes(const Gguf& file) {
  const auto value = file.Find(kTypesKey);
  if (!value) return {Status::kNotFound, "the file has no tokenizer, or not all of one", kTypesKey};
  if (value->type != GgufType::kArray || (value->element != GgufType::kI32 && value->element != GgufType::kU32)) {
    return {Status::kBadFile, "this key must be an array of 32-bit integers", kTypesKey};
  }
  if (value->count != count_)
    return {Status::kBadFile, "there must be a type for each token", kTypesKey, {}, value->count};
  types_ = value->data;
  for (size_t i = 0; i < count_; ++i) {
    const std::byte* type = types_ + 4 * i;
    if (type[0] > std::byte{kByte} || (type[1] | type[2] | type[3]) != std::byte{0}) {
      return {Status::kBadFile, "this token's type is none of GGUF's", kTypesKey, {}, i};
    }
    special_count_ += IsSpecial(static_cast<Token>(i)) ? 1 : 0;
  }
  return {};
}

Error Tokenizer::AddTokens(const GgufStrings& tokens) {
  for (const std::string_view text : tokens) {
    if (!index_.Add(text)) return {Status::kBadFile, "this token is in the vocabulary twice", text, {}, index_.size()};
  }
  return {};
}

Error Tokenizer::AddMerges(const GgufStrings& merges) {
  uint64_t rank = 0;
  Token joined = TokenIndex::kNone;
  for (const std::string_view merge : merges) {
    const size_t space = merge.find(' ');
    const std::string_view left = merge.substr(0, space);
    const std::string_view right = space < merge.size() ? merge.substr(space + 1) : std::string_view();
    if (left.empty() || right.empty() || right.find(' ') != right.npos) {
      return {Status::kBadFile, "a merge must be two tokens with one space between", merge, {}, rank};
    }
    const Token a = index_.Find(left);
    const Token b = index_.Find(right);
    // Most vocabularies list what merges give in the order of the merges: try the next one before searching.
    joined = index_.Spells(joined + 1, left, right) ? joined + 1 : index_.Find(left, right);
    if (a == TokenIndex::kNone || b == TokenIndex::kNone || joined == TokenIndex::kNone) {
      return {Status::kBadFile, "the parts and the result of a merge must be in the vocabulary", merge, {}, rank};
    }
    if (!merges_.Add(a, b, joined)) return {Status::kBadFile, "this merge is listed twice", merge, {}, rank};
    ++rank;
  }
  return {};
}

Error Tokenizer::AddBytes() {
  for (size_t byte = 0; byte < byte_tokens_.size(); ++byte) {
    std::array<char, 4> text;
    const Token token = index_.Find({text.data(), WriteUtf8(kPointOfByte[byte], text.data())});
    if (token == TokenIndex::kNone)
      return {Status::kBadFile, "the vocabulary lacks a token for this byte", {}, {}, byte};
    byte_tokens_[byte] = token;
  }
  return {};
}

void Tokenizer::AddSpecials() {
  size_t found = 0;
  for (size_t i = 0; i < count_; ++i) {
    const auto token = static_cast<Token>(i);
    if (!IsSpecial(token) || index_.Text(token).empty()) continue;
    specials_[found++] = token;
    const auto first = static_cast<unsigned char>(index_.Text(token)[0]);
    special_begins_[first / 64] |= uint64_t{1} << first % 64;
  }
  special_count_ = found;
  std::sort(specials_, specials_ + found, [this](Token a, Token b) { return index_.Text(a) < index_.Text(b); });
}

Error Tokenizer::AddEnds(const Gguf& file) {
  for (const std::string_view key : {kEosKey, kEotKey}) {
    const auto value = file.Find(key);
    if (!value) continue;
    const auto id = value->AsUnsigned();
    if (!id || *id >= count_) return {Status::kBadFile, "this key must be a token's number", key, {}, id.value_or(0)};
    AddEnd(static_cast<Token>(*id));
  }
  for (const std::string_view text : {"<|im_end|>", "<|endoftext|>"}) {
    if (const Result<Token> token = Find(text)) AddEnd(*token);
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
    const Token* begin = specials_;
    const Token* end = specials_ + special_count_;
    for (size_t depth = 0; begin != end && at + depth < text.size(); ++depth) {
      const auto byte = static_cast<unsigned char>(text[at + depth]);
      const auto byte_of = [this, depth](Token token) {
        const std::string_view spelled = index_.Text(token);
        return depth < spelled.size() ? static_cast<unsigned char>(spelled[depth]) : -1;
      };
      begin = std::partition_point(begin, end, [&](Token token) { return byte_of(token) < byte; });
      end = std::partition_point(begin, end, [&](Token token) { return byte_of(token) == byte; });
      if (begin != end && index_.Text(*begin).size() == depth + 1) found = {at, depth + 1, *begin};
    }
    if (found.bytes != 0) return found;
  }
  return {text.size(), 0, 0};
}

/// Ordinary text, as long as it is without a special token: what comes after one begins anew.
void Tokenizer::EncodeText(std::string_view text, Sink& sink) {
  if (nfc_ && !IsSurelyNfc(text)) text = {normal_, ToNfc(text, work_.room(0), work_.room(1), normal_)};
  while (!text.empty()) {
    const std::string_view piece = text.substr(0, FirstPiece(text, pre_));
    text.remove_prefix(piece.size());
    work_.Merge(piece, byte_tokens_, merges_);
    for (size_t symbol = 0; symbol < piece.size(); symbol = work_.Next(symbol)) sink.Put(work_.TokenAt(symbol));
  }
}

Result<size_t> Tokenizer::Encode(std::string_view text, Specials specials, std::span<Token> out) {
  if (text.size() > max_text_) {
    return Error{Status::kTooLarge, "the text is longer than was planned for", {}, {}, text.size()};
  }
  Sink sink = {out, 0};
  while (!text.empty()) {
    const Special found = specials == Specials::kRecognise ? NextSpecial(text) : Special{text.size(), 0, 0};
    EncodeText(text.substr(0, found.at), sink);
    if (found.bytes != 0) sink.Put(found.token);
    text.remove_prefix(found.at + found.bytes);
  }
  if (sink.count > out.size()) {
    return Error{Status::kTooSmall, "there is no room for this many tokens", {}, {}, sink.count};
  }
  return sink.count;
}

std::string_view Tokenizer::TokenText(Token token) const {
  return Has(token) ? index_.Text(token) : std::string_view();
}

size_t Tokenizer::Decode(Token token, std::span<char> out) const {
  const std::string_view text = TokenText(token);
  size_t size = 0;
  bool literal = !Has(token) || IsSpecial(token) || IsUnused(token);
  for (size_t at = 0; at < text.size() && !literal;) {
    const Utf8Char c = ReadUtf8(text.substr(at));
    at += c.bytes;
    literal = c.kind != Utf8Char::Kind::kWhole || c.point >= kAlphabetEnd || kByteOfPoint[c.point] > 255;
    if (!literal) out[size++] = static_cast<char>(kByteOfPoint[c.point]);
  }
  if (!literal) return size;
  std::copy(text.begin(), text.end(), out.begin());  // not of the byte alphabet: it spells itself
  return text.size();
}

Result<Token> Tokenizer::Find(std::string_view special) const {
  const Token token = index_.Find(special);
  if (token != TokenIndex::kNone && IsSpecial(token)) return token;
  return Error{Status::kNotFound, "the vocabulary has no such special token", special};
}

}  // namespace thimble
