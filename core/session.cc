// SPDX-License-Identifier: Apache-2.0
//
// Plan, Bind and Run of a session: where everything lies, and the order of the layers. The arithmetic is in the
// kernels.
#include "core/session.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/math.h"
#include "core/rotate.h"
#include "core/sampler.h"

namespace thimble {
namespace {

// A task multiplies at least this many rows of a matrix, and of a long one a 256th: small enough that nobody waits long
// for the last. A multiple of every format's tile_rows.
constexpr size_t kRowsPerTask = 32;
constexpr size_t kTasksPerMatrix = 256;

size_t RowsPerTask(const Matrix& w) {
  const size_t share = w.rows / kTasksPerMatrix;
  return std::max<size_t>(1, share / kRowsPerTask) * kRowsPerTask;
}
size_t TaskCount(const Matrix& w) { return (w.rows + RowsPerTask(w) - 1) / RowsPerTask(w); }

// Floats of one token inside a layer, for each kind of layer.
size_t DeltaNetFloats(const Config& c) {
  return c.conv_channels() + 2 * size_t{c.inner_size} + 2 * size_t{c.time_step_rank};
}
size_t AttentionFloatsPerToken(const Config& c) { return 3 * c.attention_dim() + 2 * c.kv_dim(); }
size_t FeedForwardFloats(const Config& c) { return 2 * size_t{c.feed_forward_length}; }

// And in all: the residual, the input and the output of a layer, and what is inside.
size_t ActivationFloats(const Config& c) {
  return 3 * size_t{c.embedding_length} +
         std::max<size_t>(DeltaNetFloats(c), std::max<size_t>(AttentionFloatsPerToken(c), FeedForwardFloats(c)));
}

// Columns of the widest matrix.
size_t WidestInput(const Config& c) {
  return std::max<size_t>(std::max<size_t>(c.embedding_length, c.feed_forward_length),
                          std::max<size_t>(c.inner_size, c.attention_dim()));
}

// Bytes of one worker's scratch: the largest need of any kernel with so many tokens at a time. A state in 16 bits is
// widened there, a head at a time.
size_t ScratchBytes(const Config& c, const Limits& limits, const Kernels& kernels) {
  const size_t widened = limits.state == StateForm::kF32 ? 0 : size_t{c.state_size} * c.value_size();
  const size_t chunk = limits.batch < kDeltaChunkMin ? 0 : DeltaChunkFloats(c.state_size, c.value_size());
  const size_t queries = std::min<size_t>(kAttentionTokens, limits.batch) * (c.head_count / c.head_count_kv);
  const size_t floats = std::max(chunk + widened, AttentionFloats(c.key_length, queries));
  return std::max(MatmulScratch(WidestInput(c), kernels.matmul_rows), floats * sizeof(float));
}

size_t WorkerCount(const Backend& backend) {
  return std::max<size_t>(backend.workers.count, backend.step_workers.count);
}

// Bytes of one head's row in the cache, and of a token's in one layer.
size_t RowBytes(const Config& c, Type type) {
  const Format& format = FormatOf(type);
  return size_t{c.key_length} / format.block_size * format.block_bytes;
}
size_t TokenBytes(const Config& c, Type type) { return c.head_count_kv * RowBytes(c, type); }

// Behind a token's window lie the rows of the tokens that are fed together with it, or that were taken back.
Ring RingOf(const Limits& limits) {
  if (limits.window == 0) return {0, limits.context};
  return {limits.sinks, size_t{limits.window} - 1 + std::max(limits.batch, limits.rewind)};
}

Error BadArgument(const char* what, uint64_t at = 0) { return {Status::kBadArgument, what, at}; }

Error CheckType(const Config& config, Type type) {
  Error error;
  const Format* format = FindFormat(static_cast<uint32_t>(type));
  if (format == nullptr || format->encode == nullptr) {
    error.what = "the cache is stored as F32, F16, Q8_0, IQ4_NL or NL3, if this program reads it; not as this type";
    error.at = static_cast<uint32_t>(type);
  } else if (config.key_length % format->block_size != 0) {
    error.what = "this model's heads are no multiple of 32 values long, so its cache is stored as F32 or F16";
    error.at = config.key_length;
  } else {
    return error;
  }
  error.status = Status::kUnsupported;
  return error;
}

Error Check(const Config& config, const Limits& limits, const Backend& backend) {
  if (config.embedding_length == 0 || config.head_count_kv == 0 || config.time_step_rank == 0) {
    return BadArgument("the config is empty; io/load_qwen35 fills it");
  }
  if (backend.workers.count == 0 || backend.step_workers.count == 0) {
    return BadArgument("there must be at least 1 worker");
  }
  if (limits.batch == 0) return BadArgument("the batch must be at least 1 token");
  if (limits.window == 0 && (limits.context == 0 || limits.context > INT32_MAX)) {
    return BadArgument("the context must hold at least 1 and at most 2147483647 tokens", limits.context);
  }
  const uint64_t rows = uint64_t{limits.window} + limits.sinks + std::max(limits.batch, limits.rewind);
  if (limits.window != 0 && rows > INT32_MAX) {
    return BadArgument("a window with its sinks and a batch must be at most 2147483647 tokens", rows);
  }
  if (const Error error = CheckType(config, limits.k); !error.ok()) return error;
  if (const Error error = CheckType(config, limits.v); !error.ok()) return error;
  const Format& k = FormatOf(limits.k);
  const Format& v = FormatOf(limits.v);
  if (k.block_bytes * v.block_size < v.block_bytes * k.block_size) {
    return BadArgument("the cache's keys must not have fewer bits than its values");
  }
  return {};
}

// Tokens that a task attends with: many share the decoding of rows, few leave every worker several tasks.
size_t AttentionTokens(size_t tokens, size_t heads, const Workers& workers) {
  constexpr size_t kTasksPerWorker = 3;
  const size_t share = workers.count == 1 ? tokens : tokens * heads / (workers.count * kTasksPerWorker);
  return std::clamp<size_t>(share, 1, kAttentionTokens);
}

// The position that lies `distance` before this one on every axis.
Position Nearer(const Position& position, int64_t distance) {
  const auto before = [distance](int64_t x) {
    return static_cast<int64_t>(static_cast<uint64_t>(x) - static_cast<uint64_t>(distance));
  };
  return {before(position.t), before(position.h), before(position.w)};
}

}  // namespace

SessionPlan Session::Layout(const Config& c, const Limits& limits, const Backend& backend, Arena& arena) {
  ring_ = RingOf(limits);
  const size_t batch = std::min<size_t>(limits.batch, rows());
  const size_t recurrent = c.recurrent_count();
  const size_t channels = c.conv_channels();
  SessionPlan plan;
  size_t mark = arena.used();
  const auto section = [&](size_t& bytes) {
    bytes = arena.used() - mark;
    mark = arena.used();
  };

  state_ = arena.Take<State>(1);
  hidden_ = arena.Take<float>(c.embedding_length);
  const size_t floats = limits.state == StateForm::kF32 ? c.inner_size : 0;  // rows of a layer's state in either form
  const size_t coded = c.inner_size - floats;
  delta_ = arena.Take<float>(c.state_size, floats, recurrent);
  delta_codes_ = arena.Take<int16_t>(c.state_size, coded, recurrent);
  delta_scales_ = arena.Take<float>(coded, recurrent);
  conv_ = arena.Take<float>(channels, c.conv_kernel - 1, recurrent);
  section(plan.state);
  state_bytes_ = plan.state;
  cache_ = arena.Take<std::byte>(TokenBytes(c, limits.k) + TokenBytes(c, limits.v), rows(), c.block_count - recurrent);
  section(plan.cache);
  checkpoints_ = arena.Take<std::byte>(limits.checkpoints, plan.state);
  section(plan.checkpoints);
  history_ = arena.Take<std::byte>(limits.rewind, plan.state);
  section(plan.history);

  const size_t widest = WidestInput(c);
  const size_t with_sinks = ring_.sinks == 0 ? 0 : batch;
  const size_t workers = WorkerCount(backend);
  scratch_bytes_ = (ScratchBytes(c, limits, *backend.kernels) + Arena::kAlign - 1) / Arena::kAlign * Arena::kAlign;
  logits_ = arena.Take<float>(batch, std::max<size_t>((c.vocab_size + batch - 1) / batch, ActivationFloats(c)));
  cos_sin_ = arena.Take<float>(batch, c.rope.dimension_count);
  sink_cos_sin_ = arena.Take<float>(with_sinks, c.rope.dimension_count);
  sink_q_ = arena.Take<float>(with_sinks, c.attention_dim());
  codes_ = arena.Take<int8_t>(batch, widest);
  scales_ = arena.Take<float>(batch, widest / Activations::kBlock);
  sums_ = arena.Take<int32_t>(batch, widest / Activations::kBlock);
  best_ = arena.Take<Candidate>(workers);
  scratch_ = arena.Take<std::byte>(workers, scratch_bytes_);
  section(plan.work);
  return plan;
}

Result<SessionPlan> Session::Plan(const Config& config, const Limits& limits, const Backend& backend) {
  if (const Error error = Check(config, limits, backend); !error.ok()) return error;
  Arena measure;
  Session unbound;
  const SessionPlan plan = unbound.Layout(config, limits, backend, measure);
  if (!measure.error().ok()) return measure.error();
  return plan;
}

Error Session::Bind(const Model& model, const Limits& limits, const Backend& backend, Arena& arena) {
  state_ = nullptr;
  if (const Error error = Check(model.config, limits, backend); !error.ok()) return error;
  Layout(model.config, limits, backend, arena);
  if (const Error error = arena.error(); !error.ok() || arena.measuring()) {
    state_ = nullptr;
    return error;
  }
  model_ = &model;
  limits_ = limits;
  limits_.batch = static_cast<uint32_t>(std::min<size_t>(limits.batch, rows()));
  backend_ = backend;
  const size_t width = size_t{limits_.batch} * model.config.embedding_length;
  residual_ = logits_;
  normed_ = residual_ + width;
  mixed_ = normed_ + width;
  mixer_ = mixed_ + width;
  Reset();
  return {};
}

void Session::Reset() {
  std::memset(static_cast<void*>(state_), 0, state_bytes_);
  oldest_ = 0;
  logits_valid_ = false;
}

void Session::Keep(size_t i) { std::memcpy(checkpoints_ + i * state_bytes_, static_cast<void*>(state_), state_bytes_); }

void Session::Recall(size_t i) {
  std::memcpy(static_cast<void*>(state_), checkpoints_ + i * state_bytes_, state_bytes_);
  oldest_ = state_->length;
  logits_valid_ = false;
}

Error Session::Rewind(size_t n) {
  if (n > rewindable()) {
    return BadArgument("so many tokens cannot be taken back; this many can", rewindable());
  }
  if (n == 0) return {};
  const std::byte* before = history_ + (length() - n) % limits_.rewind * state_bytes_;
  std::memcpy(static_cast<void*>(state_), before, state_bytes_);
  logits_valid_ = false;
  return {};
}

// From the checkpoint on, a window reaches one row less than itself back; all rows behind have been written since.
size_t Session::recall_reach() const { return limits_.window == 0 ? SIZE_MAX : ring_.rows - (limits_.window - 1); }

std::span<std::byte> Session::Piece(size_t i, size_t count) const {
  if (i == 0) return {reinterpret_cast<std::byte*>(state_), state_bytes_};
  const size_t k_bytes = TokenBytes(model_->config, limits_.k);
  const size_t v_bytes = TokenBytes(model_->config, limits_.v);
  std::byte* layer = cache_ + (i - 1) / 2 * rows() * (k_bytes + v_bytes);
  if (i % 2 == 1) return {layer, count * k_bytes};
  return {layer + rows() * k_bytes, count * v_bytes};
}

Error Session::Full() const { return {Status::kFull, "the context is full; it holds this many tokens", most()}; }

Error Session::Feed(std::span<const Token> tokens, std::span<float> logits, std::span<const Position> positions) {
  const size_t vocab = model_->config.vocab_size;
  if (tokens.size() > room()) return Full();
  for (const Token token : tokens) {
    if (token < 0 || static_cast<size_t>(token) >= vocab) {
      return BadArgument("no such token in the vocabulary", static_cast<uint32_t>(token));
    }
  }
  if (!logits.empty() && logits.size() / vocab < tokens.size()) {
    return {Status::kTooSmall, "the room for logits is too small; it needs this many floats", tokens.size() * vocab};
  }
  if (!positions.empty() && positions.size() != tokens.size()) {
    return BadArgument("there must be one position for each token", positions.size());
  }
  FeedAll(tokens, positions.empty() ? nullptr : positions.data(), logits.empty() ? nullptr : logits.data());
  return {};
}

// Feed, when nothing can go wrong any more.
void Session::FeedAll(std::span<const Token> tokens, const Position* positions, float* logits) {
  const size_t end = length() + tokens.size();
  const size_t together = tokens.size() - std::min<size_t>(limits_.rewind, tokens.size());
  oldest_ = std::max<uint64_t>(oldest_, end - std::min<size_t>(limits_.rewind, end));
  for (size_t begin = 0; begin < tokens.size(); begin += limits_.batch) {
    const size_t n = std::min<size_t>(limits_.batch, tokens.size() - begin);
    RunBatch(tokens.subspan(begin, n), positions == nullptr ? nullptr : positions + begin,
             logits == nullptr ? nullptr : logits + begin * model_->config.vocab_size,
             begin + n - std::clamp(together, begin, begin + n));
  }
}

std::span<float> Session::Logits() {
  const Weights& w = model_->weights;
  const Product head[] = {{&w.output, logits_}};
  if (!logits_valid_) Multiply(Head(), head);
  logits_valid_ = true;
  return {logits_, w.output.rows};
}

void Session::Scores(std::span<const Token> rows, float* out) {
  const Matrix& w = model_->weights.output;
  const Activations x = Head();
  const size_t tile = w.format->tile_rows;
  float y[kMatmulTileRows];
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t row = static_cast<size_t>(rows[i]);
    const size_t begin = row / tile * tile;
    backend_.kernels->matmul(w, begin, std::min<size_t>(begin + tile, w.rows), x, y, 0, scratch_);
    out[i] = y[row - begin];
  }
}

