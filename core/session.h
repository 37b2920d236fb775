// SPDX-License-Identifier: Apache-2.0
//
// One conversation with a model: its state, its cache, and the memory that the arithmetic needs, all taken from an
// arena before the first token. Plan counts the bytes, Bind takes them, and nothing after that takes any more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "core/arena.h"
#include "core/config.h"
#include "core/error.h"
#include "core/kernels.h"
#include "core/rope.h"
#include "core/snapshot.h"
#include "core/weights.h"

namespace thimble {

/// The bytes that a session takes from its arena, by section.
struct SessionPlan {
  size_t state = 0;        // DeltaNet states, conv tails, last hidden, positions: the same for any context
  size_t cache = 0;        // keys and values of `context` tokens, or of a window
  size_t checkpoints = 0;  // copies of `state`
  size_t history = 0;      // copies of `state`, for tokens to be taken back
  size_t work = 0;         // activations of a batch, scratch of every worker
  size_t total() const { return state + cache + checkpoints + history + work; }
};

class Sampler;

class Session {
 public:
  /// The bytes that Bind will take. Pure arithmetic; kTooLarge or kBadArgument when these limits cannot be.
  static Result<SessionPlan> Plan(const Config& config, const Limits& limits, const Backend& backend);

  Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Takes the session's memory and resets it. `model` and `backend`'s tables must outlive the session. On an arena
  /// that is too small: kTooSmall with the bytes that the arena would have needed, and the session stays unbound. On an
  /// arena that measures, it only counts.
  Error Bind(const Model& model, const Limits& limits, const Backend& backend, Arena& arena);

  /// Forgets everything that was fed.
  void Reset();

  /// Runs `tokens` (each in [0, vocab_size)) through the model. kFull, before anything is lost, when they do not fit in
  /// the context, which cannot happen with a window; kBadArgument for an id outside the vocabulary. `logits`: empty, or
  /// [tokens.size()][vocab_size] floats, not those of Logits, that receive the logits behind every token. `positions`:
  /// empty for text (each token follows the one before), or one per token.
  Error Feed(std::span<const Token> tokens, std::span<float> logits = {}, std::span<const Position> positions = {});

  /// The logits behind the last token, [vocab_size]; computed at the first call. The caller may change them until the
  /// next Feed. At least one token must have been fed.
  std::span<float> Logits();

  /// The logits of some rows of the head only: out[i] for rows[i].
  void Scores(std::span<const Token> rows, float* out);

  /// The token that `sampler` chooses to stand behind the last one; it is neither accepted nor fed. A sampler that only
  /// wants the largest logit gets it without any being written. Errors: those of Sampler::Sample.
  Result<Token> Choose(Sampler& sampler);

  /// The token with the largest logit, of equals the lowest; -1 when one of them is NaN or plus infinity, or all
  /// are minus infinity.
  Token Best();

  /// One step of generation: draws the token behind the last one, tells `sampler`, and feeds it. Errors: those of
  /// Sampler::Sample, and kFull, before anything is drawn, when there is no room to feed it.
  Result<Token> Next(Sampler& sampler);

  /// Keeps the present state as checkpoint `i` < limits.checkpoints, and goes back to it, bit for bit. A checkpoint is
  /// good until the session is fed from an earlier point than the one it holds, or becomes another by Restore or Fork.
  /// With a window, it is good for as long as no more than recall_reach() tokens were fed since: then rows that it
  /// needs are written over.
  void Keep(size_t i);
  void Recall(size_t i);
  size_t recall_reach() const;

  /// Takes back the last `n` tokens: the session is, bit for bit, what it was before the first of them was fed. For
  /// that the last limits.rewind tokens of a Feed go through the delta rule one by one, as if they had been fed so.
  /// kBadArgument with the number that can be taken back, and nothing has changed.
  Error Rewind(size_t n);

  /// Tokens that Rewind can take back now: those fed since Reset, Recall, Restore or Fork, at most limits.rewind, less
  /// those taken back already.
  size_t rewindable() const { return length() - static_cast<size_t>(oldest_); }

  /// A hash of the tokens fed so far, in order: what NextChain makes of each in turn, from 0 on. The same tokens at
  /// positions that are not a text's give another one.
  uint64_t chain() const { return state_->chain; }
  static uint64_t NextChain(uint64_t chain, Token token);

