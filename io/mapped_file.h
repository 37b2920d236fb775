// SPDX-License-Identifier: Apache-2.0
//
// Files in memory without a copy: read-only mappings that end with their owner. It must not know what the bytes mean.
// A mapped file must not be shortened while it is in use: reading behind its new end kills the process.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "core/error.h"

namespace thimble {

/// One mapped file. Movable, not copyable.
class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  /// Maps the whole file at `path`; what was mapped before is let go. kNotFound: no such file; kBadArgument: a
  /// directory or device; kBadFile: empty; kTooLarge: for this machine's addresses; kSystem: errno. The error's name is
  /// `path` itself.
  Error Open(const char* path);

  std::span<const std::byte> bytes() const { return bytes_; }  // page aligned; empty before Open

 private:
  std::span<const std::byte> bytes_;
};

/// All files of a model: one, or the parts `NAME-00001-of-0000N.gguf` of a split GGUF.
class MappedModel {
 public:
  static constexpr size_t kMaxParts = 64;

  /// Maps the file at `path`, which is the first where there are several, and the others beside it. Errors as in
  /// MappedFile; for a part that cannot be mapped `at` is its number from 1 (kSystem: errno).
  Error Open(const char* path);

  /// In order, ready for Gguf::Open. Valid until the model is moved, opened again or destroyed.
  std::span<const std::span<const std::byte>> parts() const { return {parts_.data(), part_count_}; }

 private:
  std::array<MappedFile, kMaxParts> files_;
  std::array<std::span<const std::byte>, kMaxParts> parts_;
  size_t part_count_ = 0;
};

}  // namespace thimble
