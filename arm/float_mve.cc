// SPDX-License-Identifier: Apache-2.0
//
// The float kernels in Helium: the delta rule, norms, gates, the short convolution, the rounding of activations. Every
// load and store of four floats lies on a float, which is all that this machine asks for.
#include "arm/board_isa.h"

#ifdef THIMBLE_MVE
#include <arm_mve.h>

#include <bit>

#include "arm/mve.h"
#include "arm/rounding.h"
#include "core/math.h"
#include "core/portable.h"

namespace thimble {
namespace {

using F = float32x4_t;

/// body(i, lanes) for vectors of four floats; of the last one some lanes may be left out.
template <class Body>
[[gnu::always_inline]] inline void Sweep(size_t n, const Body& body) {
  for (size_t i = 0; i < n; i += 4) body(i, vctp32q(static_cast<uint32_t>(n - i)));
}

/// The sum of each of four rows of four floats. The loads take apart what lies together.
[[gnu::always_inline]] inline F SumRows(const float* rows) {
  const float32x4x4_t columns = vld4q_f32(rows);
  return vaddq_f32(vaddq_f32(columns.val[0], columns.val[1]), vaddq_f32(columns.val[2], columns.val[3]));
}

float Dot(const float* x, const float* y, size_t n) {
  F sum = vdupq_n_f32(0.0f);
  Sweep(n, [&](size_t i, mve_pred16_t lanes) __attribute__((always_inline)) {
    sum = vfmaq_f32(sum, vldrwq_z_f32(x + i, lanes), vldrwq_z_f32(y + i, lanes));
  });
  return (vgetq_lane_f32(sum, 0) + vgetq_lane_f32(sum, 1)) + (vgetq_lane_f32(sum, 2) + vgetq_lane_f32(sum, 3));
}

/// 1 / (1 + e^-x); not for NaN. The exponential function is core's (core/math.h), with constants that stay in scalar
/// registers; the division three of Newton's steps from a guess on the bits.
[[gnu::always_inline]] inline F Sigmoid(F x) {
  constexpr float kRound = 12582912.0f;
  const F z = vminnmq_f32(vmaxnmq_f32(vnegq_f32(x), vdupq_n_f32(-87.0f)), vdupq_n_f32(80.0f));
  const F shifted = vaddq_n_f32(vmulq_n_f32(z, 1.44269504f), kRound);
  const F n = vsubq_n_f32(shifted, kRound);
  const F r = vfmaq_n_f32(vfmaq_n_f32(z, n, -0.693359375f), n, 2.12194440e-4f);
  F p = vfmasq_n_f32(r, vdupq_n_f32(1.9875691500e-4f), 1.3981999507e-3f);
  p = vfmasq_n_f32(p, r, 8.3334519073e-3f);
  p = vfmasq_n_f32(p, r, 4.1665795894e-2f);
  p = vfmasq_n_f32(p, r, 1.6666665459e-1f);
  p = vfmasq_n_f32(p, r, 5.0000001201e-1f);
  p = vaddq_n_f32(vfmaq_f32(r, p, vmulq_f32(r, r)), 1.0f);
  const int32x4_t exponent = vshlq_n_s32(vreinterpretq_s32_f32(shifted), 23);
  const F power = vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), exponent));
  const F y = vsubq_n_f32(vnegq_f32(power), 1.0f);  // -(1 + e^-x)
  F inverse =
      vreinterpretq_f32_s32(vsubq_s32(vdupq_n_s32(static_cast<int32_t>(0xfef311c7u)), vreinterpretq_s32_f32(y)));
  for (int i = 0; i < 3; ++i) inverse = vmulq_f32(inverse, vfmasq_n_f32(inverse, y, 2.0f));
  return inverse;
}

/// What the rounding is written in.
struct Blocks {
  static float Magnitude(const float* x) {
    uint32_t top = 0;
    for (size_t i = 0; i < Activations::kBlock; i += 4) {
      top = vmaxvq_u32(top, vreinterpretq_u32_f32(vabsq_f32(vldrwq_f32(x + i))));
    }
    return std::bit_cast<float>(top);
  }
  static int32_t RoundBlock(const float* x, float inverse, int8_t* codes) {
    int32_t sum = 0;
    for (size_t i = 0; i < Activations::kBlock; i += 4) {
      const int32x4_t rounded = vcvtnq_s32_f32(vmulq_n_f32(vldrwq_f32(x + i), inverse));
      sum = vaddvaq_s32(sum, rounded);
      vstrbq_s32(codes + i, rounded);
    }
    return sum;
  }
};

