// SPDX-License-Identifier: Apache-2.0
//
// The gated delta rule of one head, portable, in its two equal forms (MODEL.md): token by token, and a chunk of tokens
// at once. The state is kept transposed, a row for each value dimension, so that every product runs along memory.
// Behind them, the state in 16 bits.
#include <cmath>
#include <limits>

#include "core/math.h"
#include "core/portable.h"
#include "quant/lanes.h"

namespace thimble {

void PortableDeltaStep(const DeltaHead& head) {
  const size_t dk = head.key_size;
  for (size_t t = 0; t < head.tokens; ++t) {
    const float* q = head.q + t * head.stride;
    const float* k = head.k + t * head.stride;
    const float* v = head.v + t * head.stride;
    const float decay = Exp(head.log_decay[t * head.gate_stride]);
    const float beta = head.beta[t * head.gate_stride];
    float* out = head.out + t * head.out_stride;
    for (size_t j = 0; j < head.value_size; ++j) {
      float* row = head.state + j * dk;
      for (size_t i = 0; i < dk; ++i) row[i] *= decay;
      const float delta = beta * (v[j] - DotF32(row, k, dk));
      for (size_t i = 0; i < dk; ++i) row[i] += delta * k[i];
      out[j] = DotF32(row, q, dk);
    }
  }
}

// With G the running sum of log_decay, and D(t, s) = exp(G_t - G_s):
//   N_t = beta_t (v_t - exp(G_t) S^T k_t) - sum over s < t of beta_t D(t, s) (k_t . k_s) N_s
//   o_t = exp(G_t) S^T q_t + sum over s <= t of D(t, s) (q_t . k_s) N_s
//   S  <- exp(G_T) S + sum over t of D(T, t) k_t N_t^T
// N solves the triangular system of the papers' (I + L) N = diag(beta) (V - diag(exp G) K S) row by row. G_t - G_s is
// added up from t backwards: as a difference of two long sums it would lose what a step by step decay keeps.
void PortableDeltaChunk(const DeltaHead& head, float* scratch) {
  const size_t dk = head.key_size;
  const size_t dv = head.value_size;
  const size_t n = head.tokens;
  float* news = scratch;         // [n][dv], N
  float* keys = news + n * dv;   // [n][dk], D(T, t) k_t
  float* decay = keys + n * dk;  // [n], D(t, s)
  float* weight = decay + n;     // [n], of each N_s in N_t, then in o_t

  float from_start = 0.0f;
  for (size_t t = 0; t < n; ++t) {
    const float* q = head.q + t * head.stride;
    const float* k = head.k + t * head.stride;
    const float* v = head.v + t * head.stride;
    const float beta = head.beta[t * head.gate_stride];
    float* fresh = news + t * dv;
    float* out = head.out + t * head.out_stride;

    from_start += head.log_decay[t * head.gate_stride];
    const float start = Exp(from_start);
    for (size_t j = 0; j < dv; ++j) {
      const float* row = head.state + j * dk;
      fresh[j] = beta * (v[j] - start * DotF32(row, k, dk));
      out[j] = start * DotF32(row, q, dk);
    }
    float since = 0.0f;
    for (size_t s = t + 1; s-- > 0;) {
      decay[s] = Exp(since);
      since += head.log_decay[s * head.gate_stride];
    }
    for (size_t s = 0; s < t; ++s) weight[s] = beta * decay[s] * DotF32(k, head.k + s * head.stride, dk);
    for (size_t s = 0; s < t; ++s) {
      for (size_t j = 0; j < dv; ++j) fresh[j] -= weight[s] * news[s * dv + j];
    }
    for (size_t s = 0; s <= t; ++s) weight[s] = decay[s] * DotF32(q, head.k + s * head.stride, dk);
    for (size_t s = 0; s <= t; ++s) {
      for (size_t j = 0; j < dv; ++j) out[j] += weight[s] * news[s * dv + j];
    }
  }

  // `decay` now holds D(T, t), of the last token.
  for (size_t t = 0; t < n; ++t) {
    for (size_t i = 0; i < dk; ++i) keys[t * dk + i] = head.k[t * head.stride + i] * decay[t];
  }
  const float end = Exp(from_start);
  for (size_t j = 0; j < dv; ++j) {
    float* row = head.state + j * dk;
    for (size_t i = 0; i < dk; ++i) row[i] *= end;
    for (size_t t = 0; t < n; ++t) {
      const float fresh = news[t * dv + j];
      for (size_t i = 0; i < dk; ++i) row[i] += fresh * keys[t * dk + i];
    }
  }
}

void PortableWidenState(const StateRows& state, float* rows) {
  for (size_t r = 0; r < state.rows; ++r) {
    for (size_t i = 0; i < state.row_size; ++i) {
      rows[r * state.row_size + i] = state.scales[r] * static_cast<float>(state.codes[r * state.row_size + i]);
    }
  }
}

void PortableRoundState(const float* rows, const StateRows& state) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: what is added to it loses its fraction, halves to the even side
  for (size_t r = 0; r < state.rows; ++r) {
    const float* row = rows + r * state.row_size;
    int16_t* codes = state.codes + r * state.row_size;
    float top = 0.0f;
    for (size_t i = 0; i < state.row_size; ++i) {
      const float magnitude = std::fabs(row[i]);
      top = magnitude <= top ? top : magnitude;
      if (!(top <= std::numeric_limits<float>::max())) break;
    }
    const bool finite = top <= std::numeric_limits<float>::max();
    const float inverse = finite && top >= StateRows::kFloor ? 32767.0f / top : 0.0f;
    state.scales[r] = !finite ? std::numeric_limits<float>::quiet_NaN() : inverse > 0.0f ? top / 32767.0f : 0.0f;
    for (size_t i = 0; i < state.row_size; ++i) {
      codes[i] = finite ? static_cast<int16_t>(row[i] * inverse + kRound - kRound) : int16_t{0};
    }
  }
}

}  // namespace thimble
