// SPDX-License-Identifier: Apache-2.0
//
// The hyper-parameters of a Qwen3.5 text model, with the names of the GGUF keys they come from, and the limits that its
// user sets. Plain numbers: whoever fills a Config (io/load_qwen35) has proven it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "quant/format.h"

namespace thimble {

/// A token id: a row of token_embd.
using Token = int32_t;

/// Rotary embedding: qwen35.rope.*
struct RopeConfig {
  float freq_base = 1e7f;
  uint32_t dimension_count = 64;                    // rotated dimensions of a head, the first ones; even
  std::array<uint32_t, 3> dimension_sections = {};  // pairs rotated by position t, h, w (interleaved M-RoPE)
  float scaling_factor = 1.0f;                      // YaRN when above 1
  uint32_t original_context_length = 0;             // YaRN: the context it was trained with, tokens
  float yarn_beta_fast = 32.0f;                     // YaRN: rotations above which a pair is left alone
  float yarn_beta_slow = 1.0f;                      // YaRN: rotations below which a pair is interpolated
};

/// A model: qwen35.*
struct Config {
  static constexpr size_t kMaxLayers = 256;
  static constexpr size_t kMaxTaps = 8;  // of conv_kernel, which is at least 2

  uint32_t block_count = 0;           // layers of the main model, without the MTP block
  uint32_t nextn_predict_layers = 0;  // MTP blocks: 0 or 1
  uint32_t vocab_size = 0;            // rows of token_embd and of the head
  uint32_t context_length = 0;        // tokens it was trained for
  uint32_t embedding_length = 0;      // width of the residual stream
  uint32_t feed_forward_length = 0;
  float layer_norm_rms_epsilon = 1e-6f;

  // Gated full attention.
  uint32_t head_count = 0;
  uint32_t head_count_kv = 0;
  uint32_t key_length = 0;  // of a head; also its value_length
  RopeConfig rope;

  // Gated DeltaNet: qwen35.ssm.*
  uint32_t conv_kernel = 0;     // taps of the causal convolution
  uint32_t group_count = 0;     // key heads, Hk
  uint32_t time_step_rank = 0;  // value heads, Hv, a multiple of Hk; value head h reads key head h % Hk
  uint32_t state_size = 0;      // of a key head, dk
  uint32_t inner_size = 0;      // Hv * dv

  std::array<uint64_t, kMaxLayers / 64> recurrent = {};  // bit i: layer i is a DeltaNet layer

  bool IsRecurrent(size_t layer) const { return (recurrent[layer / 64] >> (layer % 64) & 1) != 0; }
  void SetRecurrent(size_t layer) { recurrent[layer / 64] |= uint64_t{1} << (layer % 64); }

  size_t value_size() const { return inner_size / time_step_rank; }         // dv
  size_t key_dim() const { return size_t{group_count} * state_size; }       // all key heads
  size_t conv_channels() const { return 2 * key_dim() + inner_size; }       // q, k and v side by side
  size_t kv_dim() const { return size_t{head_count_kv} * key_length; }      // keys of a token, one layer
  size_t attention_dim() const { return size_t{head_count} * key_length; }  // queries of a token, one layer
  size_t recurrent_count() const {
    size_t n = 0;
    for (size_t i = 0; i < block_count; ++i) n += IsRecurrent(i) ? 1 : 0;
    return n;
  }
  size_t attention_count() const { return block_count - recurrent_count(); }
};

/// How DeltaNet states are kept while no batch of tokens is in them. The arithmetic is float32 in either form.
enum class StateForm : uint8_t {
  kF32,
  kI16,  // 16-bit whole numbers and a scale for every row: half the bytes, rounded once a batch
};

/// What a session may use: chosen by its user before anything is taken.
struct Limits {
  uint32_t context = 4096;  // tokens that the key/value cache holds
  uint32_t batch = 64;      // tokens that go through the layers together; more is faster prefill and more work memory
  Type k = Type::kF16;      // format of the keys in the cache: kF32, kF16, kQ8_0, kIQ4_NL
  Type v = Type::kF16;      // and of the values: these or kNL3, no more bits than the keys
  StateForm state = StateForm::kF32;
  uint32_t checkpoints = 0;  // states that Session::Keep can hold (choices of several tokens want 1 or more)
  uint32_t rewind = 0;       // tokens that Session::Rewind can take back; each costs a copy of the state
  // With a window a session goes on for ever, and `context` is not read.
  uint32_t window = 0;  // tokens that a token attends to, itself and those before it; 0: all
  uint32_t sinks = 4;   // and of the first ones, with a window
};

}  // namespace thimble
