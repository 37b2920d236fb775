// SPDX-License-Identifier: Apache-2.0
//
// The arithmetic of an arena, which no hostile size may overflow.
#include "core/arena.h"

namespace thimble {
namespace {

constexpr size_t kLimit = SIZE_MAX / 2;  // beyond it a size counts as too large

size_t Product(size_t a, size_t b) { return b != 0 && a > kLimit / b ? kLimit + 1 : a * b; }

}  // namespace

std::byte* Arena::TakeBytes(size_t inner, size_t middle, size_t outer, size_t size) {
  const size_t bytes = Product(Product(inner, middle), Product(outer, size));
  overflow_ = overflow_ || bytes > kLimit - kAlign - used_;
  if (overflow_) return nullptr;
  const size_t begin = used_;
  used_ += (bytes + kAlign - 1) / kAlign * kAlign;
  return base_ != nullptr && used_ <= size_ ? base_ + begin : nullptr;
}

Error Arena::error() const {
  if (overflow_) return {Status::kTooLarge, "these limits need more memory than this machine can address"};
  if (!measuring_ && used_ > size_) {
    return {Status::kTooSmall, "the arena is too small; it needs this many bytes", used_};
  }
  return {};
}

}  // namespace thimble