  /// The image of the session: its header, then everything it knows, checkpoints and logits excepted, in image_bytes()
  /// bytes; the logits are the head's product with the hidden state in it. Save writes it to `out`, which is no
  /// shorter.
  SnapshotHeader Describe() const;
  size_t image_bytes() const;
  void Save(std::span<std::byte> out) const;

  /// Becomes the session whose image this is, bit for bit. The numbers are proven; that the model is the same one is
  /// the caller's care. On an error nothing has changed: those of Fits, and kBadFile for bytes that are no image.
  Error Restore(std::span<const std::byte> image);

  /// Becomes a copy of `from`. On an error nothing has changed: those of Fits, and kBadArgument for another Model.
  Error Fork(const Session& from);

  /// Whether an image with this header can be restored here. kUnsupported: of another version; kBadArgument: of other
  /// limits (`name`) or of a model of other sizes; kFull: it has more tokens than the context.
  Error Fits(const SnapshotHeader& image) const;

  /// Calls f(std::span<const std::byte>) for the parts of an image behind its header, in order, where they lie.
  template <class F>
  void ForEachPiece(F f) const {
    for (size_t i = 0; i < piece_count(); ++i) f(std::span<const std::byte>(Piece(i, RowsAt(state_->length))));
  }

  size_t length() const { return static_cast<size_t>(state_->length); }  // tokens fed
  size_t room() const { return most() - length(); }                      // tokens that still fit
  const Config& config() const { return model_->config; }
  const Limits& limits() const { return limits_; }

 private:
  struct State {
    uint64_t length;        // tokens in the cache
    int64_t next_position;  // of the next text token
    uint64_t chain;         // of the tokens, see chain()
    int64_t full_position;  // next_position when the last token had come before any was out of sight
  };

  // Everything that Bind places: the same function measures and binds.
  SessionPlan Layout(const Config& config, const Limits& limits, const Backend& backend, Arena& arena);

  struct Product {
    const Matrix* w;
    float* y;  // [tokens][w->rows]
  };
  using Products = std::span<const Product>;

  // The best of some tokens. What is worse in whatever order they are looked at stays worse.
  struct Candidate {
    float logit;
    Token token;  // -1: one of the logits was NaN or plus infinity
    void Meet(float other, Token its) {
      if (!(other <= std::numeric_limits<float>::max())) token = -1;
      if (token < 0 || other < logit || (other == logit && its > token)) return;
      logit = other;
      token = its;
    }
  };

  // The activations of one DeltaNet layer, and its part of the state.
  struct DeltaNetWork {
    size_t tokens;
    size_t stepped;  // of these, the last ones, which can be taken back
    float* qkv;      // [tokens][conv_channels]
    float* z;        // [tokens][inner_size]
    float* out;      // [tokens][inner_size]
    float* beta;     // [tokens][Hv]
    float* decay;    // [tokens][Hv], the logarithm
    float* tail;
    float* state;    // of this layer, [Hv][dv][dk]; or
    int16_t* codes;  // [Hv][dv][dk], null when there are floats
    float* scales;   // [Hv][dv]
  };

  // The activations of one attention layer, and its part of the cache.
  struct AttentionWork {
    size_t tokens;
    float* q;    // [tokens][head_count][2][key_length]: query, gate
    float* k;    // [tokens][head_count_kv][key_length]
    float* v;    // [tokens][head_count_kv][key_length]
    float* out;  // [tokens][head_count][key_length]
    std::byte* k_cache;
    std::byte* v_cache;
  };

  // What an image consists of: the state, then of every attention layer the keys and the values of the cache's first
  // `count` rows.
  size_t piece_count() const { return 1 + 2 * model_->config.attention_count(); }
  std::span<std::byte> Piece(size_t i, size_t count) const;
  // Rows of the cache; of these in use after `length` tokens; tokens that can be fed at all.
  size_t rows() const { return ring_.sinks + ring_.rows; }
  size_t RowsAt(uint64_t length) const { return length < rows() ? static_cast<size_t>(length) : rows(); }
  size_t most() const { return limits_.window == 0 ? limits_.context : SIZE_MAX; }

  Error Full() const;
  void Chain(Token token, const Position* position);
  // The state block as it was, or is being kept, before token `t` of the batch; what lies in it where `piece` does in
  // the present one.
  std::byte* Before(size_t t) const { return history_ + (length() + t) % limits_.rewind * state_bytes_; }
  template <class T>
  T* In(std::byte* block, const T* piece) const {
    return reinterpret_cast<T*>(
        block + (reinterpret_cast<const std::byte*>(piece) - reinterpret_cast<const std::byte*>(state_)));
  }

