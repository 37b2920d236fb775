// SPDX-License-Identifier: Apache-2.0
//
// Plan, Bind and Run of a session: where everything lies, and the order of the layers. The arithmetic is in the
// kernels.
#include "core/session.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/math.h"
#include "core/sampler.h"
#include "quant/lanes.h"

namespace thimble {
namespace {

constexpr size_t kRowsPerTask = 32;       // matrix rows that one task multiplies
constexpr size_t kChannelsPerTask = 128;  // convolution channels that one task filters

// Floats of one token inside a layer, for each kind of layer.
size_t DeltaNetFloats(const Config& c) {
  return c.conv_channels() + 2 * size_t{c.inner_size} + 2 * size_t{c.time_step_rank};
}
size_t AttentionFloatsPerToken(const Config& c) { return 3 * c.attention_dim() + 2 * c.kv_dim(); }
size_t FeedForwardFloats(const Config& c) { return 2 * size_t{c.feed_forward_length}; }

// Floats of one worker's scratch: the largest need of any kernel.
size_t ScratchFloats(const Config& c) {
  const size_t row = std::max<size_t>(std::max<size_t>(c.embedding_length, c.feed_forward_length),
                                      std::max<size_t>(c.inner_size, c.attention_dim()));
  const size_t chunk = DeltaChunkFloats(c.state_size, c.value_size());
  const size_t attention = AttentionFloats(c.key_length, c.head_count / c.head_count_kv);
  return std::max<size_t>(row, std::max<size_t>(chunk, attention));
}

// Bytes of one head's row in the cache.
size_t CacheRowBytes(const Config& c, const Limits& limits) {
  const Format& format = FormatOf(limits.kv);
  return size_t{c.key_length} / format.block_size * format.block_bytes;
}

Error Check(const Config& config, const Limits& limits, const Backend& backend) {
  if (config.embedding_length == 0 || config.head_count_kv == 0 || config.time_step_rank == 0) {
    return {Status::kBadArgument, "the config is empty; io/load_qwen35 fills it"};
  }
  if (backend.workers.count == 0) return {Status::kBadArgument, "there must be at least 1 worker"};
  if (limits.context == 0 || limits.context > INT32_MAX) {
    return {
        Status::kBadArgument, "the context must hold at least 1 and at most 2147483647 tokens", {}, {}, limits.context};
  }
  if (limits.batch == 0) return {Status::kBadArgument, "the batch must be at least 1 token"};
  if (limits.kv != Type::kF16 && limits.kv != Type::kF32) {
    const auto type = static_cast<uint32_t>(limits.kv);
    return {Status::kUnsupported, "the key/value cache is stored as F16 or F32, not as this type", {}, {}, type};
  }
  return {};
}

// What ssm_beta and ssm_alpha gave for one token, [heads] each, to beta and the logarithm of the decay.
void OpenGates(const DeltaNetWeights& w, size_t heads, float* beta, float* decay) {
  for (size_t h = 0; h < heads; ++h) {
    beta[h] = Sigmoid(beta[h]);
    decay[h] = w.ssm_a[h] * Softplus(decay[h] + w.ssm_dt[h]);
  }
}

// One token's query heads, then its key heads, [2][heads][size]: to unit length, the queries times 1 / sqrt(size).
void NormaliseHeads(float* x, size_t heads, size_t size) {
  const float query_scale = 1.0f / std::sqrt(static_cast<float>(size));
  for (size_t h = 0; h < 2 * heads; ++h, x += size) {
    const float scale = (h < heads ? query_scale : 1.0f) / std::sqrt(DotF32(x, x, size) + kL2NormEpsilon);
    for (size_t i = 0; i < size; ++i) x[i] *= scale;
  }
}

}  // namespace

SessionPlan Session::Layout(const Config& c, const Limits& limits, const Backend& backend, Arena& arena,
                            Session* session) {
  Session unused;
  Session& s = session != nullptr ? *session : unused;
  const size_t batch = std::min<size_t>(limits.batch, limits.context);
  SessionPlan plan;
  size_t mark = arena.used();
  const auto section = [&] {
    const size_t bytes = arena.used() - mark;
    mark = arena.used();
    return bytes;
  };

  s.state_ = arena.Take<State>(1);
  s.hidden_ = arena.Take<float>(c.embedding_length);
  s.delta_ = arena.Take<float>(c.state_size, c.inner_size, c.recurrent_count());
  s.conv_ = arena.Take<float>(c.conv_channels(), c.conv_kernel - 1, c.recurrent_count());
  plan.state = section();
  s.state_bytes_ = plan.state;
  s.cache_ = arena.Take<std::byte>(c.head_count_kv * CacheRowBytes(c, limits), limits.context, 2 * c.attention_count());
  plan.cache = section();
  s.checkpoints_ = arena.Take<std::byte>(limits.checkpoints, plan.state);
  plan.checkpoints = section();

  s.scratch_floats_ = ScratchFloats(c);
  s.logits_ = arena.Take<float>(c.vocab_size);
  s.residual_ = arena.Take<float>(batch, c.embedding_length);
  s.normed_ = arena.Take<float>(batch, c.embedding_length);
  s.mixer_ = arena.Take<float>(
      batch, std::max<size_t>(DeltaNetFloats(c), std::max<size_t>(AttentionFloatsPerToken(c), FeedForwardFloats(c))));
  s.cos_sin_ = arena.Take<float>(batch, c.rope.dimension_count);
  s.frequencies_ = arena.Take<float>(c.rope.dimension_count / 2);
  s.scratch_ = arena.Take<float>(backend.workers.count, s.scratch_floats_);
  plan.work = section();
  return plan;
}

Result<SessionPlan> Session::Plan(const Config& config, const Limits& limits, const Backend& backend) {
  if (const Error error = Check(config, limits, backend); !error.ok()) return error;
  Arena measure;
  const SessionPlan plan = Layout(config, limits, backend, measure, nullptr);
  if (!measure.error().ok()) return measure.error();
  return plan;
}

Error Session::Bind(const Model& model, const Limits& limits, const Backend& backend, Arena& arena) {
  state_ = nullptr;
  if (const Error error = Check(model.config, limits, backend); !error.ok()) return error;
  Layout(model.config, limits, backend, arena, this);
  if (const Error error = arena.error(); !error.ok() || arena.measuring()) {
    state_ = nullptr;
    return error;
  }
  model_ = &model;
  limits_ = limits;
  limits_.batch = static_cast<uint32_t>(std::min<size_t>(limits.batch, limits.context));
  backend_ = backend;
  rope_scale_ = RopeFrequencies(model.config.rope, frequencies_);
  Reset();
  return {};
}

void Session::Reset() {
  std::memset(static_cast<void*>(state_), 0, state_bytes_);
  logits_valid_ = false;
}

void Session::Save(size_t i) { std::memcpy(checkpoints_ + i * state_bytes_, static_cast<void*>(state_), state_bytes_); }

void Session::Restore(size_t i) {
  std::memcpy(static_cast<void*>(state_), checkpoints_ + i * state_bytes_, state_bytes_);
  logits_valid_ = false;
}

Error Session::Full() const {
  return {Status::kFull, "the context is full; it holds this many tokens", {}, {}, limits_.context};
}

Error Session::Feed(std::span<const Token> tokens, std::span<float> logits, std::span<const Position> positions) {
  const size_t vocab = model_->config.vocab_size;
  if (tokens.size() > room()) return Full();
  for (const Token token : tokens) {
    if (token < 0 || static_cast<size_t>(token) >= vocab) {
      return {Status::kBadArgument, "no such token in the vocabulary", {}, {}, static_cast<uint32_t>(token)};
    }
  }
  if (!logits.empty() && logits.size() / vocab < tokens.size()) {
    return {Status::kTooSmall,
            "the room for logits is too small; it needs this many floats",
            {},
            {},
            tokens.size() * vocab};
  }
  if (!positions.empty() && positions.size() != tokens.size()) {
    return {Status::kBadArgument, "there must be one position for each token", {}, {}, positions.size()};
  }
  for (size_t begin = 0; begin < tokens.size(); begin += limits_.batch) {
    const size_t n = std::min<size_t>(limits_.batch, tokens.size() - begin);
    RunBatch(tokens.subspan(begin, n), positions.empty() ? nullptr : positions.data() + begin,
             logits.empty() ? nullptr : logits.data() + begin * vocab);
  }
  return {};
}

std::span<float> Session::Logits() {
  const Weights& w = model_->weights;
  if (!logits_valid_) Multiply(w.output, hidden_, 1, logits_);
  logits_valid_ = true;
  return {logits_, w.output.rows};
}

void Session::Scores(std::span<const Token> rows, float* out) {
  const Matrix& w = model_->weights.output;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Matrix row{w.format, w.row(static_cast<size_t>(rows[i])), 1, w.cols};
    backend_.kernels->matmul(row, 0, 1, hidden_, 1, out + i, 1, scratch_);
  }
}

