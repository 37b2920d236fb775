// SPDX-License-Identifier: Apache-2.0
//
// A conversation as bytes that can be checked: a session's image and a sampler's, sealed with the model they belong to
// and a checksum. Knows no files (snapshot_file.h) and no directories (snapshot_store.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/error.h"
#include "core/sampler.h"
#include "core/session.h"
#include "core/snapshot.h"
#include "io/gguf.h"
#include "io/hash.h"

namespace thimble {

/// Tells models apart: XXH3 of the header of a model's files (of a pack it holds the checksums of all tensors) and,
/// where there are none, of the beginning, middle and end of every tensor. `parts` are what `file` was opened from.
uint64_t ModelFingerprint(const Gguf& file, std::span<const std::span<const std::byte>> parts);

/// What a snapshot is of. Where the sampler is missing, here or in the snapshot, its state is neither kept nor changed.
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

/// How a snapshot begins. Behind it stand Session's image, Sampler's, each filled up with zeros to a multiple of
/// kAlign, and the 16 bytes of a checksum: XXH3 with 128 bits of all before it, the low half first.
struct SnapshotFront {
  static constexpr uint64_t kMagic = 0x70616e73626d6874;  // "thmbsnap"
  static constexpr uint64_t kVersion = 1;
  static constexpr size_t kAlign = 64;

  uint64_t magic = kMagic;
  uint64_t version = kVersion;
  uint64_t model = 0;
  uint64_t bytes = 0;  // of everything, checksum included
  uint64_t session_bytes = 0;
  uint64_t sampler_bytes = 0;
  uint64_t zeros[2] = {};
};
static_assert(sizeof(SnapshotFront) == SnapshotFront::kAlign);

SnapshotFront FrontOf(const Conversed& of);
inline size_t SnapshotBytes(const Conversed& of) { return static_cast<size_t>(FrontOf(of).bytes); }

/// Writes SnapshotBytes bytes. kTooSmall, with the bytes needed, when `out` has fewer.
Error WriteSnapshot(const Conversed& of, std::span<std::byte> out);

/// Proves that `bytes` are a whole snapshot. kBadFile: torn, changed, or never one; kUnsupported: of another version.
Result<SnapshotInfo> ExamineSnapshot(std::span<const std::byte> bytes);

/// Puts a conversation back, bit for bit. On any error, those of ExamineSnapshot among them, nothing has changed.
/// kBadArgument: of another model, other limits (which, is said), another sampler; kFull: it holds more tokens than the
/// session's context.
Error ReadSnapshot(std::span<const std::byte> bytes, const Conversed& into);

/// Calls f(std::span<const std::byte>) for the bytes of a snapshot, in order, most of them where they lie.
template <class F>
void ForEachPiece(const Conversed& of, F f) {
  Hash hash;
  const auto add = [&](std::span<const std::byte> piece) {
    hash.Add(piece);
    f(piece);
  };
  const auto fill = [&add](uint64_t bytes) {
    constexpr std::array<std::byte, SnapshotFront::kAlign> kZeros = {};
    add(std::span(kZeros).first(static_cast<size_t>(-bytes % SnapshotFront::kAlign)));
  };
  const SnapshotFront front = FrontOf(of);
  const SnapshotHeader header = of.session->Describe();
  add(std::as_bytes(std::span(&front, 1)));
  add(std::as_bytes(std::span(&header, 1)));
  of.session->ForEachPiece(add);
  fill(front.session_bytes);
  if (of.sampler != nullptr) add(of.sampler->image());
  fill(front.sampler_bytes);
  const std::array<uint64_t, 2> sum = hash.digest();
  f(std::as_bytes(std::span(sum)));
}

}  // namespace thimble