  void FeedAll(std::span<const Token> tokens, const Position* positions, float* logits);
  void Embed(std::span<const Token> tokens, const Position* positions, size_t stepped);
  void RunBatch(std::span<const Token> tokens, const Position* positions, float* logits, size_t stepped);
  void RunDeltaNet(const LayerWeights& layer, size_t index, size_t n, size_t stepped);
  void ConvolveGroup(const DeltaNetWeights& w, const DeltaNetWork& work, size_t group);
  void RunDeltaRows(const DeltaNetWork& work, size_t head, size_t begin, size_t rows, std::byte* scratch);
  void RunDeltaTokens(DeltaHead* head, const StateRows& kept, float* scratch);
  void KeepTails(const DeltaNetWork& work, size_t begin, size_t end);
  void RunAttention(const LayerWeights& layer, size_t index, size_t n);
  void PlaceToken(const AttentionWeights& w, const AttentionWork& work, size_t t);
  void AttendHead(const AttentionWork& work, size_t h, size_t first, size_t tokens, std::byte* scratch);
  void RunFeedForward(const LayerWeights& layer, size_t first, size_t n);
  Activations Rounded(const float* x, size_t n, size_t cols);
  Activations Head();
  void Round(const Activations& x, size_t t);
  void Normalise(const float* weight, size_t first, const Activations& x);
  void Multiply(const Activations& x, Products products);
  void Mark(Part part);
  const Workers& WorkersFor(size_t tokens) const { return tokens == 1 ? backend_.step_workers : backend_.workers; }
  std::byte* Scratch(size_t worker) { return scratch_ + worker * scratch_bytes_; }

  const Model* model_ = nullptr;
  Limits limits_;
  Backend backend_{.kernels = nullptr};  // whoever binds others does not link the portable ones
  bool logits_valid_ = false;            // logits_ belong to hidden_

  // State, in this order and without gaps, so that a snapshot is one copy; the cache follows it.
  State* state_ = nullptr;
  float* hidden_ = nullptr;           // [embedding_length], the last token's, after output_norm
  float* delta_ = nullptr;            // [recurrent layers][Hv][dv][dk], or instead of it
  int16_t* delta_codes_ = nullptr;    // [recurrent layers][Hv][dv][dk]
  float* delta_scales_ = nullptr;     // [recurrent layers][Hv][dv]
  float* conv_ = nullptr;             // [recurrent layers][conv_kernel - 1][conv_channels]
  std::byte* cache_ = nullptr;        // of each attention layer, in limits.k and limits.v:
                                      // [2: k, v][rows()][head_count_kv][key_length]
  size_t state_bytes_ = 0;            // from state_ to cache_
  std::byte* checkpoints_ = nullptr;  // [checkpoints][state_bytes_]
  std::byte* history_ = nullptr;      // [rewind][state_bytes_]; the state after p tokens is in p % rewind
  uint64_t oldest_ = 0;               // tokens after which history_ has the oldest state

  // Work.
  float* logits_ = nullptr;        // [vocab_size], where activations lie during a batch
  float* residual_ = nullptr;      // [batch][embedding_length]
  float* normed_ = nullptr;        // [batch][embedding_length], the input of a mixer or feed-forward network
  float* mixed_ = nullptr;         // [batch][embedding_length], its output, not yet added to the residual
  float* mixer_ = nullptr;         // the activations inside one layer: each Run function divides it
  float* cos_sin_ = nullptr;       // [batch][dimension_count / 2][2]
  float* sink_cos_sin_ = nullptr;  // like cos_sin_, of the queries that meet sinks
  float* sink_q_ = nullptr;        // [batch][head_count][key_length], these
  int8_t* codes_ = nullptr;        // of Activations, [batch][widest input]
  float* scales_ = nullptr;        // [batch][widest input / kBlock]
  int32_t* sums_ = nullptr;        // [batch][widest input / kBlock]
  Candidate* best_ = nullptr;      // [workers]
  std::byte* scratch_ = nullptr;   // [workers][scratch_bytes_]
  size_t scratch_bytes_ = 0;
  Ring ring_;  // of the cache's rows
};

}  // namespace thimble
