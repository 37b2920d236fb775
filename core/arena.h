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
    return reinterpret_cast<T*>(TakeBytes(Product(Product(inner, middle), Product(outer, sizeof(T)))));
  }

  /// Bytes taken so far, also beyond the end of the memory.
  size_t used() const { return used_; }
  bool measuring() const { return measuring_; }

  /// kTooLarge when the sizes do not fit in size_t, kTooSmall with the bytes needed when the memory ended before, else
  /// ok.
  Error error() const {
    if (overflow_) return {Status::kTooLarge, "these limits need more memory than this machine can address"};
    if (!measuring_ && used_ > size_) {
      return {Status::kTooSmall, "the arena is too small; it needs this many bytes", {}, {}, used_};
    }
    return {};
  }

 private:
  static constexpr size_t kLimit = SIZE_MAX / 2;  // beyond it a size counts as too large

  static size_t Product(size_t a, size_t b) { return b != 0 && a > kLimit / b ? kLimit + 1 : a * b; }

  std::byte* TakeBytes(size_t bytes) {
    if (overflow_ || bytes > kLimit - kAlign - used_) {
      overflow_ = true;
      return nullptr;
    }
    const size_t begin = used_;
    used_ += (bytes + kAlign - 1) / kAlign * kAlign;
    return base_ != nullptr && used_ <= size_ ? base_ + begin : nullptr;
  }

  std::byte* base_ = nullptr;
  size_t size_ = 0;
  bool measuring_ = true;
  size_t used_ = 0;
  bool overflow_ = false;
};

}  // namespace thimble
