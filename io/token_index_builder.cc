// SPDX-License-Identifier: Apache-2.0
//
// Tokens are found by their text through a hash table with open addressing over FNV-1a, which only building needs. A
// slot holds 8 bits of the hash beside the token, so that few texts are looked at in vain.
#include "io/token_index_builder.h"

#include <algorithm>
#include <array>

#include "io/byte_alphabet.h"
#include "io/unicode.h"

namespace thimble {

namespace {

constexpr std::string_view kMergesKey = "tokenizer.ggml.merges";
constexpr uint32_t kFree = UINT32_MAX;

uint32_t Hash(std::string_view left, std::string_view right) {
  uint32_t hash = 2166136261u;
  for (const char c : left) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  for (const char c : right) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return (hash ^ hash >> 15) * 0x9e3779b1u;
}

}  // namespace

Error TokenIndexBuilder::Take(const Gguf& file, const Vocabulary& vocabulary, Arena& arena) {
  vocabulary_ = vocabulary;
  if (Error error = ReadTokenStrings(file, kMergesKey, merges_); !error.ok()) return error;
  word_count_ = TokenIndex::Words(vocabulary, static_cast<size_t>(merges_.size()));
  slot_count_ = 2 * vocabulary.size + 1;
  words_ = arena.Take<uint32_t>(word_count_);
  tokens_ = arena.Take<uint32_t>(slot_count_);
  return {};
}

Error TokenIndexBuilder::Build() {
  words_[0] = TokenIndex::kVersion;
  words_[1] = static_cast<uint32_t>(merges_.size());
  index_ = TokenIndex(vocabulary_, words_);
  added_ = 0;
  if (Error error = AddTokens(); !error.ok()) return error;
  if (Error error = AddMerges(); !error.ok()) return error;
  AddSpecials();
  return AddBytes();
}

Error TokenIndexBuilder::AddTokens() {
  std::fill(tokens_, tokens_ + slot_count_, kFree);
  uint32_t* offsets = words_ + TokenIndex::kFront + TokenIndex::kBytes;
  const char* base = vocabulary_.base();
  for (const std::string_view text : vocabulary_.texts) {
    const uint32_t hash = Hash(text, {});
    const size_t slot = SlotOf(hash, text, {});
    if (tokens_[slot] != kFree) return {Status::kBadFile, "this token is in the vocabulary twice", text, {}, added_};
    tokens_[slot] = static_cast<uint32_t>(added_) << 8 | (hash & 0xff);
    offsets[added_++] = static_cast<uint32_t>(text.data() - base);
  }
  return {};
}

Error TokenIndexBuilder::AddMerges() {
  MergeTableBuilder table(words_ + word_count_ - MergeTable::Words(static_cast<size_t>(merges_.size())),
                          static_cast<size_t>(merges_.size()));
  uint64_t rank = 0;
  Token joined = kNone;
  for (const std::string_view merge : merges_) {
    const size_t space = merge.find(' ');
    const std::string_view left = merge.substr(0, space);
    const std::string_view right = space < merge.size() ? merge.substr(space + 1) : std::string_view();
    if (left.empty() || right.empty() || right.find(' ') != right.npos) {
      return {Status::kBadFile, "a merge must be two tokens with one space between", merge, {}, rank};
    }
    const Token a = Find(left);
    const Token b = Find(right);
    // Most vocabularies list what merges give in the order of the merges: try the next one before searching.
    joined = Spells(joined + 1, left, right) ? joined + 1 : Find(left, right);
    if (a == kNone || b == kNone || joined == kNone) {
      return {Status::kBadFile, "the parts and the result of a merge must be in the vocabulary", merge, {}, rank};
    }
    if (!table.Add(a, b, joined)) return {Status::kBadFile, "this merge is listed twice", merge, {}, rank};
    ++rank;
  }
  return {};
}

Error TokenIndexBuilder::AddBytes() {
  uint32_t* tokens = words_ + TokenIndex::kFront;
  for (size_t byte = 0; byte < TokenIndex::kBytes; ++byte) {
    std::array<char, 4> text;
    const Token token = Find({text.data(), WriteUtf8(kPointOfByte[byte], text.data())});
    if (token == kNone) return {Status::kBadFile, "the vocabulary lacks a token for this byte", {}, {}, byte};
    tokens[byte] = static_cast<uint32_t>(token);
  }
  return {};
}

void TokenIndexBuilder::AddSpecials() {
  uint32_t* specials = words_ + TokenIndex::kFront + TokenIndex::kBytes + vocabulary_.size;
  uint32_t* end = specials;
  for (size_t i = 0; i < vocabulary_.size; ++i) {
    if (vocabulary_.IsSpecial(static_cast<Token>(i))) *end++ = static_cast<uint32_t>(i);
  }
  std::sort(specials, end, [this](uint32_t a, uint32_t b) {
    return index_.Text(static_cast<Token>(a)) < index_.Text(static_cast<Token>(b));
  });
}

/// Whether a token's text is `left` and then `right`. False for a token beyond those that were added.
bool TokenIndexBuilder::Spells(Token token, std::string_view left, std::string_view right) const {
  if (static_cast<size_t>(token) >= added_) return false;
  const std::string_view text = index_.Text(token);
  return text.size() == left.size() + right.size() && text.starts_with(left) && text.ends_with(right);
}

/// Where the text is, or the free slot where it would be.
size_t TokenIndexBuilder::SlotOf(uint32_t hash, std::string_view left, std::string_view right) const {
  size_t slot = static_cast<size_t>(uint64_t{hash} * slot_count_ >> 32);
  for (; tokens_[slot] != kFree; slot = slot + 1 == slot_count_ ? 0 : slot + 1) {
    if ((tokens_[slot] & 0xff) != (hash & 0xff)) continue;
    if (Spells(static_cast<Token>(tokens_[slot] >> 8), left, right)) break;
  }
  return slot;
}

Token TokenIndexBuilder::Find(std::string_view left, std::string_view right) const {
  const uint32_t slot = tokens_[SlotOf(Hash(left, right), left, right)];
  return slot == kFree ? kNone : static_cast<Token>(slot >> 8);
}

}  // namespace thimble
