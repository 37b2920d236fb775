// SPDX-License-Identifier: Apache-2.0
//
// Snapshots as files on Linux and other POSIX systems.
#include "io/mapped_file.h"
#include "io/snapshot_file.h"
#include "io/whole_file.h"

namespace thimble {

Error SaveSnapshot(const Conversed& of, const char* path) {
  WholeFile file;
  Error error = file.Create(path, SnapshotBytes(of));
  uint64_t at = 0;
  if (error.ok()) {
    ForEachPiece(of, [&](std::span<const std::byte> piece) {
      if (error.ok()) error = file.WriteAt(piece, at);
      at += piece.size();
    });
  }
  return error.ok() ? file.Commit() : error;
}

Error RestoreSnapshot(const char* path, const Conversed& into) {
  MappedFile file;
  if (const Error error = file.Open(path); !error.ok()) return error;
  Error error = ReadSnapshot(file.bytes(), into);
  if (!error.ok() && error.name.empty()) error.name = path;
  return error;
}

}  // namespace thimble
