// SPDX-License-Identifier: Apache-2.0
//
// Chooses the next token from logits. It owns the options, the random numbers and the memory of what was said; it knows
// neither text nor sessions: whoever calls it compares the token with his stop tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/arena.h"
#include "core/config.h"
#include "core/error.h"

namespace thimble {

/// Added to one token's logit; minus infinity forbids the token.
struct LogitBias {
  Token token = 0;
  float bias = 0.0f;
};

/// The defaults draw from the model's own distribution. They are applied in this order, which is Hugging Face's:
/// logit_bias, banned tokens, repetition_penalty, presence and frequency penalty, temperature, top_k, top_p, min_p;
/// each of the last three sees only what the one before left, and always leaves the most probable token.
struct SamplerOptions {
  float temperature = 1.0f;         // logits / temperature; 0: the largest logit, of equals the lowest id
  uint32_t top_k = 0;               // keep this many tokens; 0: all
  float top_p = 1.0f;               // keep the most probable tokens until they have this much probability; in [0, 1]
  float min_p = 0.0f;               // keep tokens with this share of the largest probability; in [0, 1]
  float repetition_penalty = 1.0f;  // logits of seen tokens: above 0 divided by it, below 0 multiplied; above 0
  float presence_penalty = 0.0f;    // subtracted from the logit of every token that was generated
  float frequency_penalty = 0.0f;   // subtracted once for each time that it was generated
  uint32_t penalty_window = 1024;   // the penalties look back this many tokens; 0: not at all
  uint64_t seed = 0;
  std::span<const LogitBias> logit_bias = {};  // must outlive the sampler
};

/// What counts as seen: the repetition penalty looks at the prompt and at what was generated (as Hugging Face and vLLM
/// do), the presence and frequency penalties only at what was generated (as OpenAI and vLLM do). The window goes over
/// both.
///
/// The same options, seed and logits give the same tokens on every machine.
class Sampler {
 public:
  static constexpr size_t kMaxVocab = size_t{1} << 22;

  /// Checks the options and takes the memory; nothing is taken later. On a measuring arena it only counts bytes.
  /// kBadArgument names the option that is out of its range, kTooLarge a vocabulary above kMaxVocab.
  Error Bind(const SamplerOptions& options, size_t vocab, Arena& arena);

  /// Never samples `token` (in [0, vocab)) from now on: for padding rows and unused ids.
  void Ban(Token token) { banned_[static_cast<size_t>(token) / 64] |= uint64_t{1} << (token % 64); }

  bool banned(Token token) const { return (banned_[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0; }

  /// Whether Sample gives the largest logit that is not banned and changes none of them.
  bool greedy() const { return options_.temperature == 0.0f && !penalises() && options_.logit_bias.empty(); }

  /// For a new conversation: forgets what was seen and begins the random numbers again. Banned tokens stay banned.
  void Reset();

  /// Tells the penalties about tokens in [0, vocab): those of the prompt, and each one that was generated.
  void AcceptPrompt(std::span<const Token> tokens);
  void Accept(Token token);

  /// The next token, which is not yet accepted. `logits` are [vocab] and are overwritten. kBadFile when one of them is
  /// NaN or plus infinity, kNotFound when all are banned or minus infinity.
  Result<Token> Sample(std::span<float> logits);

  /// What the sampler knows of the conversation, as bytes where they lie: its random numbers and the window of the
  /// penalties. Options and banned tokens are no part of it.
  std::span<const std::byte> image() const {
    return {reinterpret_cast<const std::byte*>(state_), sizeof(State) + options_.penalty_window * sizeof(Token)};
  }

  /// Goes on where the sampler of this image stood. Fits says whether it can. kBadArgument: that one has another
  /// penalty_window or vocabulary; kBadFile: bytes that are no image.
  Error Fits(std::span<const std::byte> image) const;
  Error Restore(std::span<const std::byte> image);

 private:
  // The window follows it without a gap, so that the image is one piece.
  struct alignas(Arena::kAlign) State {
    uint64_t random;
    uint32_t vocab;
    uint32_t window;  // entries that there is room for behind this
    uint32_t size;    // entries in use
    uint32_t next;    // where the next one goes
  };

  bool penalises() const;
  void Remember(Token entry);
  void Penalise(std::span<float> logits);
  size_t Draw(std::span<const float> weights);

  SamplerOptions options_;
  size_t vocab_ = 0;
  uint64_t* banned_ = nullptr;  // [vocab / 64], a bit for every token
  uint64_t* marked_ = nullptr;  // [vocab / 64], all 0 between calls; only with penalties
  State* state_ = nullptr;
  Token* window_ = nullptr;   // [penalty_window], a ring behind state_; ~token for one of the prompt
  uint64_t* bins_ = nullptr;  // [256], only with top_k or top_p
  Token* kept_ = nullptr;     // [top_k], the tokens that top_k leaves, in order
};

}  // namespace thimble
