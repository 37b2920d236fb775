// SPDX-License-Identifier: Apache-2.0
//
// The arithmetic that is worth doing faster, as a table of function pointers, and the workers that it may be spread
// over. An accelerated backend is another such table; its functions must not allocate, fail, or read anything but its
// arguments. The portable functions stay plain: they are what every other one is tested against.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/weights.h"

namespace thimble {

/// Threads that somebody else owns. `run` calls task(argument, index, worker) once for every index below `tasks`, in
/// any order, with worker < count different for calls that overlap, and returns when all are done.
struct Workers {
  using Task = void (*)(void* argument, size_t index, size_t worker);

  size_t count = 1;
  void* context = nullptr;
  void (*run)(void* context, size_t tasks, Task task,
              void* argument) = nullptr;  // null: one after the other, on the caller's thread

  /// Has all tasks run, by `run` if there is one.
  void Run(size_t tasks, Task task, void* argument) const;
};

/// Calls function(index, worker) for every index below `tasks`.
template <class F>
void ParallelFor(const Workers& workers, size_t tasks, const F& function) {
  workers.Run(
      tasks, [](void* argument, size_t index, size_t worker) { (*static_cast<const F*>(argument))(index, worker); },
      const_cast<F*>(&function));
}

/// `tokens` activations of one head of a DeltaNet layer; a token's values are `stride` floats behind those of the one
/// before.
struct DeltaHead {
  size_t tokens;
  size_t key_size;         // dk
  size_t value_size;       // dv
  const float* q;          // [tokens][dk], unit length, times 1 / sqrt(dk)
  const float* k;          // [tokens][dk], unit length
  const float* v;          // [tokens][dv]
  size_t stride;           // of q, k and v
  const float* log_decay;  // [tokens], g <= 0
  const float* beta;       // [tokens], in (0, 1)
  size_t gate_stride;      // of log_decay and beta
  float* state;            // [dv][dk], S transposed: row j holds S[.][j]
  float* out;              // [tokens][dv]
  size_t out_stride;

  /// Moves on to the token `n` behind the first.
  void Advance(size_t n) {
    q += n * stride;
    k += n * stride;
    v += n * stride;
    log_decay += n * gate_stride;
    beta += n * gate_stride;
    out += n * out_stride;
  }
};

/// Rows of a DeltaNet state in 16 bits: row r is scales[r] * codes[r][0 .. row_size).
struct StateRows {
  static constexpr float kFloor = 0x1p-100f;  // a row of smaller values becomes zero: no float scales it to codes

  size_t rows;
  size_t row_size;
  int16_t* codes;
  float* scales;
};

/// Where the rows of tokens lie in a cache: the first ones stay in their places for ever, all behind them go round.
struct Ring {
  size_t sinks = 0;
  size_t rows = SIZE_MAX / 2;  // that are used again and again, at least 1

  /// The slot of a token, and the end of the tokens from it on whose rows lie side by side, and of which all are sinks
  /// or none.
  struct Run {
    size_t slot, end;
  };
  Run RunOf(size_t token) const {
    if (token < sinks) return {token, sinks};
    const size_t behind = token - sinks;
    // A division is dear beside a short row. NOLINTNEXTLINE(clang-analyzer-core.DivideZero): rows is at least 1
    const size_t turned = behind < rows ? behind : behind % rows;
    return {sinks + turned, token - turned + rows};
  }
  size_t Slot(size_t token) const { return RunOf(token).slot; }
};

/// The keys or the values of one head in the cache.
struct CacheRows {
  const Format* format;
  const std::byte* first;  // slot 0
  size_t stride;           // bytes from one slot to the next