constexpr float kOnes[4] = {1.0f, 1.0f, 1.0f, 1.0f};

/// x = x * sigmoid(gate) * factors, n values; `step` is 0 for the same four factors everywhere, else 4. The one place
/// with an exponential function. A gate that is no number leaves none.
[[gnu::noinline]] void Gate(float* x, const float* gate, const float* factors, size_t step, size_t n) {
  Sweep(n, [&](size_t i, mve_pred16_t lanes) __attribute__((always_inline)) {
    const F g = vldrwq_z_f32(gate + i, lanes);
    const F open = vpselq_f32(Sigmoid(g), g, vcmpeqq_f32(g, g));
    const F value = vmulq_f32(vldrwq_z_f32(x + i, lanes), vldrwq_z_f32(factors, lanes));
    vstrwq_p_f32(x + i, vmulq_f32(value, open), lanes);
    factors += step;
  });
}

}  // namespace

void MveQuantise(const Activations& x, size_t t) { RoundToken<Blocks>(x, t); }

void MveRmsNorm(const float* x, const float* weight, size_t n, float epsilon, float* y) {
  const float scale = 1.0f / __builtin_sqrtf(Dot(x, x, n) / static_cast<float>(n) + epsilon);
  Sweep(n, [&](size_t i, mve_pred16_t lanes) __attribute__((always_inline)) {
    const F value = vmulq_n_f32(vldrwq_z_f32(x + i, lanes), scale);
    vstrwq_p_f32(y + i, vmulq_f32(value, vldrwq_z_f32(weight + i, lanes)), lanes);
  });
}

void MveL2Norm(float* x, size_t n, float scale) {
  const float inverse = scale / __builtin_sqrtf(Dot(x, x, n) + kL2NormEpsilon);
  Sweep(n, [&](size_t i, mve_pred16_t lanes) __attribute__((always_inline)) {
    vstrwq_p_f32(x + i, vmulq_n_f32(vldrwq_z_f32(x + i, lanes), inverse), lanes);
  });
}

void MveSwiglu(float* gate, const float* up, size_t n) { Gate(gate, gate, up, 4, n); }

void MveSigmoidGate(float* x, const float* gate, size_t n) { Gate(x, gate, kOnes, 0, n); }

// Four channels at a time, tokens from the last to the first, so that each finds the inputs before it untouched.
void MveConvSilu(float* u, size_t tokens, size_t channels, size_t begin, size_t end, const float* w, size_t taps,
                 float* tail) {
  const size_t history = taps - 1;
  const uint32x4_t first_taps = vmulq_n_u32(vidupq_n_u32(0, 4), static_cast<uint32_t>(taps));
  for (size_t c = begin; c < end; c += 4) {
    const mve_pred16_t lanes = vctp32q(static_cast<uint32_t>(end - c));
    const auto input = [&](size_t t) __attribute__((always_inline)) {  // `history` before the first token
      return (t < history ? tail + t * channels : u + (t - history) * channels) + c;
    };
    F last[Config::kMaxTaps - 1];
    for (size_t j = 0; j < history; ++j) last[j] = vldrwq_z_f32(input(tokens + j), lanes);
    for (size_t t = tokens; t-- > 0;) {
      F sum = vdupq_n_f32(0.0f);
      for (size_t j = 0; j < taps; ++j) {
        const F tap = vldrwq_gather_offset_z_f32(w + c * taps + j, first_taps, lanes);
        sum = vfmaq_f32(sum, vldrwq_z_f32(input(t + j), lanes), tap);
      }
      vstrwq_p_f32(u + t * channels + c, sum, lanes);
    }
    for (size_t j = 0; j < history; ++j) vstrwq_p_f32(tail + j * channels + c, last[j], lanes);
  }
  for (size_t t = 0; t < tokens; ++t) {
    float* sums = u + t * channels + begin;
    Gate(sums, sums, kOnes, 0, end - begin);
  }
}

