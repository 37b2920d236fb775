// SPDX-License-Identifier: Apache-2.0
//
// A conversation as bytes that can be checked: a session's image and a sampler's, sealed with the model they belong to
// and a checksum. Knows no files (snapshot_file.h) and no directories (snapshot_store.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/error.h"
#include "core/sampler.h"
#include "core/session.h"
#include "core/snapshot.h"
#include "io/gguf.h"

namespace thimble {

/// Tells models apart: XXH3 of the header of a model's files (of a pack it holds the checksums of all tensors) and,
/// where there are none, of the beginning, middle and end of every tensor.
uint64_t ModelFingerprint(const Gguf& file, std::span<const std::span<const std::byte>> parts);

/// What a snapshot is of. The sampler may be missing: then its state is neither kept nor changed.
struct Conversed {
  uint64_t model;  // ModelFingerprint
  Session* session;
  Sampler* sampler = nullptr;
};

/// What the bytes say of themselves.
struct SnapshotInfo {
  uint64_t model;
  uint64_t bytes;          // of the whole snapshot
  uint64_t sampler_bytes;  // 0: no sampler
  SnapshotHeader session;
};

size_t SnapshotBytes(const Conversed& of);

/// Writes SnapshotBytes bytes. kTooSmall, with the bytes needed, when `out` has fewer.
Error WriteSnapshot(const Conversed& of, std::span<std::byte> out);

/// Proves that `bytes` are a whole snapshot. kBadFile: torn, changed, or never one; kUnsupported: of another version.
Result<SnapshotInfo> ExamineSnapshot(std::span<const std::byte> bytes);

/// Puts a conversation back, bit for bit. On any error, those of ExamineSnapshot among them, nothing has changed.
/// kBadArgument: of another model, other limits (which, is said), another sampler; kFull: it holds more tokens than the
/// session's context.
Error ReadSnapshot(std::span<const std::byte> bytes, const Conversed& into);

}  // namespace thimble
