// SPDX-License-Identifier: Apache-2.0
//
// What a program keeps of its prompts from one run to the next: which of their beginnings are worth a snapshot, how a
// prompt is fed so that they are met again, and what is said about it. Where they lie is io/snapshot_store's business.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "io/snapshot_store.h"
#include "options.h"
#include "runtime.h"

namespace thimble::program {

class Prefixes {
 public:
  explicit Prefixes(Runtime& runtime) : runtime_(runtime) {}

  /// Opens --cache-dir, if it was given, for a runtime whose session is bound. Errors: those of SnapshotStore::Open.
  Error Open(const CacheOptions& options);
  bool open() const { return open_; }

  /// The longest kept beginning of `prompt`, of at most `longest` tokens, goes into the session, which is reset without
  /// one; returns its tokens, which need not be fed.
  size_t Restore(std::span<const Token> prompt, size_t longest);

  /// Feeds those of `tokens` that the session has not seen; it has seen the ones before them. Nothing is fed across the
  /// end of a turn nor across one of `keeps` (ascending), so that the session there never depends on what was restored.
  /// Keeps the session at `keeps`. Otherwise like Runtime::Feed.
  Result<bool> Feed(std::span<const Token> tokens, std::span<const size_t> keeps, size_t more);

  /// The beginnings of a prompt that later prompts may share: the end of its first turn, which is that of the system
  /// prompt, and of its last two, unless they lie close behind each other; and its own end.
  std::vector<size_t> PlacesOf(std::span<const Token> prompt) const;

  /// Where a turn ends and the next begins, for each.
  std::vector<size_t> TurnsOf(std::span<const Token> tokens) const;

  /// Keeps the session, which was fed `tokens`; `unless_near`: not when the place before was only a few tokens ago.
  /// What fails is said once.
  void Keep(std::span<const Token> tokens, bool unless_near = false);

 private:
  void Explain(std::span<const Token> prompt, const SnapshotStore::Found& found);
  std::string Spelled(Token token) const;
  void Complain(const Error& error);

  Runtime& runtime_;
  SnapshotStore store_;
  Conversed conversed_ = {};
  std::string directory_;
  Token turn_ = -1;  // that begins a turn; below 0: the model has none
  size_t last_ = 0;  // tokens of what was last restored or kept
  bool open_ = false;
  bool verbose_ = false;
  bool complained_ = false;
};

}  // namespace thimble::program
