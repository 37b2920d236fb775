// SPDX-License-Identifier: Apache-2.0
//
// A DeltaNet layer of a session, and what it leaves behind for tokens that can be taken back.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/math.h"
#include "core/session.h"

namespace thimble {
namespace {

// Rows of a value head's state that steps go through at a time, so that they stay in the nearest cache.
constexpr size_t kDeltaRows = 32;

// What ssm_beta and ssm_alpha gave for one token, [heads] each, to beta and the logarithm of the decay.
void OpenGates(const DeltaNetWeights& w, size_t heads, float* beta, float* decay) {
  for (size_t h = 0; h < heads; ++h) {
    beta[h] = Sigmoid(beta[h]);
    decay[h] = w.ssm_a[h] * Softplus(decay[h] + w.ssm_dt[h]);
  }
}

}  // namespace

void Session::RunDeltaNet(const LayerWeights& layer, size_t index, size_t n, size_t stepped) {
  const Config& c = model_->config;
  const Kernels& kernels = *backend_.kernels;
  const DeltaNetWeights& w = layer.deltanet;
  const size_t inner = c.inner_size;
  const size_t hv = c.time_step_rank;
  DeltaNetWork work;
  work.tokens = n;
  work.stepped = stepped;
  work.qkv = mixer_;                          // [n][channels]
  work.z = work.qkv + n * c.conv_channels();  // [n][inner]
  work.out = work.z + n * inner;              // [n][inner]
  work.beta = work.out + n * inner;           // [n][hv]
  work.decay = work.beta + n * hv;            // [n][hv], first alpha, then the logarithm of the decay
  work.tail = conv_ + index * (c.conv_kernel - 1) * c.conv_channels();
  const bool floats = limits_.state == StateForm::kF32;
  const size_t rows = index * inner;  // of the layers before
  work.state = floats ? delta_ + rows * c.state_size : nullptr;
  work.codes = floats ? nullptr : delta_codes_ + rows * c.state_size;
  work.scales = floats ? nullptr : delta_scales_ + rows;
  const Product in[] = {
      {&w.attn_qkv, work.qkv}, {&w.attn_gate, work.z}, {&w.ssm_beta, work.beta}, {&w.ssm_alpha, work.decay}};
  const Activations x = Rounded(normed_, n, c.embedding_length);
  Normalise(layer.attn_norm, 0, x);
  Multiply(x, in);
  Mark(Part::kDeltaNetProjections);

  for (size_t t = 0; t < n; ++t) OpenGates(w, hv, work.beta + t * hv, work.decay + t * hv);
  ParallelFor(WorkersFor(n), c.group_count, [&](size_t group, size_t) { ConvolveGroup(w, work, group); });
  const size_t dv = c.value_size();
  const size_t together = n - stepped < kDeltaChunkMin ? kDeltaRows : dv;
  ParallelFor(WorkersFor(n), hv, [&](size_t h, size_t worker) {
    for (size_t begin = 0; begin < dv; begin += together) {
      RunDeltaRows(work, h, begin, std::min<size_t>(together, dv - begin), Scratch(worker));
    }
  });

  const Product out[] = {{&w.ssm_out, mixed_}};
  const Activations gated = Rounded(work.z, n, inner);
  ParallelFor(WorkersFor(n), n, [&](size_t t, size_t) {
    for (size_t i = t * inner; i < (t + 1) * inner; i += dv) {
      kernels.rms_norm(work.out + i, w.ssm_norm, dv, c.layer_norm_rms_epsilon, work.out + i);
      kernels.swiglu(work.z + i, work.out + i, dv);
    }
    Round(gated, t);
  });
  Mark(Part::kDeltaNet);
  Multiply(gated, out);
  Mark(Part::kDeltaNetProjections);
}

// One key head and the value heads that read it: convolution, and the lengths of queries and keys.
void Session::ConvolveGroup(const DeltaNetWeights& w, const DeltaNetWork& work, size_t group) {
  const Config& c = model_->config;
  const Kernels& kernels = *backend_.kernels;
  const size_t channels = c.conv_channels();
  const size_t dk = c.state_size;
  const size_t dv = c.value_size();
  const size_t hk = c.group_count;
  const auto convolve = [&](size_t begin, size_t count) {
    KeepTails(work, begin, begin + count);
    kernels.conv_silu(work.qkv, work.tokens, channels, begin, begin + count, w.ssm_conv1d, c.conv_kernel, work.tail);
  };
  convolve(group * dk, dk);
  convolve((hk + group) * dk, dk);
  for (size_t h = group; h < c.time_step_rank; h += hk) convolve(2 * hk * dk + h * dv, dv);
  for (size_t t = 0; t < work.tokens; ++t) {
    float* heads = work.qkv + t * channels;
    kernels.l2_norm(heads + group * dk, dk, 1.0f / std::sqrt(static_cast<float>(dk)));
    kernels.l2_norm(heads + (hk + group) * dk, dk, 1.0f);
  }
}

// The delta rule of value head `h`, for `rows` rows of its state from `begin` on: rows do not know each other. Tokens
// that can be taken back go one by one, and leave behind what was there before each.
void Session::RunDeltaRows(const DeltaNetWork& work, size_t h, size_t begin, size_t rows, std::byte* scratch) {
  const Config& c = model_->config;
  const size_t dk = c.state_size;
  const size_t hk = c.group_count;
  const size_t group = h % hk;
  const size_t first = h * c.value_size() + begin;
  const bool floats = work.codes == nullptr;
  DeltaHead head{.tokens = work.tokens - work.stepped,
                 .key_size = dk,
                 .value_size = rows,
                 .q = work.qkv + group * dk,
                 .k = work.qkv + (hk + group) * dk,
                 .v = work.qkv + 2 * hk * dk + first,
                 .stride = c.conv_channels(),
                 .log_decay = work.decay + h,
                 .beta = work.beta + h,
                 .gate_stride = c.time_step_rank,
                 .state = floats ? work.state + first * dk : nullptr,
                 .out = work.out + first,
                 .out_stride = c.inner_size};
  const StateRows kept = {rows, dk, floats ? nullptr : work.codes + first * dk, floats ? nullptr : work.scales + first};
  if (head.tokens > 0) RunDeltaTokens(&head, kept, reinterpret_cast<float*>(scratch));
  for (size_t t = work.tokens - work.stepped; t < work.tokens; ++t) {
    std::byte* before = Before(t);
    if (floats) {
      std::memcpy(In(before, head.state), head.state, rows * dk * sizeof(float));
    } else {
      std::memcpy(In(before, kept.codes), kept.codes, rows * dk * sizeof(int16_t));
      std::memcpy(In(before, kept.scales), kept.scales, rows * sizeof(float));
    }
    head.tokens = 1;
    RunDeltaTokens(&head, kept, reinterpret_cast<float*>(scratch));
  }
}

// Some tokens together, on a state in floats or on `kept`, and on to the token behind them.
void Session::RunDeltaTokens(DeltaHead* head, const StateRows& kept, float* scratch) {
  const Kernels& kernels = *backend_.kernels;
  if (kept.codes != nullptr) {
    head->state = scratch;
    scratch += kept.rows * kept.row_size;
    kernels.widen_state(kept, head->state);
  }
  for (size_t left = head->tokens; left > 0; left -= head->tokens) {
    if (left < kDeltaChunkMin) {
      head->tokens = left;
      kernels.delta_step(*head);
    } else {
      head->tokens = std::min<size_t>(left, kDeltaChunk);
      kernels.delta_chunk(*head, scratch);
    }
    head->Advance(head->tokens);
  }
  if (kept.codes != nullptr) kernels.round_state(head->state, kept);
}

// The convolution's last inputs of channels [begin, end) as they are before each token that can be taken back.
void Session::KeepTails(const DeltaNetWork& work, size_t begin, size_t end) {
  const size_t channels = model_->config.conv_channels();
  const size_t rows = model_->config.conv_kernel - 1;
  for (size_t t = work.tokens - work.stepped; t < work.tokens; ++t) {
    float* tail = In(Before(t), work.tail);
    for (size_t i = 0; i < rows; ++i) {
      const float* input = t + i < rows ? work.tail + (t + i) * channels : work.qkv + (t + i - rows) * channels;
      std::copy(input + begin, input + end, tail + i * channels + begin);
    }
  }
}

}  // namespace thimble
