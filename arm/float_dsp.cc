// SPDX-License-Identifier: Apache-2.0
//
// The float kernels that are worth code of their own on a Cortex-M without vectors: the delta rule, whose rows go
// through registers four at a time, and the rounding of activations. Each product and each sum rounds by itself.
#include "arm/board_isa.h"

#ifdef THIMBLE_DSP
#include <bit>

#include "arm/dsp.h"
#include "arm/float_vector.h"
#include "arm/rounding.h"
#include "core/math.h"

namespace thimble {

/// What Exp of float_vector.h is written in, and the rounding: one float, without the branches that core's Exp has for
/// its ends.
template <>
struct Vector<Dsp> {
  using F = float;
  static constexpr size_t kWidth = 1;

  static F Set(float x) { return x; }
  static F MulAdd(F a, F b, F c) { return a * b + c; }
  static F MulSub(F a, F b, F c) { return c - a * b; }
  static F Min(F limit, F x) { return limit < x ? limit : x; }
  static F Max(F limit, F x) { return limit > x ? limit : x; }
  static F ExponentFromLowBits(F x) { return std::bit_cast<float>(std::bit_cast<uint32_t>(x) << 23); }

  static float Magnitude(const float* x) {
    uint32_t top = 0;
#pragma GCC unroll 2
    for (size_t i = 0; i < Activations::kBlock; ++i) {
      const uint32_t bits = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu;
      top = bits > top ? bits : top;
    }
    return std::bit_cast<float>(top);
  }
  static int32_t RoundBlock(const float* x, float inverse, int8_t* codes) {
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    int32_t sum = 0;
#pragma GCC unroll 2
    for (size_t i = 0; i < Activations::kBlock; ++i) {
      codes[i] = static_cast<int8_t>(std::bit_cast<uint32_t>(x[i] * inverse + kRound));
      sum += codes[i];
    }
    return sum;
  }
};

namespace {

constexpr float kOne = 1.0f;

/// x = x * sigmoid(gate) * factors, n values; `step` is 0 for the same factor everywhere, else 1. The one place with an
/// exponential function.
[[gnu::noinline]] void Gate(float* x, const float* gate, const float* factors, size_t step, size_t n) {
  for (size_t i = 0; i < n; ++i, factors += step) x[i] = x[i] * *factors / (1.0f + Exp<Vector<Dsp>>(-gate[i]));
}

/// One token of a head. With r a row of the state before the token, d the decay and e = beta (v - d r.k), the row
/// becomes d r + e k and the output is d r.q + e k.q: one reading of the row gives both products, a second updates it.
struct DeltaToken {
  size_t key_size;
  const float* q;
  const float* k;
  float decay;
  float beta;
  float qk;  // q . k
};

// Four columns of a row, which is four registers in one load: their products with k (s8-s11) and q (s12-s15), added to
// sums; and what they become. The macros are the preprocessor's, so that the compiler can count their instructions.
// clang-format off
#define THIMBLE_ADD(x, k, q, by_key, by_query)       \
  "vmul.f32 s20, " x ", " k "\n\t"                   \
  "vmul.f32 s21, " x ", " q "\n\t"                   \
  "vadd.f32 " by_key ", " by_key ", s20\n\t"         \
  "vadd.f32 " by_query ", " by_query ", s21\n\t"
#define THIMBLE_MULTIPLY_ROW(row, by_key, by_query)  \
  "vldmia " row "!, {s16-s19}\n\t"                   \
  THIMBLE_ADD("s16", "s8", "s12", by_key, by_query)  \
  THIMBLE_ADD("s17", "s9", "s13", by_key, by_query)  \
  THIMBLE_ADD("s18", "s10", "s14", by_key, by_query) \
  THIMBLE_ADD("s19", "s11", "s15", by_key, by_query)
#define THIMBLE_UPDATE_ROW(row, e)                   \
  "vldmia " row ", {s16-s19}\n\t"                    \
  "vmul.f32 s16, s16, %[decay]\n\t"                 \
  "vmul.f32 s17, s17, %[decay]\n\t"                 \
  "vmul.f32 s18, s18, %[decay]\n\t"                 \
  "vmul.f32 s19, s19, %[decay]\n\t"                 \
  "vmul.f32 s12, s8, " e "\n\t"                     \
  "vmul.f32 s13, s9, " e "\n\t"                     \
  "vmul.f32 s14, s10, " e "\n\t"                    \
  "vmul.f32 s15, s11, " e "\n\t"                    \
  "vadd.f32 s16, s16, s12\n\t"                      \
  "vadd.f32 s17, s17, s13\n\t"                      \
  "vadd.f32 s18, s18, s14\n\t"                      \
  "vadd.f32 s19, s19, s15\n\t"                      \
  "vstmia " row "!, {s16-s19}\n\t"
// clang-format on

/// Four rows of the state of 4, 8, 12, ... columns, with their values v and outputs. Loads of several registers cost
/// less than as many of one, and no compiler writes them by itself.
void FourRows(const DeltaToken& token, const float* v, float* state, float* out) {
  const size_t n = token.key_size;
  float *row0 = state, *row1 = row0 + n, *row2 = row1 + n, *row3 = row2 + n;
  const float* k = token.k;
  const float* q = token.q;
  const float* end = k + n;
  float k0 = 0.0f, k1 = 0.0f, k2 = 0.0f, k3 = 0.0f;
  float q0 = 0.0f, q1 = 0.0f, q2 = 0.0f, q3 = 0.0f;
  // clang-format off
  asm volatile(
      "1:\n\t"
      "vldmia %[k]!, {s8-s11}\n\t"
      "vldmia %[q]!, {s12-s15}\n\t"
      THIMBLE_MULTIPLY_ROW("%[row0]", "%[k0]", "%[q0]")
      THIMBLE_MULTIPLY_ROW("%[row1]", "%[k1]", "%[q1]")
      THIMBLE_MULTIPLY_ROW("%[row2]", "%[k2]", "%[q2]")
      THIMBLE_MULTIPLY_ROW("%[row3]", "%[k3]", "%[q3]")
      "cmp %[k], %[end]\n\t"
      "bne 1b"
      : [k] "+r"(k), [q] "+r"(q), [row0] "+r"(row0), [row1] "+r"(row1), [row2] "+r"(row2), [row3] "+r"(row3),
        [k0] "+t"(k0), [k1] "+t"(k1), [k2] "+t"(k2), [k3] "+t"(k3), [q0] "+t"(q0), [q1] "+t"(q1),
        [q2] "+t"(q2), [q3] "+t"(q3)
      : [end] "r"(end)
      : "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "s16", "s17", "s18", "s19", "s20", "s21", "cc",
        "memory");
  // clang-format on
  const float decay = token.decay;
  const float e0 = token.beta * (v[0] - decay * k0);
  const float e1 = token.beta * (v[1] - decay * k1);
  const float e2 = token.beta * (v[2] - decay * k2);
  const float e3 = token.beta * (v[3] - decay * k3);
  out[0] = decay * q0 + e0 * token.qk;
  out[1] = decay * q1 + e1 * token.qk;
  out[2] = decay * q2 + e2 * token.qk;
  out[3] = decay * q3 + e3 * token.qk;
  k = token.k;
  row0 = state, row1 = row0 + n, row2 = row1 + n, row3 = row2 + n;
  // clang-format off
  asm volatile(
      "1:\n\t"
      "vldmia %[k]!, {s8-s11}\n\t"
      THIMBLE_UPDATE_ROW("%[row0]", "%[e0]")
      THIMBLE_UPDATE_ROW("%[row1]", "%[e1]")
      THIMBLE_UPDATE_ROW("%[row2]", "%[e2]")
      THIMBLE_UPDATE_ROW("%[row3]", "%[e3]")
      "cmp %[k], %[end]\n\t"
      "bne 1b"
      : [k] "+r"(k), [row0] "+r"(row0), [row1] "+r"(row1), [row2] "+r"(row2), [row3] "+r"(row3)
      : [end] "r"(end), [decay] "t"(decay), [e0] "t"(e0), [e1] "t"(e1), [e2] "t"(e2), [e3] "t"(e3)
      : "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "s16", "s17", "s18", "s19", "cc", "memory");
  // clang-format on
}

void OneRow(const DeltaToken& token, float v, float* row, float* out) {
  float by_key = 0.0f, by_query = 0.0f;
  for (size_t i = 0; i < token.key_size; ++i) {
    by_key += row[i] * token.k[i];
    by_query += row[i] * token.q[i];
  }
  const float e = token.beta * (v - token.decay * by_key);
  *out = token.decay * by_query + e * token.qk;
  for (size_t i = 0; i < token.key_size; ++i) row[i] = row[i] * token.decay + e * token.k[i];
}

}  // namespace

void DspDeltaStep(const DeltaHead& head) {
  const size_t dk = head.key_size;
  for (size_t t = 0; t < head.tokens; ++t) {
    DeltaToken token = {dk,
                        head.q + t * head.stride,
                        head.k + t * head.stride,
                        Exp(head.log_decay[t * head.gate_stride]),
                        head.beta[t * head.gate_stride],
                        0.0f};
    for (size_t i = 0; i < dk; ++i) token.qk += token.q[i] * token.k[i];
    const float* v = head.v + t * head.stride;
    float* out = head.out + t * head.out_stride;
    size_t j = 0;
    for (; j + 4 <= head.value_size && dk % 4 == 0; j += 4) FourRows(token, v + j, head.state + j * dk, out + j);
    for (; j < head.value_size; ++j) OneRow(token, v[j], head.state + j * dk, out + j);
  }
}

void DspDeltaChunk(const DeltaHead& head, float*) { DspDeltaStep(head); }

void DspSwiglu(float* gate, const float* up, size_t n) { Gate(gate, gate, up, 1, n); }

void DspSigmoidGate(float* x, const float* gate, size_t n) { Gate(x, gate, &kOne, 0, n); }

// Channel by channel, tokens from the last to the first, so that each finds the inputs before it untouched.
void DspConvSilu(float* u, size_t tokens, size_t channels, size_t begin, size_t end, const float* w, size_t taps,
                 float* tail) {
  const size_t history = taps - 1;
  for (size_t c = begin; c < end; ++c) {
    const float* tap = w + c * taps;
    float first[2 * (Config::kMaxTaps - 1)];  // inputs before the first token, and of the first tokens
    const size_t few = tokens < history ? tokens : history;
    for (size_t j = 0; j < history; ++j) first[j] = tail[j * channels + c];
    for (size_t j = 0; j < few; ++j) first[history + j] = u[j * channels + c];
    for (size_t j = 0; j < history; ++j) {
      tail[j * channels + c] = tokens + j < history ? first[tokens + j] : u[(tokens + j - history) * channels + c];
    }
    for (size_t t = tokens; t-- > few;) {
      const float* input = u + (t - history) * channels + c;
      float sum = 0.0f;
      for (size_t j = 0; j < taps; ++j, input += channels) sum += tap[j] * *input;
      u[t * channels + c] = sum;
    }
    for (size_t t = 0; t < few; ++t) {
      float sum = 0.0f;
      for (size_t j = 0; j < taps; ++j) sum += tap[j] * first[t + j];
      u[t * channels + c] = sum;
    }
  }
  for (size_t t = 0; t < tokens; ++t) {
    float* sums = u + t * channels + begin;
    Gate(sums, sums, &kOne, 0, end - begin);
  }
}

void DspQuantise(const Activations& x, size_t t) { RoundToken<Vector<Dsp>>(x, t); }

}  // namespace thimble

#endif  // THIMBLE_DSP