Result<Token> Session::Next(Sampler& sampler) {
  if (room() == 0) return Full();
  const Result<Token> token = sampler.Sample(Logits());
  logits_valid_ = false;  // the sampler has changed them
  if (!token) return token;
  sampler.Accept(*token);
  RunBatch({&*token, 1}, nullptr, nullptr);
  return token;
}

void Session::RunBatch(std::span<const Token> tokens, const Position* positions, float* logits) {
  const Config& c = model_->config;
  const Weights& w = model_->weights;
  const size_t n = tokens.size();
  const size_t width = c.embedding_length;
  logits_valid_ = false;
  for (size_t t = 0; t < n; ++t) {
    w.token_embd.format->decode(w.token_embd.row(static_cast<size_t>(tokens[t])), w.token_embd.row_blocks(),
                                residual_ + t * width);
    const int32_t next = static_cast<int32_t>(state_->next_position);
    const Position position = positions != nullptr ? positions[t] : Position{next, next, next};
    RopeAngles(c.rope, frequencies_, rope_scale_, position, cos_sin_ + t * c.rope.dimension_count);
    const int32_t last = std::max({position.t, position.h, position.w});
    state_->next_position = std::max(state_->next_position, int64_t{last} + 1);
  }
  size_t recurrent = 0;
  size_t attention = 0;
  for (size_t i = 0; i < c.block_count; ++i) {
    const LayerWeights& layer = w.layers[i];
    Normalise(layer.attn_norm, n);
    if (c.IsRecurrent(i)) {
      RunDeltaNet(layer.deltanet, recurrent++, n);
    } else {
      RunAttention(layer.attention, attention++, n);
    }
    AddToResidual(n);
    Normalise(layer.post_attention_norm, n);
    RunFeedForward(layer, n);
    AddToResidual(n);
  }
  state_->length += n;
  Normalise(w.output_norm, n);
  std::memcpy(hidden_, normed_ + (n - 1) * width, width * sizeof(float));
  if (logits != nullptr) Multiply(w.output, normed_, n, logits);
}