Token Session::Best() {
  const Matrix& w = model_->weights.output;
  const Activations x = Head();
  const size_t share = RowsPerTask(w);
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < WorkerCount(backend_); ++i) best_[i] = {kLowest, INT32_MAX};
  ParallelFor(backend_.step_workers, TaskCount(w), [&](size_t i, size_t worker) {
    float y[kRowsPerTask];
    const size_t end = std::min<size_t>((i + 1) * share, w.rows);
    for (size_t begin = i * share; begin < end; begin += kRowsPerTask) {
      const size_t n = std::min<size_t>(kRowsPerTask, end - begin);
      backend_.kernels->matmul(w, begin, begin + n, x, y, 0, Scratch(worker));
      for (size_t r = 0; r < n; ++r) best_[worker].Meet(y[r], static_cast<Token>(begin + r));
    }
  });
  Candidate best = best_[0];
  for (size_t i = 1; i < WorkerCount(backend_); ++i) {
    best.Meet(best_[i].token < 0 ? std::numeric_limits<float>::quiet_NaN() : best_[i].logit, best_[i].token);
  }
  Mark(Part::kHead);
  return best.logit == kLowest ? Token{-1} : best.token;
}

Result<Token> Session::Choose(Sampler& sampler) {
  if (sampler.greedy()) {
    const Token best = Best();
    if (best >= 0 && !sampler.banned(best)) return best;
  }
  const std::span<float> logits = Logits();
  logits_valid_ = false;  // the sampler changes them
  return sampler.Sample(logits);
}

