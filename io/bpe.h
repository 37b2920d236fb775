// SPDX-License-Identifier: Apache-2.0
//
// Byte-pair encoding of one piece of text: the table of merges and the room to merge in. It knows tokens as numbers
// only; what they spell, and where a piece begins, is the tokenizer's.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/arena.h"
#include "core/config.h"

namespace thimble {

/// Which pairs of tokens join, how soon, and what they become, in 32-bit words that are read where they lie:
///
///     merges[count][3]       left, right, joined; by rank, so those that are often needed stand together
///     slots[2 * count + 1]   by the hash of a pair: rank << 8 | a part of the hash, or kNone
class MergeTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  /// `count` is below 2^24.
  static constexpr size_t Words(size_t count) { return 5 * count + 1; }

  MergeTable() = default;
  /// Of Words(count) words.
  MergeTable(const uint32_t* words, size_t count)
      : merges_(words), slots_(words + 3 * count), count_(count), slot_count_(2 * count + 1) {}

  /// Whether every search ends and gives tokens below `tokens`, whatever the words are.
  bool Proven(size_t tokens) const;

  /// The rank of a pair: lower joins first. kNone when it never joins.
  uint32_t Rank(Token left, Token right) const {
    const uint32_t slot = slots_[SlotOf(Hash(left, right), left, right)];
    return slot == kNone ? kNone : slot >> 8;
  }
  Token Joined(uint32_t rank) const { return static_cast<Token>(merges_[3 * size_t{rank} + 2]); }

 private:
  friend class MergeTableBuilder;

  static uint64_t Hash(Token left, Token right) {
    const uint64_t key = uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
    return (key ^ key >> 29) * 0x9e3779b97f4a7c15u;
  }

  /// Where the pair is, or the free slot where it would be.
  size_t SlotOf(uint64_t hash, Token left, Token right) const {
    size_t slot = static_cast<size_t>((hash >> 32) * slot_count_ >> 32);
    for (; slots_[slot] != kNone; slot = slot + 1 == slot_count_ ? 0 : slot + 1) {
      if ((slots_[slot] & 0xff) != (hash >> 24 & 0xff)) continue;
      const uint32_t* merge = merges_ + 3 * size_t{slots_[slot] >> 8};
      if (merge[0] == static_cast<uint32_t>(left) && merge[1] == static_cast<uint32_t>(right)) break;
    }
    return slot;
  }

  const uint32_t* merges_ = nullptr;
  const uint32_t* slots_ = nullptr;
  size_t count_ = 0;
  size_t slot_count_ = 0;
};

/// Fills the words of a MergeTable.
class MergeTableBuilder {
 public:
  MergeTableBuilder(uint32_t* words, size_t count) : merges_(words), slots_(words + 3 * count), table_(words, count) {
    std::fill(slots_, slots_ + 2 * count + 1, MergeTable::kNone);
  }

  /// Adds the next merge, whose rank is the number of those before. False when the pair is already there.
  bool Add(Token left, Token right, Token joined);

 private:
  uint32_t* merges_;
  uint32_t* slots_;
  MergeTable table_;
  uint32_t added_ = 0;
};

/// The symbols of one piece while they merge. A symbol is named by where its first byte stands in the piece. To find
/// the next pair to join, the ranks are the leaves of a tree of minima with 16 children per node: a short piece is one
/// scan, a long one of n bytes costs O(n log n). About 8.6 bytes per byte of the longest piece.
class BpeWork {
 public:
  /// `max_bytes` is below 2^31.
  void Take(size_t max_bytes, Arena& arena);

  /// Joins the tokens of the bytes of `piece` (1 to max_bytes of them; byte_tokens[256]) until no pair is in the table:
  /// each time the pair of the lowest rank, of equal ones the first. Afterwards the symbols are read with Next from 0
  /// to piece.size().
  void Merge(std::string_view piece, const uint32_t* byte_tokens, const MergeTable& table);

  /// Two arrays of max_bytes elements, for anyone between the last Next and the following Merge.
  uint32_t* room(size_t i) { return i == 0 ? tokens_ : ranks_; }

  Token TokenAt(size_t symbol) const { return static_cast<Token>(tokens_[symbol]); }
  size_t Next(size_t symbol) const { return IsLink(symbol + 1) ? (ranks_[symbol + 1] & ~kMark) + 1 : symbol + 1; }

 private:
  static constexpr size_t kFan = 16;
  static constexpr size_t kLevels = 8;
  static constexpr uint32_t kMark = uint32_t{1} << 31;

  struct Level {
    uint32_t* min = nullptr;
    size_t size = 0;
  };

  bool IsLink(size_t at) const { return at < size_ && ranks_[at] >= kMark && ranks_[at] != MergeTable::kNone; }
  size_t Previous(size_t symbol) const {
    const uint32_t token = tokens_[symbol - 1];
    return token >= kMark ? token & ~kMark : symbol - 1;
  }
  size_t BlockMin(size_t level, size_t block) const;
  size_t LowestRank() const;
  void GrowTree();
  void SetRank(size_t at, uint32_t rank) {
    ranks_[at] = rank;
    if (top_ > 0) Repair(at);
  }
  void Repair(size_t at);

  // Two arrays hold four things, for the bytes inside a symbol need neither token nor rank.
  // tokens_: at the first byte of a symbol its token; at its last, if that is another, kMark | first.
  // ranks_: at the first byte the rank of the symbol with the next; at its second, if any, kMark | last; else kMark or
  // more.
  uint32_t* tokens_ = nullptr;              // [max_bytes]
  uint32_t* ranks_ = nullptr;               // [max_bytes]
  uint32_t* minima_ = nullptr;              // the levels above ranks_
  size_t size_ = 0;                         // bytes of the piece
  size_t top_ = 0;                          // the level that is one block
  std::array<Level, kLevels> levels_ = {};  // levels_[0] is ranks_
};

}  // namespace thimble