// normed_ = RMSNorm(residual_)
void Session::Normalise(const float* weight, size_t n) {
  const size_t width = model_->config.embedding_length;
  ParallelFor(backend_.workers, n, [&](size_t t, size_t) {
    backend_.kernels->rms_norm(residual_ + t * width, weight, width, model_->config.layer_norm_rms_epsilon,
                               normed_ + t * width);
  });
}

// y[n][w.rows] = x[n][w.cols] times the rows of w
void Session::Multiply(const Matrix& w, const float* x, size_t n, float* y) {
  const size_t tasks = (w.rows + kRowsPerTask - 1) / kRowsPerTask;
  ParallelFor(backend_.workers, tasks, [&](size_t i, size_t worker) {
    const size_t begin = i * kRowsPerTask;
    backend_.kernels->matmul(w, begin, std::min<size_t>(begin + kRowsPerTask, w.rows), x, n, y, w.rows,
                             scratch_ + worker * scratch_floats_);
  });
}

void Session::AddToResidual(size_t n) {
  const size_t values = n * model_->config.embedding_length;
  for (size_t i = 0; i < values; ++i) residual_[i] += normed_[i];
}

void Session::RunFeedForward(const LayerWeights& layer, size_t n) {
  const size_t length = model_->config.feed_forward_length;
  float* gate = mixer_;           // [n][length]
  float* up = gate + n * length;  // [n][length]
  Multiply(layer.ffn_gate, normed_, n, gate);
  Multiply(layer.ffn_up, normed_, n, up);
  ParallelFor(backend_.workers, n,
              [&](size_t t, size_t) { backend_.kernels->swiglu(gate + t * length, up + t * length, length); });
  Multiply(layer.ffn_down, gate, n, normed_);
}