Result<Token> Session::Next(Sampler& sampler) {
  if (room() == 0) return Full();
  const Result<Token> token = Choose(sampler);
  if (!token) return token;
  sampler.Accept(*token);
  FeedAll({&*token, 1}, nullptr, nullptr);
  return token;
}

// A token at a position of its own is another one; the complement of a coordinate is no token.
void Session::Chain(Token token, const Position* position) {
  uint64_t& chain = state_->chain;
  chain = NextChain(chain, token);
  if (position == nullptr) return;
  for (const int64_t coordinate : {position->t, position->h, position->w}) {
    chain = NextChain(chain, static_cast<Token>(~coordinate));
  }
}

// Rows of token_embd, angles of positions, the chain.
void Session::Embed(std::span<const Token> tokens, const Position* positions, size_t stepped) {
  const Config& c = model_->config;
  const Weights& w = model_->weights;
  const size_t width = c.embedding_length;
  for (size_t t = 0; t < tokens.size(); ++t) {
    if (t >= tokens.size() - stepped) {
      State* before = In(Before(t), state_);
      *before = *state_;
      before->length += t;
    }
    w.token_embd.DecodeRow(static_cast<size_t>(tokens[t]), residual_ + t * width);
    const int64_t next = state_->next_position;
    const Position position = positions != nullptr ? positions[t] : Position{next, next, next};
    const size_t angles = t * c.rope.dimension_count;
    RopeAngles(c.rope, w.rope_frequencies, w.rope_scale, position, cos_sin_ + angles);
    const int64_t last = std::max({position.t, position.h, position.w});
    state_->next_position = std::max(next, last + 1);
    if (ring_.sinks != 0) {
      if (length() + t < ring_.sinks + limits_.window) state_->full_position = state_->next_position;
      const int64_t beyond = std::max<int64_t>(0, last + 1 - state_->full_position);
      RopeAngles(c.rope, w.rope_frequencies, w.rope_scale, Nearer(position, beyond), sink_cos_sin_ + angles);
    }
    Chain(tokens[t], position.t == next && position.h == next && position.w == next ? nullptr : &position);
  }
  std::memset(mixed_, 0, tokens.size() * width * sizeof(float));
  Mark(Part::kEmbedding);
}

