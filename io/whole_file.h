// SPDX-License-Identifier: Apache-2.0
//
// A file that appears whole or not at all: it grows under another name beside its place and gets its own name when it
// is complete and on the disk. It does not know what it holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/error.h"

namespace thimble {

class WholeFile {
 public:
  static constexpr size_t kMaxPath = 4096;

  WholeFile() = default;
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;

  /// Takes away what is not complete.
  ~WholeFile();

  /// Begins the file at `path`, of `bytes` bytes, as `path`.part; what an earlier attempt left there is overwritten.
  /// kBadArgument: `path` is no ordinary file, or too long, or is being written by another process; kSystem: errno,
  /// also when the disk does not have the room. An error's name is `path` itself.
  Error Create(const char* path, uint64_t bytes);

  /// Writes bytes at `offset`. kSystem: errno.
  Error WriteAt(std::span<const std::byte> bytes, uint64_t offset);

  /// Everything is on the disk, under its name, in place of what had that name before. kSystem: errno.
  Error Commit();

 private:
  const char* path_ = nullptr;
  char part_[kMaxPath] = {};
  int file_ = -1;  // below 0: nothing to take away
};

/// Pages of a mapped file that will not be read again need not stay in this process.
void ForgetPages(std::span<const std::byte> mapped);

}  // namespace thimble