void Session::RunDeltaNet(const DeltaNetWeights& w, size_t index, size_t n) {
  const Config& c = model_->config;
  const Kernels& kernels = *backend_.kernels;
  const size_t channels = c.conv_channels();
  const size_t inner = c.inner_size;
  const size_t dk = c.state_size;
  const size_t dv = c.value_size();
  const size_t hk = c.group_count;
  const size_t hv = c.time_step_rank;
  float* qkv = mixer_;            // [n][channels]
  float* z = qkv + n * channels;  // [n][inner]
  float* out = z + n * inner;     // [n][inner]
  float* beta = out + n * inner;  // [n][hv]
  float* decay = beta + n * hv;   // [n][hv], first alpha, then the logarithm of the decay
  Multiply(w.attn_qkv, normed_, n, qkv);
  Multiply(w.attn_gate, normed_, n, z);
  Multiply(w.ssm_beta, normed_, n, beta);
  Multiply(w.ssm_alpha, normed_, n, decay);

  float* tail = conv_ + index * (c.conv_kernel - 1) * channels;
  ParallelFor(backend_.workers, (channels + kChannelsPerTask - 1) / kChannelsPerTask, [&](size_t i, size_t) {
    const size_t begin = i * kChannelsPerTask;
    kernels.conv_silu(qkv, n, channels, begin, std::min<size_t>(begin + kChannelsPerTask, channels), w.ssm_conv1d,
                      c.conv_kernel, tail);
  });
  ParallelFor(backend_.workers, n, [&](size_t t, size_t) {
    OpenGates(w, hv, beta + t * hv, decay + t * hv);
    NormaliseHeads(qkv + t * channels, hk, dk);
  });
  ParallelFor(backend_.workers, hv, [&](size_t h, size_t worker) {
    const float* k_head = qkv + (hk + h % hk) * dk;
    DeltaHead head{.tokens = n,
                   .key_size = dk,
                   .value_size = dv,
                   .q = qkv + h % hk * dk,
                   .k = k_head,
                   .v = qkv + 2 * hk * dk + h * dv,
                   .stride = channels,
                   .log_decay = decay + h,
                   .beta = beta + h,
                   .gate_stride = hv,
                   .state = delta_ + (index * hv + h) * dv * dk,
                   .out = out + h * dv,
                   .out_stride = inner};
    for (size_t left = n; left > 0; left -= head.tokens) {
      if (left < kDeltaChunkMin) {
        head.tokens = left;
        kernels.delta_step(head);
      } else {
        head.tokens = std::min<size_t>(left, kDeltaChunk);
        kernels.delta_chunk(head, scratch_ + worker * scratch_floats_);
      }
      head.Advance(head.tokens);
    }
    for (size_t t = 0; t < n; ++t) {
      float* o = out + t * inner + h * dv;
      const float* gate = z + t * inner + h * dv;
      kernels.rms_norm(o, w.ssm_norm, dv, c.layer_norm_rms_epsilon, o);
      for (size_t j = 0; j < dv; ++j) o[j] *= Silu(gate[j]);
    }
  });
  Multiply(w.ssm_out, out, n, normed_);
}

void Session::RunAttention(const AttentionWeights& w, size_t index, size_t n) {
  const Config& c = model_->config;
  const Kernels& kernels = *backend_.kernels;
  const Format& format = FormatOf(limits_.kv);
  const size_t d = c.key_length;
  const size_t queries = c.head_count;
  const size_t keys = c.head_count_kv;
  const size_t group = queries / keys;
  const size_t width = c.attention_dim();
  float* q = mixer_;                // [n][queries][2][d]: query, gate
  float* k = q + n * 2 * width;     // [n][keys][d]
  float* v = k + n * c.kv_dim();    // [n][keys][d]
  float* out = v + n * c.kv_dim();  // [n][queries][d]
  Multiply(w.attn_q, normed_, n, q);
  Multiply(w.attn_k, normed_, n, k);
  Multiply(w.attn_v, normed_, n, v);

  const size_t row_bytes = CacheRowBytes(c, limits_);
  const size_t token_bytes = keys * row_bytes;
  std::byte* k_cache = cache_ + index * 2 * limits_.context * token_bytes;
  std::byte* v_cache = k_cache + limits_.context * token_bytes;
  const size_t length = static_cast<size_t>(state_->length);
  ParallelFor(backend_.workers, n, [&](size_t t, size_t) {
    const float* cos_sin = cos_sin_ + t * c.rope.dimension_count;
    for (size_t h = 0; h < queries + keys; ++h) {
      float* x = h < queries ? q + (t * queries + h) * 2 * d : k + (t * keys + h - queries) * d;
      kernels.rms_norm(x, h < queries ? w.attn_q_norm : w.attn_k_norm, d, c.layer_norm_rms_epsilon, x);
      ApplyRope(c.rope, cos_sin, x);
    }
    const size_t blocks = c.kv_dim() / format.block_size;
    format.encode(k + t * c.kv_dim(), blocks, k_cache + (length + t) * token_bytes);
    format.encode(v + t * c.kv_dim(), blocks, v_cache + (length + t) * token_bytes);
  });
  ParallelFor(backend_.workers, n * keys, [&](size_t i, size_t worker) {
    const size_t t = i / keys;
    const size_t h = i % keys;
    const float* first = q + (t * queries + h * group) * 2 * d;
    float* o = out + t * width + h * group * d;
    kernels.attend({.head_dim = d,
                    .queries = group,
                    .q = first,
                    .q_stride = 2 * d,
                    .format = &format,
                    .k = k_cache + h * row_bytes,
                    .v = v_cache + h * row_bytes,
                    .row_stride = token_bytes,
                    .rows = length + t + 1,
                    .out = o,
                    .out_stride = d},
                   scratch_ + worker * scratch_floats_);
    for (size_t j = 0; j < group; ++j) {
      const float* gate = first + j * 2 * d + d;
      for (size_t e = 0; e < d; ++e) o[j * d + e] *= Sigmoid(gate[e]);
    }
  });
  Multiply(w.attn_output, out, n, normed_);
}

}  // namespace thimble
