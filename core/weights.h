// SPDX-License-Identifier: Apache-2.0
//
// Views of the weights of a Qwen3.5 text model, with GGUF's tensor names, and the one table that is made of its
// metadata. Nothing here owns or copies a weight: every other pointer looks into the mapped file.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/config.h"
#include "quant/format.h"

namespace thimble {

/// W[rows][cols], each row a whole number of blocks. GGUF's ne = {cols, rows}. Rows stand one after the other; in a
/// packed format tiles do, each of format->tile_rows rows.
struct Matrix {
  const Format* format = nullptr;
  const std::byte* data = nullptr;
  size_t rows = 0;
  size_t cols = 0;

  size_t row_blocks() const { return cols / format->block_size; }
  size_t tile_bytes() const { return row_blocks() * format->block_bytes + format->tile_bytes; }
  size_t bytes() const { return static_cast<size_t>(MatrixBytes(*format, rows, row_blocks())); }

  /// The tile that begins with row r, a multiple of tile_rows; where nothing is packed, the row.
  const std::byte* tile(size_t r) const { return data + r / format->tile_rows * tile_bytes(); }

  /// x[cols] = the values of row r.
  void DecodeRow(size_t r, float* x) const {
    if (format->packed()) {
      format->decode_row(tile(r), r % format->tile_rows, row_blocks(), x);
    } else {
      format->decode(tile(r), row_blocks(), x);
    }
  }
};

/// Gated full attention, blk.N.*
struct AttentionWeights {
  Matrix attn_q;       // [head_count * 2 * key_length][embedding_length]; per head its query, then its gate
  Matrix attn_k;       // [head_count_kv * key_length][embedding_length]
  Matrix attn_v;       // [head_count_kv * key_length][embedding_length]
  Matrix attn_output;  // [embedding_length][head_count * key_length]
  const float* attn_q_norm = nullptr;  // [key_length]
  const float* attn_k_norm = nullptr;  // [key_length]
};

/// Gated DeltaNet, blk.N.*
struct DeltaNetWeights {
  Matrix attn_qkv;                    // [conv_channels][embedding_length]; q heads, k heads, v heads
  Matrix attn_gate;                   // [inner_size][embedding_length], z
  Matrix ssm_beta;                    // [time_step_rank][embedding_length]
  Matrix ssm_alpha;                   // [time_step_rank][embedding_length]
  Matrix ssm_out;                     // [embedding_length][inner_size]
  const float* ssm_conv1d = nullptr;  // [conv_channels][conv_kernel]; the last tap is the current token's
  const float* ssm_dt = nullptr;      // [time_step_rank], ssm_dt.bias
  const float* ssm_a = nullptr;       // [time_step_rank], -exp(A_log), below 0
  const float* ssm_norm = nullptr;    // [value_size]
};

/// One block, blk.N.*: a mixer of one of two kinds, then the feed-forward network.
struct LayerWeights {
  const float* attn_norm = nullptr;            // [embedding_length]
  const float* post_attention_norm = nullptr;  // [embedding_length]
  AttentionWeights attention;                  // filled unless Config::IsRecurrent
  DeltaNetWeights deltanet;                    // filled if Config::IsRecurrent
  Matrix ffn_gate;                             // [feed_forward_length][embedding_length]
  Matrix ffn_up;                               // [feed_forward_length][embedding_length]
  Matrix ffn_down;                             // [embedding_length][feed_forward_length]
};

/// The multi-token-prediction block, blk.<block_count>.*
struct MtpWeights {
  LayerWeights block;                       // an attention block
  Matrix eh_proj;                           // [embedding_length][2 * embedding_length], nextn.eh_proj
  const float* enorm = nullptr;             // [embedding_length]
  const float* hnorm = nullptr;             // [embedding_length]
  const float* shared_head_norm = nullptr;  // [embedding_length]
};

struct Weights {
  Matrix token_embd;                     // [vocab_size][embedding_length]
  Matrix output;                         // the same as token_embd when the head is tied
  const float* output_norm = nullptr;    // [embedding_length]
  const LayerWeights* layers = nullptr;  // [block_count]
  const MtpWeights* mtp = nullptr;       // null without an MTP block

  const uint64_t* rope_frequencies = nullptr;  // [dimension_count / 2], of RopeFrequencies (rope.h)
  float rope_scale = 1.0f;                     // on cosine and sine, what it returned
};

/// A model that can run: what Open has proven.
struct Model {
  Config config;
  Weights weights;
};

}  // namespace thimble
