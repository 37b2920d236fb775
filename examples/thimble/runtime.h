// SPDX-License-Identifier: Apache-2.0
//
// The four verbs as a program uses them: Open the file, Plan its memory, Bind it, and then Run. All memory is taken
// before the first token: for the vocabulary (its size follows from the file) and for the session (from the limits).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arm/thread_pool.h"
#include "core/arena.h"
#include "core/session.h"
#include "io/gguf.h"
#include "io/mapped_file.h"
#include "io/pack.h"
#include "io/snapshot.h"
#include "io/tokenizer.h"
#include "options.h"

namespace thimble::program {

/// Brings memory in and keeps it there.
Error LockMemory(std::span<const std::byte> memory);

/// Memory for an arena: one aligned block, zero pages until touched, given back at the end.
class Block {
 public:
  Error Reserve(size_t bytes);
  Error Lock() const { return LockMemory({memory_.get(), size_}); }
  std::span<std::byte> bytes() const { return {memory_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Free> memory_;
  size_t size_ = 0;
};

/// Proves the mapped files of a model. An error that names nothing names `path`, which must outlive it.
Result<Gguf> OpenGguf(const MappedModel& mapped, const std::string& path);

class Runtime {
 public:
  /// Maps and proves the model, and starts the threads.
  Error Open(const ModelOptions& options);

  /// Takes memory for whatever `layout` places: it runs on a measuring arena first, then on one of just that size.
  Error Place(const std::function<Error(Arena&)>& layout);

  /// Places the views of the weights and the tokenizer, for texts of at most `max_text` bytes.
  Error BindVocabulary(size_t max_text);

  /// Places the session.
  Error BindSession(const Limits& limits);

  /// Limits as the options ask for them, proven against the model; `checkpoints` is 0.
  Result<Limits> LimitsOf(const ModelOptions& options) const;

  /// Feeds tokens a batch at a time, with progress on a terminal. kFull, before any is fed, says which --ctx they and
  /// `more` tokens behind them need. False when interrupted. No batch goes across one of `stops`, numbers of tokens in
  /// ascending order, and where one is reached, `reached` is called with it.
  Result<bool> Feed(std::span<const Token> tokens, size_t more = 0, std::span<const size_t> stops = {},
                    const std::function<void(size_t)>& reached = {});

  const Gguf& file() const { return file_; }
  const std::optional<PackStamp>& stamp() const { return stamp_; }  // of a pack
  uint64_t fingerprint() const { return ModelFingerprint(file_, mapped_.parts()); }
  std::span<const std::span<const std::byte>> parts() const { return mapped_.parts(); }
  size_t file_bytes() const { return mapped_.parts()[0].size(); }  // of the first file
  const Model& model() const { return model_; }
  const Backend& backend() const { return backend_; }
  Tokenizer& tokenizer() { return tokenizer_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  Session& session() { return session_; }
  size_t arena_bytes() const;  // taken so far

 private:
  MappedModel mapped_;
  Gguf file_;
  std::optional<PackStamp> stamp_;
  bool lock_ = false;
  Model model_;
  std::optional<ThreadPool> pool_;
  Backend backend_;
  std::vector<Block> blocks_;
  Tokenizer tokenizer_;
  Session session_;
};

}  // namespace thimble::program
