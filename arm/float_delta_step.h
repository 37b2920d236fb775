// SPDX-License-Identifier: Apache-2.0
//
// The gated delta rule of one head, token by token. With r a row of the state before the token, d the decay and
// e = beta (v - d r.k), the row becomes d r + e k and the output is d r.q + e k.q: one reading of the row gives both
// products, a second one, from cache, updates it.
#pragma once

#include "arm/float_kernels.h"
#include "arm/float_vector.h"

namespace thimble {

/// One token of a head, to be gone through by groups of rows.
template <class V>
struct DeltaToken {
  using F = typename V::F;

  size_t key_size;
  const float* __restrict q;
  const float* __restrict k;
  float decay;
  float beta;
  float qk;  // q . k

  DeltaToken(const DeltaHead& head, size_t t)
      : key_size(head.key_size),
        q(head.q + t * head.stride),
        k(head.k + t * head.stride),
        decay(V::First(Exp<V>(V::Set(head.log_decay[t * head.gate_stride])))),
        beta(head.beta[t * head.gate_stride]) {
    F sums[2] = {V::Set(0.0f), V::Set(0.0f)};
    Sweep<V, 2>(key_size,
                [&](size_t i, auto part, auto j) { sums[j] = V::MulAdd(part.Load(q + i), part.Load(k + i), sums[j]); });
    qk = V::Sum(sums[0] + sums[1]);
  }

  /// Up to kBlock rows of the state, with their values v and outputs.
  void Run(size_t count, float* rows, const float* __restrict v, float* __restrict out) const {
    float delta[kBlock];  // at first r.k
    size_t r = 0;
    for (; r + 4 <= count; r += 4) Multiply<4>(rows + r * key_size, delta + r, out + r);
    for (; r < count; ++r) Multiply<1>(rows + r * key_size, delta + r, out + r);
    const F decays = V::Set(decay);
    Sweep<V>(count, [&](size_t i, auto part, auto) {
      const F e = V::Set(beta) * V::MulSub(decays, part.Load(delta + i), part.Load(v + i));
      part.Store(delta + i, e);
      part.Store(out + i, V::MulAdd(e, V::Set(qk), decays * part.Load(out + i)));
    });
    for (r = 0; r + 4 <= count; r += 4) Update<4>(rows + r * key_size, delta + r);
    for (; r < count; ++r) Update<1>(rows + r * key_size, delta + r);
  }

  static constexpr size_t kBlock = 16;

 private:
  static constexpr size_t kStep = 4 * V::kWidth;

  // by_key[r] = row r . k, by_query[r] = row r . q
  template <size_t kRows>
  [[gnu::always_inline]] void Multiply(const float* rows, float* by_key, float* by_query) const {
    const size_t n = key_size;
    F key_sums[kRows];
    F query_sums[kRows];
    Unroll<kRows>([&](auto r) { key_sums[r] = query_sums[r] = V::Set(0.0f); });
    size_t i = 0;
    for (; i + kStep <= n; i += kStep) {
      F keys[4];
      F queries[4];
      V::LoadFour(k + i, keys);
      V::LoadFour(q + i, queries);
      Unroll<kRows>([&](auto r) {
        F row[4];
        V::LoadFour(rows + r * n + i, row);
        Unroll<4>([&](auto j) {
          key_sums[r] = V::MulAdd(row[j], keys[j], key_sums[r]);
          query_sums[r] = V::MulAdd(row[j], queries[j], query_sums[r]);
        });
      });
    }
    Sweep<V>(n - i, [&](size_t j, auto part, auto) {
      Unroll<kRows>([&](auto r) {
        const F row = part.Load(rows + r * n + i + j);
        key_sums[r] = V::MulAdd(row, part.Load(k + i + j), key_sums[r]);
        query_sums[r] = V::MulAdd(row, part.Load(q + i + j), query_sums[r]);
      });
    });
    if constexpr (kRows == 4) {
      V::Sum4(key_sums[0], key_sums[1], key_sums[2], key_sums[3], by_key);
      V::Sum4(query_sums[0], query_sums[1], query_sums[2], query_sums[3], by_query);
    } else {
      *by_key = V::Sum(key_sums[0]);
      *by_query = V::Sum(query_sums[0]);
    }
  }

  // row r = decay * row r + delta[r] * k
  template <size_t kRows>
  [[gnu::always_inline]] void Update(float* rows, const float* delta) const {
    const size_t n = key_size;  // locals, which no store to a row can change
    const float* const key = k;
    const F decays = V::Set(decay);
    F deltas[kRows];
    Unroll<kRows>([&](auto r) { deltas[r] = V::Set(delta[r]); });
    size_t i = 0;
    for (; i + kStep <= n; i += kStep) {
      F keys[4];
      V::LoadFour(key + i, keys);
      Unroll<kRows>([&](auto r) {
        float* at = rows + r * n + i;
        F row[4];
        V::LoadFour(at, row);
        Unroll<4>([&](auto j) { row[j] = V::MulAdd(deltas[r], keys[j], row[j] * decays); });
        Unroll<4>([&](auto j) { V::Store(at + j * V::kWidth, row[j]); });
      });
    }
    Sweep<V>(n - i, [&](size_t j, auto part, auto) {
      Unroll<kRows>([&](auto r) {
        float* at = rows + r * n + i + j;
        part.Store(at, V::MulAdd(deltas[r], part.Load(key + i + j), part.Load(at) * decays));
      });
    });
  }
};

template <class Isa>
void FloatKernels<Isa>::DeltaStep(const DeltaHead& head) {
  using Step = DeltaToken<Vector<Isa>>;
  for (size_t t = 0; t < head.tokens; ++t) {
    const Step step(head, t);
    for (size_t j = 0; j < head.value_size; j += Step::kBlock) {
      const size_t count = head.value_size - j < Step::kBlock ? head.value_size - j : Step::kBlock;
      step.Run(count, head.state + j * head.key_size, head.v + t * head.stride + j, head.out + t * head.out_stride + j);
    }
  }
}

}  // namespace thimble