// The last `stepped` tokens can be taken back.
void Session::RunBatch(std::span<const Token> tokens, const Position* positions, float* logits, size_t stepped) {
  const Config& c = model_->config;
  const Weights& w = model_->weights;
  const size_t n = tokens.size();
  const size_t width = c.embedding_length;
  logits_valid_ = false;
  if (stepped == n) std::memcpy(In(Before(0), hidden_), hidden_, width * sizeof(float));
  Embed(tokens, positions, stepped);
  // Behind the last mixer nobody asks for any tokens but the last, and those before one that can be taken back, unless
  // for their logits.
  const size_t last = logits == nullptr ? n - std::min(n, stepped + 1) : 0;
  size_t recurrent = 0;
  size_t attention = 0;
  for (size_t i = 0; i < c.block_count; ++i) {
    const LayerWeights& layer = w.layers[i];
    if (c.IsRecurrent(i)) {
      RunDeltaNet(layer, recurrent++, n, stepped);
    } else {
      RunAttention(layer, attention++, n);
    }
    const size_t first = i + 1 == c.block_count ? last : 0;
    RunFeedForward(layer, first, n - first);
  }
  const Activations x = Rounded(normed_, n - last, width);
  Normalise(w.output_norm, last, x);
  for (size_t t = std::max<size_t>(1, n - stepped); t < n; ++t) {
    std::memcpy(In(Before(t), hidden_), normed_ + (t - 1 - last) * width, width * sizeof(float));
  }
  std::memcpy(hidden_, normed_ + (n - last - 1) * width, width * sizeof(float));
  state_->length += n;
  const Product head[] = {{&w.output, logits}};
  if (logits != nullptr) Multiply(x, head);
  Mark(Part::kHead);
}

