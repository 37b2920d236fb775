// SPDX-License-Identifier: Apache-2.0
//
// A directory of snapshots, one for each beginning of a conversation that was worth keeping: found by the tokens,
// bounded in bytes, the least recently used goes first. Safe for several processes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/config.h"
#include "core/error.h"
#include "io/snapshot.h"

namespace thimble {

class SnapshotStore {
 public:
  static constexpr size_t kMaxPath = 3072;

  /// What Restore found. `length` 0: nothing fits, and `why` says why not.
  struct Found {
    size_t length = 0;     // tokens of the prompt that need not be fed
    const char* why = "";  // a sentence without a full stop
    uint64_t entries = 0;  // snapshots of this model and these limits that were looked at
    uint64_t nearest = 0;  // of those that do not fit, the most tokens one has in common... see the .cc
  };

  /// Makes the directory when there is none. `max_bytes`: of all snapshots in it together.
  Error Open(const char* directory, uint64_t max_bytes);

  /// The longest stored beginning of `prompt` goes into the session. A snapshot that turns out to be torn is taken away
  /// and the next shorter one is tried.
  Result<Found> Restore(std::span<const Token> prompt, const Conversed& into);

  /// Keeps the session as it is; what it was fed is its name. Makes room first: the least recently used go. Kept
  /// already: only its time of use changes. kTooLarge: it alone is more than max_bytes.
  Error Save(const Conversed& of);

 private:
  char directory_[kMaxPath] = {};
  uint64_t max_bytes_ = 0;
};

}  // namespace thimble
