// SPDX-License-Identifier: Apache-2.0
//
// A hash table with open addressing over FNV-1a. A slot holds 8 bits of the hash beside the token, so that few texts
// are looked at in vain.
#include "io/token_index.h"

#include <algorithm>
#include <cstring>

namespace thimble {

namespace {

uint32_t Hash(std::string_view left, std::string_view right) {
  uint32_t hash = 2166136261u;
  for (const char c : left) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  for (const char c : right) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return (hash ^ hash >> 15) * 0x9e3779b1u;
}

constexpr uint32_t kFree = UINT32_MAX;

}  // namespace

void TokenIndex::Take(size_t count, Arena& arena) {
  slot_count_ = 2 * count + 1;
  offsets_ = arena.Take<uint32_t>(count);
  slots_ = arena.Take<uint32_t>(slot_count_);
  count_ = 0;
  if (arena.measuring() || !arena.error().ok()) return;
  std::fill(slots_, slots_ + slot_count_, kFree);
}

std::string_view TokenIndex::Text(Token token) const {
  const char* text = base_ + offsets_[token];
  uint64_t length;
  std::memcpy(&length, text - sizeof length, sizeof length);
  return {text, static_cast<size_t>(length)};
}

bool TokenIndex::Spells(Token token, std::string_view left, std::string_view right) const {
  if (static_cast<size_t>(token) >= count_) return false;
  const std::string_view text = Text(token);
  return text.size() == left.size() + right.size() && text.starts_with(left) && text.ends_with(right);
}

/// Where the text is, or the free slot where it would be.
size_t TokenIndex::SlotOf(uint32_t hash, std::string_view left, std::string_view right) const {
  size_t slot = static_cast<size_t>(uint64_t{hash} * slot_count_ >> 32);
  for (; slots_[slot] != kFree; slot = slot + 1 == slot_count_ ? 0 : slot + 1) {
    if ((slots_[slot] & 0xff) != (hash & 0xff)) continue;
    if (Spells(static_cast<Token>(slots_[slot] >> 8), left, right)) break;
  }
  return slot;
}

bool TokenIndex::Add(std::string_view text) {
  if (count_ == 0) base_ = text.data();
  const uint32_t hash = Hash(text, {});
  const size_t slot = SlotOf(hash, text, {});
  if (slots_[slot] != kFree) return false;
  slots_[slot] = static_cast<uint32_t>(count_) << 8 | (hash & 0xff);
  offsets_[count_++] = static_cast<uint32_t>(text.data() - base_);
  return true;
}

Token TokenIndex::Find(std::string_view left, std::string_view right) const {
  const uint32_t slot = slots_[SlotOf(Hash(left, right), left, right)];
  return slot == kFree ? kNone : static_cast<Token>(slot >> 8);
}

}  // namespace thimble
