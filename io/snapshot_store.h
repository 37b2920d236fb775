// SPDX-License-Identifier: Apache-2.0
//
// A directory of snapshots, one for each beginning of a conversation that was worth keeping: found by the tokens,
// bounded in bytes, the least recently used goes first. Safe for several processes; it knows no text. Only Open
// allocates (the system's stream of the directory).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/config.h"
#include "core/error.h"
#include "io/snapshot.h"

namespace thimble {

/// A snapshot lies in the directory as `MODEL-LIMITS-LENGTH-CHAIN.snapshot`, four numbers of 16 hexadecimal digits, and
/// beside it, under the same name with `.tokens`, the int32 tokens that it was fed: only Compare reads those, and the
/// chain proves them. The time of last use is the time of modification. Whoever saves holds a lock on the file `lock`;
/// whoever restores holds none: a file that is taken away stays whole for those who have it open.
class SnapshotStore {
 public:
  static constexpr size_t kMaxPath = 3072;

  /// A snapshot as its name tells it. Its bytes have not been read.
  struct Entry {
    uint64_t model = 0;   // ModelFingerprint
    uint64_t limits = 0;  // LimitsHash
    uint64_t length = 0;  // tokens
    uint64_t chain = 0;   // Session::chain of them
    uint64_t bytes = 0;   // in the directory, with its tokens
    int64_t used = 0;     // nanoseconds since 1970
  };

  struct Found {
    size_t length = 0;   // tokens of the prompt that need not be fed; 0: nothing fits
    size_t removed = 0;  // snapshots that were torn, or not what their name said, and were taken away
  };

  /// Why a prompt finds what it finds.
  struct Comparison {
    uint64_t same = 0;          // snapshots of this model and these limits
    uint64_t other_limits = 0;  // of this model
    uint64_t other_models = 0;
    size_t common = 0;  // of the same, the one that agrees longest with the prompt: tokens in common,
    size_t length = 0;  // all its tokens,
    Token next = -1;    // and the one of them behind the common ones; -1: there is none
  };

  SnapshotStore() = default;
  SnapshotStore(const SnapshotStore&) = delete;
  SnapshotStore& operator=(const SnapshotStore&) = delete;
  ~SnapshotStore();

  /// Makes the directory when there is none. `max_bytes`: of all files in it together. kBadArgument: no directory, or
  /// too long a path; kSystem: errno. An error's name is a view of this object here and below.
  Error Open(const char* directory, uint64_t max_bytes);

  /// The longest stored beginning of `prompt` goes into the session; with none, the session is reset. One that
  /// is torn or not what its name says is taken away, and the next shorter one is tried.
  Result<Found> Restore(std::span<const Token> prompt, const Conversed& into);

  /// Keeps the session as it is; `tokens` are all that it was fed. Makes room first: the least recently used go. Kept
  /// already: only its time of use changes. kTooLarge: it alone is more than max_bytes; kBadArgument: these are not the
  /// session's tokens; kSystem: errno, also when another process holds the lock for seconds. On a full disk, too, the
  /// least recently used make room. After an error the session is as it was.
  Error Save(const Conversed& of, std::span<const Token> tokens);

  /// Reads the tokens of every snapshot.
  Result<Comparison> Compare(std::span<const Token> prompt, const Conversed& with);

  /// All snapshots, in no order: Rewind, then Next until it is false.
  void Rewind();
  bool Next(Entry* entry);

  /// The path of a snapshot, good until the next call of anything here.
  const char* PathOf(const Entry& entry);

  /// One number for all that must be the same in two sessions of one model for one to take the other's snapshot.
  static uint64_t LimitsHash(const SnapshotHeader& header);

 private:
  void SweepUp();
  bool MakeRoom(uint64_t bytes, uint64_t most);
  Error Write(const Conversed& of, const Entry& entry);
  bool Take(const Entry& entry, const Conversed& into, Found* found);
  bool Remove(const Entry& entry);
  const char* PathTo(const char* name);

  void* stream_ = nullptr;  // of the directory; null: not open
  uint64_t max_bytes_ = 0;
  size_t directory_length_ = 0;
  char path_[kMaxPath + 128] = {};  // the directory, a slash, and room for a name
};

}  // namespace thimble
