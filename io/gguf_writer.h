// SPDX-License-Identifier: Apache-2.0
//
// Writes the front of a GGUF version 3: header, metadata, tensor records, padding. It writes into memory of the caller,
// or only counts; the data of tensors and files are not its business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "io/gguf.h"

namespace thimble {

class GgufHeaderWriter {
 public:
  /// Writes to `out`; what does not fit is only counted, so an empty `out` measures.
  explicit GgufHeaderWriter(std::span<std::byte> out = {}) : out_(out) {}

  size_t size() const { return at_; }  // bytes so far

  /// The parts in this order: Begin, `value_count` values, `tensor_count` tensors, Pad.
  void Begin(uint64_t tensor_count, uint64_t value_count);

  /// A whole entry as it stands in another file: key, type, value.
  void Copy(std::span<const std::byte> entry) { Put(entry.data(), entry.size()); }
  /// Entries of their own. `numbers` may be null when measuring.
  void String(std::string_view key, std::string_view text);
  void U32(std::string_view key, uint32_t number);
  void U64(std::string_view key, uint64_t number);
  void Bool(std::string_view key, bool truth);
  void U32Array(std::string_view key, const uint32_t* numbers, size_t count);
  void U64Array(std::string_view key, const uint64_t* numbers, size_t count);

  /// An entry `key` whose value are as many spaces as the numbers of a U32Array `next`, written behind it, need to
  /// begin on a multiple of 4 bytes.
  void AlignNextArray(std::string_view key, std::string_view next);

  /// `offset` counts from the end of the padding.
  void Tensor(std::string_view name, std::span<const uint64_t> ne, uint32_t type, uint64_t offset);

  /// Zeros up to a multiple of `alignment`.
  void Pad(size_t alignment);

 private:
  void Put(const void* bytes, size_t count);
  template <class T>
  void Put(T value) {
    Put(&value, sizeof value);
  }
  void Text(std::string_view text);
  void Key(std::string_view key, GgufType type);

  std::span<std::byte> out_;
  size_t at_ = 0;
};

}  // namespace thimble