  const std::byte* Row(size_t slot) const { return first + slot * stride; }
};

/// The queries of some tokens that share a key/value head, and the cache that they read. Rows are counted as tokens
/// are. A token reads the rows up to its own, which is one more than the token before: of these the first ring.sinks
/// and the last `window`.
struct AttentionHead {
  size_t head_dim;
  size_t tokens;
  size_t group;  // queries of a token
  size_t rows;   // up to the first token's own, included
  size_t window = SIZE_MAX;
  Ring ring = {};
  const float* q;
  size_t q_stride;                // floats from one query to the next of its token
  size_t q_token_stride;          // floats from one token's first query to the next one's
  const float* sink_q = nullptr;  // like q: the queries as they meet the sinks; not read when there are none
  size_t sink_q_stride = 0;
  size_t sink_q_token_stride = 0;
  CacheRows k;  // head_dim values a row; the formats of k and v may differ
  CacheRows v;
  float* out;  // like q, with strides of its own
  size_t out_stride;
  size_t out_token_stride;

  /// The first row of token t's window.
  size_t Lowest(size_t t) const { return rows + t > window ? rows + t - window : 0; }
  /// The first of the rows from r on that any token reads, when r has not come to the end.
  size_t Seen(size_t r) const { return r < ring.sinks || r >= Lowest(0) ? r : Lowest(0); }
  /// The rows of [begin, end), which are all sinks or none, that token t reads; first >= last when there are none.
  struct Rows {
    size_t first, last;
  };
  Rows RowsOf(size_t t, size_t begin, size_t end) const {
    const size_t lowest = begin < ring.sinks ? 0 : Lowest(t);
    return {begin < lowest ? lowest : begin, end < rows + t ? end : rows + t};
  }
  /// Whether token t reads any of the rows [begin, end); whether some behind `begin` have left its window.
  bool Reads(size_t t, size_t begin, size_t end) const {
    return begin < rows + t && (begin < ring.sinks || end > Lowest(t));
  }
  bool Skips(size_t t, size_t begin) const {
    const size_t behind = begin < ring.sinks ? ring.sinks : begin;
    return behind < Lowest(t);
  }
};

/// Activations of some tokens as products read them: floats and, where the kernels round, 8-bit codes beside them.
struct Activations {
  static constexpr size_t kBlock = 32;  // values that share a scale

  size_t tokens;
  size_t cols;
  const float* x;  // [tokens][cols]
  int8_t* codes;   // [tokens][cols], in [-127, 127]; x is about code * scale
  float* scales;   // [tokens][cols / kBlock]
  int32_t* sums;   // [tokens][cols / kBlock], of the codes of a block

  /// The same from token `t` on.
  Activations From(size_t t) const {
    const size_t blocks = cols / kBlock;
    return {tokens - t, cols, x + t * cols, codes + t * cols, scales + t * blocks, sums + t * blocks};
  }
};

struct Kernels {
  const char* name;

  /// Fills codes, scales and sums of token t from its x: each block's largest magnitude becomes 127. Null: matmul reads
  /// the floats. Not called when cols is no multiple of Activations::kBlock; then no format with blocks can stand in a
  /// product with them.
  void (*quantise)(const Activations& x, size_t t);

  /// y[t * y_stride + r - begin] = sum over c of w[r][c] * x[t][c], for rows r in [begin, end) and tokens t. `begin` is
  /// a multiple of w.format->tile_rows, and so is `end` unless it is w.rows. `scratch` holds MatmulScratch(cols,
  /// matmul_rows) bytes.
  void (*matmul)(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                 std::byte* scratch);

  /// Rows that matmul unpacks to 8 bits at a time for a product of many tokens, at most kMatmulTileRows; 0: none.
  size_t matmul_rows = 0;

  /// y = x / sqrt(mean(x^2) + epsilon) * weight, n values; y may be x.
  void (*rms_norm)(const float* x, const float* weight, size_t n, float epsilon, float* y);

  /// gate = silu(gate) * up, n values.
  void (*swiglu)(float* gate, const float* up, size_t n);

  /// x = x * sigmoid(gate), n values.
  void (*sigmoid_gate)(float* x, const float* gate, size_t n);