void Session::Mark(Part part) {
  if (backend_.mark != nullptr) backend_.mark(backend_.mark_context, part);
}

// x[n][cols] and where they are rounded to. The rounding itself is Round.
Activations Session::Rounded(const float* x, size_t n, size_t cols) {
  const bool rounds = backend_.kernels->quantise != nullptr && cols % Activations::kBlock == 0;
  return {n, cols, x, rounds ? codes_ : nullptr, scales_, sums_};
}

void Session::Round(const Activations& x, size_t t) {
  if (x.codes != nullptr) backend_.kernels->quantise(x, t);
}

// The last token's, rounded for the head.
Activations Session::Head() {
  const Activations x = Rounded(hidden_, 1, model_->config.embedding_length);
  Round(x, 0);
  return x;
}

// Adds what the last mixer or feed-forward network gave to the residual of x.tokens tokens from `first` on;
// normed_ = RMSNorm of them.
void Session::Normalise(const float* weight, size_t first, const Activations& x) {
  const size_t width = model_->config.embedding_length;
  ParallelFor(WorkersFor(x.tokens), x.tokens, [&](size_t t, size_t) {
    float* residual = residual_ + (first + t) * width;
    const float* mixed = mixed_ + (first + t) * width;
    for (size_t i = 0; i < width; ++i) residual[i] += mixed[i];
    backend_.kernels->rms_norm(residual, weight, width, model_->config.layer_norm_rms_epsilon, normed_ + t * width);
    Round(x, t);
  });
}

