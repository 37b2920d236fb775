// SPDX-License-Identifier: Apache-2.0
//
// For tests of snapshots: a session and a sampler of a small model, what to say to them, and all that they answer from
// a point on. Two of them that answer the same in every bit are the same.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/sampler.h"
#include "io/snapshot.h"
#include "tests/all_logits.h"

namespace thimble {

/// A model of tests/data/model.
inline const LoadedModel& DataModel(const char* name) {
  static std::vector<std::pair<std::string, std::unique_ptr<LoadedModel>>> loaded;
  for (const auto& [known, model] : loaded) {
    if (known == name) return *model;
  }
  const std::string path = std::string(THIMBLE_SOURCE_DIR "/tests/data/model/") + name + ".gguf";
  return *loaded.emplace_back(name, std::make_unique<LoadedModel>(path)).second;
}

/// What a session can be of, as far as its image is concerned.
struct Kind {
  const char* name;
  Limits limits;
};

/// Every kind of cache. The batch is long enough for chunks of the delta rule, and no multiple of anything.
inline const std::vector<Kind>& Kinds() {
  static const std::vector<Kind> kinds = {
      {"f16", {.context = 300, .batch = 39, .k = Type::kF16, .v = Type::kF16}},
      {"f32", {.context = 300, .batch = 39, .k = Type::kF32, .v = Type::kF32}},
      {"f32 keys, f16 values", {.context = 300, .batch = 39, .k = Type::kF32, .v = Type::kF16}},
      {"a window of 50, in a ring", {.batch = 39, .window = 50, .sinks = 3}},
      {"q8", {.context = 300, .batch = 39, .k = Type::kQ8_0, .v = Type::kQ8_0}},
      {"q8 keys, q4 values", {.context = 300, .batch = 39, .k = Type::kQ8_0, .v = Type::kIQ4_NL}},
      {"q4", {.context = 300, .batch = 39, .k = Type::kIQ4_NL, .v = Type::kIQ4_NL}},
      {"q4 keys, q3 values", {.context = 300, .batch = 39, .k = Type::kIQ4_NL, .v = Type::kNL3}},
      {"q4, a window of 50", {.batch = 39, .k = Type::kIQ4_NL, .v = Type::kIQ4_NL, .window = 50, .sinks = 3}},
      {"f16, states in 16 bits", {.context = 300, .batch = 39, .state = StateForm::kI16}},
  };
  return kinds;
}

class Conversation {
 public:
  /// The penalties look back 16 tokens, so that their window has wrapped before anything is kept.
  static constexpr SamplerOptions kOptions{
      .top_k = 40, .repetition_penalty = 1.1f, .presence_penalty = 0.5f, .penalty_window = 16, .seed = 7};

  explicit Conversation(const Limits& limits, const char* model = "irregular", const SamplerOptions& options = kOptions)
      : model_(DataModel(model)), session_(model_.model(), limits), memory_(SamplerBytes(options)) {
    Arena arena(memory_.span());
    RequireOk(sampler_.Bind(options, vocab(), arena));
  }

  Session& session() { return *session_; }
  Sampler& sampler() { return sampler_; }
  size_t vocab() const { return model_.config().vocab_size; }
  Conversed whole() { return {ModelFingerprint(model_.file(), model_.parts()), &*session_, &sampler_}; }

  std::vector<Token> Tokens(size_t n, uint32_t seed) const { return thimble::Tokens(n, vocab(), seed); }

  /// A prompt of `n` tokens and some that are drawn.
  void Begin(size_t n, uint32_t seed = 1) {
    session_->Reset();
    sampler_.Reset();
    const std::vector<Token> prompt = Tokens(n, seed);
    RequireOk(session_->Feed(prompt));
    sampler_.AcceptPrompt(prompt);
    Draw(n % 4);
  }

  /// All logits from here on, the present ones first, over drawing, feeding several tokens at once, and drawing again.
  std::vector<float> GoOn() {
    std::vector<float> logits;
    const auto present = [&] {
      const std::span<const float> now = session_->Logits();
      logits.insert(logits.end(), now.begin(), now.end());
    };
    present();
    for (int i = 0; i < 20; ++i) Draw(1), present();
    const std::vector<Token> tokens = Tokens(45, 99);
    const size_t before = logits.size();
    logits.resize(before + tokens.size() * vocab());
    RequireOk(session_->Feed(tokens, std::span(logits).subspan(before)));
    for (int i = 0; i < 3; ++i) Draw(1), present();
    return logits;
  }

  std::vector<std::byte> Snapshot() {
    std::vector<std::byte> bytes(SnapshotBytes(whole()));
    RequireOk(WriteSnapshot(whole(), bytes));
    return bytes;
  }

 private:
  size_t SamplerBytes(const SamplerOptions& options) {
    Arena measure;
    RequireOk(sampler_.Bind(options, vocab(), measure));
    return measure.used();
  }

  void Draw(size_t n) {
    for (size_t i = 0; i < n; ++i) RequireOk(session_->Next(sampler_).error());
  }

  const LoadedModel& model_;
  HeapSession session_;
  Sampler sampler_;
  HeapBlock memory_;
};

}  // namespace thimble