  /// x = x / sqrt(sum(x^2) + kL2NormEpsilon) * scale, n values.
  void (*l2_norm)(float* x, size_t n, float scale);

  /// Causal depthwise convolution and SiLU, in place, over channels [begin, end) of u[tokens][channels]. `tail` is
  /// [taps - 1][channels]: the inputs before u on entry, the last inputs of all on return. w is [channels][taps].
  void (*conv_silu)(float* u, size_t tokens, size_t channels, size_t begin, size_t end, const float* w, size_t taps,
                    float* tail);

  /// The gated delta rule token by token: the recurrence of MODEL.md.
  void (*delta_step)(const DeltaHead& head);

  /// The same for up to kDeltaChunk tokens at once, in chunked form. `scratch` holds DeltaChunkFloats(head) floats.
  void (*delta_chunk)(const DeltaHead& head, float* scratch);

  /// rows[r][i] = scales[r] * codes[r][i].
  void (*widen_state)(const StateRows& state, float* rows);

  /// Codes and scales of rows[r][i]: a row's largest magnitude becomes 32767, the others are rounded to nearest even. A
  /// row below StateRows::kFloor becomes zero; one that holds a NaN or an infinity becomes NaN. Every table gives the
  /// same bits.
  void (*round_state)(const float* rows, const StateRows& state);

  /// Softmax attention. What a token gets does not depend on the tokens beside it, to the bit. `scratch` holds
  /// AttentionFloats(head_dim, tokens * group) floats.
  void (*attend)(const AttentionHead& head, float* scratch);
};

inline constexpr float kL2NormEpsilon = 1e-6f;  // added to the squared length of a query or key of a DeltaNet head
inline constexpr size_t kDeltaChunk = 64;       // tokens
inline constexpr size_t kDeltaChunkMin = 4;     // below this many tokens, steps are as cheap
inline constexpr size_t kAttentionTile = 64;    // rows whose scores are held at a time
inline constexpr size_t kAttentionBlock = 16;   // of these, rows that are decoded at a time
inline constexpr size_t kAttentionTokens = 8;   // more at once hardly save any decoding

inline constexpr size_t kMatmulTileRows = 16;  // rows that a product of many tokens unpacks at a time

/// Scratch of the three that need some. A product unpacks `rows` rows: to 8 bits, with a scale and a correction for
/// every 16 values, row by row and then side by side; or it has a row as floats, or activations in another order.
constexpr size_t MatmulScratch(size_t cols, size_t rows = kMatmulTileRows) {
  return rows * 3 * (cols + 64) + 2 * sizeof(float) * cols;
}
constexpr size_t DeltaChunkFloats(size_t key_size, size_t value_size) {
  return kDeltaChunk * (value_size + 4 * key_size + 2 * kDeltaChunk + 96);
}
constexpr size_t AttentionFloats(size_t head_dim, size_t queries) {
  // Queries may be rounded to 8 bits in two parts, with a scale for 32 values, and again for the sinks.
  return kAttentionBlock * head_dim + queries * (kAttentionTile + 2 + 2 * (head_dim / 32 + (head_dim + 1) / 2));
}

extern const Kernels kPortableKernels;

/// The parts of a forward pass, for whoever wants to know where the time goes.
enum class Part : uint8_t {
  kEmbedding,
  kDeltaNetProjections,
  kDeltaNet,
  kAttentionProjections,
  kAttention,
  kFeedForward,
  kHead
};
inline constexpr size_t kParts = 7;

/// What a session computes with.
struct Backend {
  const Kernels* kernels = &kPortableKernels;
  Workers workers = {};       // for several tokens at once
  Workers step_workers = {};  // for one token, which is bound by memory more than by arithmetic

  void* mark_context = nullptr;
  void (*mark)(void* context, Part part) = nullptr;  // called when a part ends, on the caller's thread; may be null
};

}  // namespace thimble
