// SPDX-License-Identifier: Apache-2.0
//
// Importance matrices of llama.cpp: how much each column of a matrix matters, measured on a text. Both of its formats,
// the GGUF and the older one, are proven once when opened; then they are looked up in place. Making them is
// llama-imatrix's business.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/error.h"
#include "io/gguf.h"

namespace thimble {

/// The mean square of every input of a matrix.
struct ImatrixEntry {
  std::string_view name;  // of the tensor
  const std::byte* sums;  // [cols] floats, finite and not negative; not aligned
  uint64_t cols;
};

class Imatrix {
 public:
  static constexpr size_t kMax = 4096;  // entries

  /// Proves the bytes of a file, which must stay; they begin on a multiple of Gguf::kBaseAlignment. kBadFile: the bytes
  /// break the format, or a number is negative or not finite; kUnsupported: a matrix of several experts, or too many.
  Error Open(std::span<const std::byte> bytes);

  size_t size() const { return count_; }
  const ImatrixEntry& operator[](size_t i) const { return entries_[i]; }

  /// The entry of that tensor, or null.
  const ImatrixEntry* Find(std::string_view name) const;

 private:
  Error OpenGguf(std::span<const std::byte> bytes);
  Error OpenOld(std::span<const std::byte> bytes);
  Error Add(const ImatrixEntry& entry, uint64_t at);

  std::array<ImatrixEntry, kMax> entries_ = {};
  size_t count_ = 0;
};

}  // namespace thimble