namespace {

/// One token of a head.
struct DeltaToken {
  size_t key_size;  // a multiple of 4
  const float* q;
  const float* k;
  float decay;
  float beta;
};

// Functions of their own, as each takes all the vector registers that there are. `count`, of rows, is a multiple of 4;
// `products` is [count][4].

/// The products of rows with k, in four sums each.
[[gnu::noinline]] void MultiplyRows(const DeltaToken& token, const float* row, size_t count, float* products) {
  const size_t n = token.key_size;
  for (; count > 0; count -= 4, row += 4 * n, products += 16) {
    const float *k = token.k, *row0 = row, *row1 = row0 + n, *row2 = row1 + n, *row3 = row2 + n;
    F sum0 = vdupq_n_f32(0.0f), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    for (size_t i = n / 4; i > 0; --i, k += 4, row0 += 4, row1 += 4, row2 += 4, row3 += 4) {
      const F key = vldrwq_f32(k);
      sum0 = vfmaq_f32(sum0, vldrwq_f32(row0), key);
      sum1 = vfmaq_f32(sum1, vldrwq_f32(row1), key);
      sum2 = vfmaq_f32(sum2, vldrwq_f32(row2), key);
      sum3 = vfmaq_f32(sum3, vldrwq_f32(row3), key);
    }
    vstrwq_f32(products, sum0);
    vstrwq_f32(products + 4, sum1);
    vstrwq_f32(products + 8, sum2);
    vstrwq_f32(products + 12, sum3);
  }
}

/// With e = beta (v - decay row.k) a row becomes decay row + e k, and its output what that gives with q.
[[gnu::noinline]] void UpdateRows(const DeltaToken& token, float* products, const float* v, size_t count, float* row,
                                  float* out) {
  const size_t n = token.key_size;
  const float decay = token.decay;
  for (; count > 0; count -= 4, row += 4 * n, products += 16, v += 4, out += 4) {
    const F fresh = vfmaq_n_f32(vldrwq_f32(v), SumRows(products), -decay);
    const F e = vmulq_n_f32(fresh, token.beta);
    const float e0 = vgetq_lane_f32(e, 0), e1 = vgetq_lane_f32(e, 1), e2 = vgetq_lane_f32(e, 2),
                e3 = vgetq_lane_f32(e, 3);
    const float *k = token.k, *q = token.q;
    float *row0 = row, *row1 = row0 + n, *row2 = row1 + n, *row3 = row2 + n;
    F sum0 = vdupq_n_f32(0.0f), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    const auto update = [&](float* x, float of_key, F key, F query, F sum) __attribute__((always_inline)) {
      const F value = vfmaq_n_f32(vmulq_n_f32(vldrwq_f32(x), decay), key, of_key);
      vstrwq_f32(x, value);
      return vfmaq_f32(sum, value, query);
    };
    for (size_t i = n / 4; i > 0; --i, k += 4, q += 4, row0 += 4, row1 += 4, row2 += 4, row3 += 4) {
      const F key = vldrwq_f32(k), query = vldrwq_f32(q);
      sum0 = update(row0, e0, key, query, sum0);
      sum1 = update(row1, e1, key, query, sum1);
      sum2 = update(row2, e2, key, query, sum2);
      sum3 = update(row3, e3, key, query, sum3);
    }
    vstrwq_f32(products, sum0);
    vstrwq_f32(products + 4, sum1);
    vstrwq_f32(products + 8, sum2);
    vstrwq_f32(products + 12, sum3);
    vstrwq_f32(out, SumRows(products));
  }
}

}  // namespace

void MveDeltaStep(const DeltaHead& head) {
  constexpr size_t kRows = 32;  // of the state that go through the two steps together, at most
  const size_t dk = head.key_size;
  if (dk % 4 != 0 || head.value_size % 4 != 0) return PortableDeltaStep(head);
  for (size_t t = 0; t < head.tokens; ++t) {
    const size_t at = t * head.stride;
    const float decay = Exp(head.log_decay[t * head.gate_stride]);
    const DeltaToken token = {dk, head.q + at, head.k + at, decay, head.beta[t * head.gate_stride]};
    for (size_t j = 0; j < head.value_size; j += kRows) {
      const size_t count = head.value_size - j < kRows ? head.value_size - j : kRows;
      float products[4 * kRows];
      float* rows = head.state + j * dk;
      MultiplyRows(token, rows, count, products);
      UpdateRows(token, products, head.v + at + j, count, rows, head.out + t * head.out_stride + j);
    }
  }
}

void MveDeltaChunk(const DeltaHead& head, float*) { MveDeltaStep(head); }

}  // namespace thimble

#endif  // THIMBLE_MVE