// y[tokens][w.rows] = x[tokens][w.cols] times the rows of w, for every product.
void Session::Multiply(const Activations& x, Products products) {
  size_t tasks = 0;
  for (const Product& product : products) tasks += TaskCount(*product.w);
  ParallelFor(WorkersFor(x.tokens), tasks, [&](size_t i, size_t worker) {
    const Product* product = products.data();
    for (; i >= TaskCount(*product->w); ++product) i -= TaskCount(*product->w);
    const Matrix& w = *product->w;
    const size_t begin = i * RowsPerTask(w);
    const size_t end = std::min<size_t>(begin + RowsPerTask(w), w.rows);
    backend_.kernels->matmul(w, begin, end, x, product->y + begin, w.rows, Scratch(worker));
  });
}

void Session::RunFeedForward(const LayerWeights& layer, size_t first, size_t n) {
  const Config& c = model_->config;
  const size_t length = c.feed_forward_length;
  float* gate = mixer_;           // [n][length]
  float* up = gate + n * length;  // [n][length]
  const Product in[] = {{&layer.ffn_gate, gate}, {&layer.ffn_up, up}};
  const Activations x = Rounded(normed_, n, c.embedding_length);
  Normalise(layer.post_attention_norm, first, x);
  Multiply(x, in);

  const Product out[] = {{&layer.ffn_down, mixed_ + first * c.embedding_length}};
  const Activations hidden = Rounded(gate, n, length);
  ParallelFor(WorkersFor(n), n, [&](size_t t, size_t) {
    backend_.kernels->swiglu(gate + t * length, up + t * length, length);
    Round(hidden, t);
  });
  Multiply(hidden, out);
  Mark(Part::kFeedForward);
}

void Session::RunAttention(const LayerWeights& layer, size_t index, size_t n) {
  const Config& c = model_->config;
  const AttentionWeights& w = layer.attention;
  const size_t width = c.attention_dim();
  AttentionWork work;
  work.tokens = n;
  work.q = mixer_;                     // [n][queries][2][d]
  work.k = work.q + n * 2 * width;     // [n][keys][d]
  work.v = work.k + n * c.kv_dim();    // [n][keys][d]
  work.out = work.v + n * c.kv_dim();  // [n][queries][d]
  work.k_cache = Piece(1 + 2 * index, 0).data();
  work.v_cache = Piece(2 + 2 * index, 0).data();
  const Product in[] = {{&w.attn_q, work.q}, {&w.attn_k, work.k}, {&w.attn_v, work.v}};
  const Activations x = Rounded(normed_, n, c.embedding_length);
  Normalise(layer.attn_norm, 0, x);
  Multiply(x, in);
  Mark(Part::kAttentionProjections);

  ParallelFor(WorkersFor(n), n, [&](size_t t, size_t) { PlaceToken(w, work, t); });
  const size_t keys = c.head_count_kv;
  const size_t tile = AttentionTokens(n, keys, WorkersFor(n));
  ParallelFor(WorkersFor(n), (n + tile - 1) / tile * keys, [&](size_t i, size_t worker) {
    const size_t first = i / keys * tile;
    AttendHead(work, i % keys, first, std::min<size_t>(tile, n - first), Scratch(worker));
  });
  Mark(Part::kAttention);

  const Product product[] = {{&w.attn_output, mixed_}};
  const Activations gated = Rounded(work.out, n, width);
  ParallelFor(WorkersFor(n), n, [&](size_t t, size_t) { Round(gated, t); });
  Multiply(gated, product);
  Mark(Part::kAttentionProjections);
}

