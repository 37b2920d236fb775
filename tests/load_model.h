// SPDX-License-Identifier: Apache-2.0
//
// For tests: a GGUF file as a model that can run, and sessions of it, each in a heap block of exactly the planned size.
// Whatever fails here fails the test that asked.
#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <string>

#include "core/arena.h"
#include "core/kernels.h"
#include "core/session.h"
#include "io/gguf.h"
#include "io/load_qwen35.h"
#include "io/mapped_file.h"

namespace thimble {

/// `bytes` bytes that begin on Arena::kAlign.
class HeapBlock {
 public:
  explicit HeapBlock(size_t bytes) : bytes_(bytes), memory_(new(std::align_val_t{Arena::kAlign}) std::byte[bytes]) {}
  std::span<std::byte> span() const { return {memory_.get(), bytes_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete[](memory, std::align_val_t{Arena::kAlign}); }
  };
  size_t bytes_;
  std::unique_ptr<std::byte[], Free> memory_;
};

inline void RequireOk(const Error& error) {
  INFO(error.what, ": ", std::string(error.name), " ", std::string(error.detail), " ", error.at);
  REQUIRE(error.ok());
}

/// A model and the mapped file (or the parts) that its weights lie in.
class LoadedModel {
 public:
  explicit LoadedModel(const std::string& path, const RopeConfig* rope = nullptr) {
    RequireOk(files_.Open(path.c_str()));
    const Result<Gguf> file = Gguf::Open(files_.parts());
    RequireOk(file.error());
    file_ = *file;
    Arena measure;
    RequireOk(LoadQwen35(file_, measure, rope).error());
    tables_ = std::make_unique<HeapBlock>(measure.used());
    Arena arena(tables_->span());
    const Result<Model> model = LoadQwen35(file_, arena, rope);
    RequireOk(model.error());
    model_ = *model;
  }
  LoadedModel(const LoadedModel&) = delete;
  LoadedModel& operator=(const LoadedModel&) = delete;

  const Gguf& file() const { return file_; }
  std::span<const std::span<const std::byte>> parts() const { return files_.parts(); }
  const Model& model() const { return model_; }
  const Config& config() const { return model_.config; }

 private:
  MappedModel files_;
  Gguf file_;
  std::unique_ptr<HeapBlock> tables_;
  Model model_;
};

/// A session with the memory that its plan asks for, not a byte more. `model` must outlive it.
class HeapSession {
 public:
  HeapSession(const Model& model, const Limits& limits, const Backend& backend = {})
      : memory_(PlannedBytes(model.config, limits, backend)) {
    Arena arena(memory_.span());
    RequireOk(session_.Bind(model, limits, backend, arena));
  }

  Session* operator->() { return &session_; }
  Session& operator*() { return session_; }

 private:
  static size_t PlannedBytes(const Config& config, const Limits& limits, const Backend& backend) {
    const Result<SessionPlan> plan = Session::Plan(config, limits, backend);
    RequireOk(plan.error());
    return plan->total();
  }

  HeapBlock memory_;
  Session session_;
};

}  // namespace thimble
