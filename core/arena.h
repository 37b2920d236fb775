// SPDX-License-Identifier: Apache-2.0
//
// The memory of everything. An Arena hands out pieces of one block from front to back and never takes any back. Without
// a block it measures: the same layout function, run on an empty arena, is the plan, so plan and binding cannot
// disagree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "core/error.h"

namespace thimble {

class Arena {
 public:
  static constexpr size_t kAlign = 64;  // a cache line; every piece begins on one

  /// Measures: Take returns null and counts.
  Arena() = default;
  /// Hands out `memory`, which must begin on a multiple of kAlign and outlive every piece.
  explicit Arena(std::span<std::byte> memory) : base_(memory.data()), size_(memory.size()), measuring_(false) {}

  /// Uninitialised room for outer * middle * inner objects; null when measuring or when the memory is too small (then
  /// `error` says so). The product may overflow: it is counted as too large.
  template <class T>
  T* Take(size_t inner, size_t middle = 1, size_t outer = 1) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= kAlign);
    return reinterpret_cast<T*>(TakeBytes(inner, middle, outer, sizeof(T)));
  }

  /// Bytes taken so far, also beyond the end of the memory.
  size_t used() const { return used_; }
  bool measuring() const { return measuring_; }

  /// kTooLarge when the sizes do not fit in size_t, kTooSmall with the bytes needed when the memory ended before, else
  /// ok.
  Error error() const;

 private:
  std::byte* TakeBytes(size_t inner, size_t middle, size_t outer, size_t size);

  std::byte* base_ = nullptr;
  size_t size_ = 0;
  bool measuring_ = true;
  size_t used_ = 0;
  bool overflow_ = false;
};

}  // namespace thimble