// Queries and keys of token `t`, normalised and turned to their position, and rotated where the cache has few bits; its
// row of the cache.
void Session::PlaceToken(const AttentionWeights& w, const AttentionWork& work, size_t t) {
  const Config& c = model_->config;
  const size_t d = c.key_length;
  const size_t queries = c.head_count;
  const size_t keys = c.head_count_kv;
  const float* cos_sin = cos_sin_ + t * c.rope.dimension_count;
  for (size_t h = 0; h < queries + keys; ++h) {
    float* head = h < queries ? work.q + (t * queries + h) * 2 * d : work.k + (t * keys + h - queries) * d;
    const float* norm = h < queries ? w.attn_q_norm : w.attn_k_norm;
    backend_.kernels->rms_norm(head, norm, d, c.layer_norm_rms_epsilon, head);
    if (ring_.sinks != 0 && h < queries) {
      float* sink_q = sink_q_ + (t * queries + h) * d;
      std::memcpy(sink_q, head, d * sizeof(float));
      ApplyRope(c.rope, sink_cos_sin_ + t * c.rope.dimension_count, sink_q);
      if (IsRotated(FormatOf(limits_.k))) Rotate(sink_q, d);
    }
    ApplyRope(c.rope, cos_sin, head);
    if (IsRotated(FormatOf(limits_.k))) Rotate(head, d);
  }
  for (size_t h = 0; h < keys && IsRotated(FormatOf(limits_.v)); ++h) Rotate(work.v + (t * keys + h) * d, d);
  const size_t slot = ring_.Slot(length() + t);
  const auto keep = [&](Type type, const float* row, std::byte* cache) {
    const Format& format = FormatOf(type);
    format.encode(row + t * c.kv_dim(), c.kv_dim() / format.block_size, cache + slot * TokenBytes(c, type));
  };
  keep(limits_.k, work.k, work.k_cache);
  keep(limits_.v, work.v, work.v_cache);
}

// What `tokens` tokens from `first` on get from key/value head `h`.
void Session::AttendHead(const AttentionWork& work, size_t h, size_t first, size_t tokens, std::byte* scratch) {
  const Config& c = model_->config;
  const size_t d = c.key_length;
  const size_t queries = c.head_count;
  const size_t group = queries / c.head_count_kv;
  const auto rows = [&](Type type, const std::byte* cache) {
    return CacheRows{&FormatOf(type), cache + h * RowBytes(c, type), TokenBytes(c, type)};
  };
  const AttentionHead head{.head_dim = d,
                           .tokens = tokens,
                           .group = group,
                           .rows = length() + first + 1,
                           .window = limits_.window == 0 ? SIZE_MAX : limits_.window,
                           .ring = ring_,
                           .q = work.q + (first * queries + h * group) * 2 * d,
                           .q_stride = 2 * d,
                           .q_token_stride = queries * 2 * d,
                           .sink_q = ring_.sinks == 0 ? nullptr : sink_q_ + (first * queries + h * group) * d,
                           .sink_q_stride = d,
                           .sink_q_token_stride = queries * d,
                           .k = rows(limits_.k, work.k_cache),
                           .v = rows(limits_.v, work.v_cache),
                           .out = work.out + (first * queries + h * group) * d,
                           .out_stride = d,
                           .out_token_stride = queries * d};
  backend_.kernels->attend(head, reinterpret_cast<float*>(scratch));
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t j = 0; j < group; ++j) {
      const float* gate = head.q + t * head.q_token_stride + j * head.q_stride + d;
      float* out = head.out + t * head.out_token_stride + j * d;
      if (IsRotated(*head.v.format)) Rotate(out, d);
      backend_.kernels->sigmoid_gate(out, gate, d);
    }
  }
}

}  // namespace thimble
