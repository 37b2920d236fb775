// SPDX-License-Identifier: Apache-2.0
//
// Proves tokens, types and an index of them, each in one pass.
#include "io/token_index.h"

#include <algorithm>
#include <cstring>

namespace thimble {

namespace {

constexpr std::string_view kModelKey = "tokenizer.ggml.model";
constexpr std::string_view kTokensKey = "tokenizer.ggml.tokens";
constexpr std::string_view kTypesKey = "tokenizer.ggml.token_type";
constexpr const char* kIncomplete = "the file has no tokenizer, or not all of one";

}  // namespace

Error ReadTokenStrings(const Gguf& file, std::string_view key, GgufStrings& strings) {
  const auto value = file.Find(key);
  if (!value) return {Status::kNotFound, kIncomplete, key};
  const auto array = value->AsStrings();
  if (!array) return {Status::kBadFile, "this key must be an array of strings", key};
  if (array->size() > Vocabulary::kMax) return {Status::kTooLarge, "this array is too long", key, {}, array->size()};
  strings = *array;
  return {};
}

Result<Vocabulary> Vocabulary::Read(const Gguf& file) {
  Vocabulary vocabulary;
  const auto model = file.Find(kModelKey);
  if (!model) return Error{Status::kNotFound, kIncomplete, kModelKey};
  const auto name = model->AsString();
  if (!name) return Error{Status::kBadFile, "this key must be a string", kModelKey};
  if (*name != "gpt2") {
    return Error{Status::kUnsupported, "only byte-level BPE (gpt2) is supported", kModelKey, *name};
  }
  if (Error error = ReadTokenStrings(file, kTokensKey, vocabulary.texts); !error.ok()) return error;
  vocabulary.size = static_cast<size_t>(vocabulary.texts.size());
  const char* base = vocabulary.base();
  for (const std::string_view text : vocabulary.texts) {
    vocabulary.max_bytes = std::max(vocabulary.max_bytes, text.size());
    if (static_cast<uint64_t>(text.data() - base) > UINT32_MAX) {
      return Error{Status::kTooLarge, "the texts of the tokens are longer than 4 GiB", kTokensKey};
    }
  }

  const auto types = file.Find(kTypesKey);
  if (!types) return Error{Status::kNotFound, kIncomplete, kTypesKey};
  if (types->type != GgufType::kArray || (types->element != GgufType::kI32 && types->element != GgufType::kU32)) {
    return Error{Status::kBadFile, "this key must be an array of 32-bit integers", kTypesKey};
  }
  if (types->count != vocabulary.size)
    return Error{Status::kBadFile, "there must be a type for each token", kTypesKey, {}, types->count};
  vocabulary.types = types->data;
  for (size_t i = 0; i < vocabulary.size; ++i) {
    const std::byte* type = vocabulary.types + 4 * i;
    if (type[0] > std::byte{kByte} || (type[1] | type[2] | type[3]) != std::byte{0}) {
      return Error{Status::kBadFile, "this token's type is none of GGUF's", kTypesKey, {}, i};
    }
    vocabulary.specials += vocabulary.IsSpecial(static_cast<Token>(i)) ? 1 : 0;
  }
  return vocabulary;
}

TokenIndex::TokenIndex(const Vocabulary& vocabulary, const uint32_t* words)
    : base_(vocabulary.base()),
      byte_tokens_(words + kFront),
      offsets_(byte_tokens_ + kBytes),
      specials_(offsets_ + vocabulary.size),
      special_count_(vocabulary.specials),
      merges_(specials_ + special_count_, words[1]) {}

Result<TokenIndex> TokenIndex::Read(const Gguf& file, const Vocabulary& vocabulary) {
  constexpr const char* kMend =
      "the tokenizer's index is not of these tokens; make the pack again with: thimble pack "
      "SOURCE -o THIS";
  const auto value = file.Find(kKey);
  if (!value) {
    return Error{Status::kNotFound, "this file has no index of its tokens; make one with: thimble pack SOURCE -o PACK",
                 kKey};
  }
  if (value->type != GgufType::kArray || value->element != GgufType::kU32 || value->count < kFront ||
      reinterpret_cast<uintptr_t>(value->data) % alignof(uint32_t) != 0) {
    return Error{Status::kBadFile, kMend, kKey};
  }
  const auto* words = reinterpret_cast<const uint32_t*>(value->data);
  if (words[0] != kVersion) {
    return Error{Status::kUnsupported,
                 "the tokenizer's index was made by another version of thimble; make the pack again with: thimble pack "
                 "SOURCE -o THIS",
                 kKey,
                 {},
                 words[0]};
  }
  if (words[1] > Vocabulary::kMax || value->count != Words(vocabulary, words[1])) {
    return Error{Status::kBadFile, kMend, kKey};
  }
  const TokenIndex index(vocabulary, words);
  if (!index.Proven(vocabulary)) return Error{Status::kBadFile, kMend, kKey};
  return index;
}

bool TokenIndex::Proven(const Vocabulary& vocabulary) const {
  const uint32_t* offset = offsets_;
  for (const std::string_view text : vocabulary.texts) {
    if (*offset++ != static_cast<uint32_t>(text.data() - base_)) return false;
  }
  for (size_t byte = 0; byte < kBytes; ++byte) {
    if (byte_tokens_[byte] >= vocabulary.size) return false;
  }
  // As many as there are, in strict order, each of the right type: these are all of them.
  for (size_t i = 0; i < special_count_; ++i) {
    if (specials_[i] >= vocabulary.size || !vocabulary.IsSpecial(static_cast<Token>(specials_[i]))) return false;
    if (i > 0 && Text(static_cast<Token>(specials_[i - 1])) >= Text(static_cast<Token>(specials_[i]))) return false;
  }
  return merges_.Proven(vocabulary.size);
}

std::string_view TokenIndex::Text(Token token) const {
  const char* text = base_ + offsets_[token];
  uint64_t length;
  std::memcpy(&length, text - sizeof length, sizeof length);
  return {text, static_cast<size_t>(length)};
}

Token TokenIndex::FindSpecial(std::string_view text) const {
  const uint32_t* end = specials_ + special_count_;
  const uint32_t* found =
      std::partition_point(specials_, end, [&](uint32_t token) { return Text(static_cast<Token>(token)) < text; });
  return found != end && Text(static_cast<Token>(*found)) == text ? static_cast<Token>(*found) : -1;
}

}  // namespace thimble
