// SPDX-License-Identifier: Apache-2.0
//
// The merge loop and its tree of minima.
#include "io/bpe.h"

#include <algorithm>

namespace thimble {

bool MergeTable::Proven(size_t tokens) const {
  size_t wrong = 0;
  for (size_t i = 0; i < 3 * count_; ++i) wrong += merges_[i] >= tokens ? 1 : 0;
  size_t free = 0;
  for (size_t i = 0; i < slot_count_; ++i) {
    free += slots_[i] == kNone ? 1 : 0;
    wrong += slots_[i] != kNone && slots_[i] >> 8 >= count_ ? 1 : 0;
  }
  return wrong == 0 && free == slot_count_ - count_;
}

bool MergeTableBuilder::Add(Token left, Token right, Token joined) {
  const uint64_t hash = MergeTable::Hash(left, right);
  const size_t slot = table_.SlotOf(hash, left, right);
  if (slots_[slot] != MergeTable::kNone) return false;
  slots_[slot] = added_ << 8 | static_cast<uint32_t>(hash >> 24 & 0xff);
  uint32_t* merge = merges_ + 3 * size_t{added_++};
  merge[0] = static_cast<uint32_t>(left);
  merge[1] = static_cast<uint32_t>(right);
  merge[2] = static_cast<uint32_t>(joined);
  return true;
}

void BpeWork::Take(size_t max_bytes, Arena& arena) {
  tokens_ = arena.Take<uint32_t>(max_bytes);
  ranks_ = arena.Take<uint32_t>(max_bytes);
  minima_ = arena.Take<uint32_t>(max_bytes / (kFan - 1) + kLevels);  // n/16 + n/256 + ..., each rounded up
}

/// Index in `level` of the lowest value of a block, the first of equal ones.
size_t BpeWork::BlockMin(size_t level, size_t block) const {
  const Level& in = levels_[level];
  const size_t end = std::min(in.size, (block + 1) * kFan);
  size_t lowest = block * kFan;
  for (size_t i = lowest + 1; i < end; ++i) lowest = in.min[i] < in.min[lowest] ? i : lowest;
  return lowest;
}

/// Where the lowest rank stands, the first of equal ones.
size_t BpeWork::LowestRank() const {
  size_t at = BlockMin(top_, 0);
  for (size_t level = top_; level > 0; --level) at = BlockMin(level - 1, at);
  return at;
}

/// Builds the levels above ranks_.
void BpeWork::GrowTree() {
  levels_[0] = {ranks_, size_};
  top_ = 0;
  for (uint32_t* room = minima_; levels_[top_].size > kFan; room += levels_[top_].size) {
    levels_[top_ + 1] = {room, (levels_[top_].size + kFan - 1) / kFan};
    for (size_t i = 0; i < levels_[top_ + 1].size; ++i) room[i] = levels_[top_].min[BlockMin(top_, i)];
    ++top_;
  }
}

/// Brings the tree up to date after a change of one rank.
void BpeWork::Repair(size_t at) {
  for (size_t level = 0; level < top_; ++level) {
    const uint32_t lowest = levels_[level].min[BlockMin(level, at / kFan)];
    at /= kFan;
    if (levels_[level + 1].min[at] == lowest) return;
    levels_[level + 1].min[at] = lowest;
  }
}

void BpeWork::Merge(std::string_view piece, const uint32_t* byte_tokens, const MergeTable& table) {
  size_ = piece.size();
  for (size_t i = 0; i < size_; ++i) {
    tokens_[i] = byte_tokens[static_cast<unsigned char>(piece[i])];
  }
  const auto rank_with_next = [&](size_t symbol, size_t next) {
    return next < size_ ? table.Rank(TokenAt(symbol), TokenAt(next)) : MergeTable::kNone;
  };
  for (size_t i = 0; i < size_; ++i) ranks_[i] = rank_with_next(i, i + 1);
  GrowTree();
  for (size_t left = LowestRank(); ranks_[left] < kMark; left = LowestRank()) {
    const uint32_t rank = ranks_[left];
    const size_t right = Next(left);
    const size_t next = Next(right);
    SetRank(right, MergeTable::kNone);
    SetRank(left + 1, kMark | static_cast<uint32_t>(next - 1));
    tokens_[next - 1] = kMark | static_cast<uint32_t>(left);
    tokens_[left] = static_cast<uint32_t>(table.Joined(rank));
    SetRank(left, rank_with_next(left, next));
    if (left > 0) {
      const size_t previous = Previous(left);
      SetRank(previous, rank_with_next(previous, left));
    }
  }
}

}  // namespace thimble
