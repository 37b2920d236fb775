// SPDX-License-Identifier: Apache-2.0
//
// Softmax attention of one token, a tile of cache rows at a time with a running maximum and sum (core/MODEL.md). Rows
// of F32 and F16 are read as they lie, four at a time and once for all queries; rows of other formats are decoded.
#pragma once

#include "arm/float_dot.h"
#include "arm/float_kernels.h"

namespace thimble {

/// out[c][i] += sum over r of weights[c * weights_stride + r] * row r [i], for kRows rows (1 or 4).
template <class V, class Element, size_t kRows, size_t kColumns>
void AddWeighted(const std::byte* rows, size_t row_stride, const float* weights, size_t weights_stride, size_t n,
                 float* __restrict out, size_t out_stride) {
  using F = typename V::F;
  const auto add = [&](auto column, const F* row, F sum) {
    if constexpr (kRows == 4) {
      const auto weight = V::template LoadColumn<4>(weights + column * weights_stride);
      Unroll<4>([&](auto r) { sum = V::template MulAddLane<r>(row[r], weight, sum); });
      return sum;
    } else {
      return V::MulAdd(V::Set(weights[column * weights_stride]), row[0], sum);
    }
  };
  size_t i = 0;
  for (; i + 2 * V::kWidth <= n; i += 2 * V::kWidth) {
    F low[kRows];
    F high[kRows];
    Unroll<kRows>([&](auto r) {
      F row[2];
      V::LoadPair(Element(), rows + r * row_stride + i * Element::kBytes, row);
      low[r] = row[0];
      high[r] = row[1];
    });
    Unroll<kColumns>([&](auto c) {
      float* to = out + c * out_stride + i;
      const F first = add(c, low, V::Load(to));
      const F second = add(c, high, V::Load(to + V::kWidth));
      V::Store(to, first);
      V::Store(to + V::kWidth, second);
    });
  }
  for (; i < n; i += V::kWidth) {
    const size_t count = n - i < V::kWidth ? n - i : V::kWidth;
    F row[kRows];
    Unroll<kRows>(
        [&](auto r) { row[r] = LoadElements<V, Element>(rows + r * row_stride + i * Element::kBytes, count); });
    Unroll<kColumns>([&](auto c) {
      float* to = out + c * out_stride + i;
      StoreUpTo<V>(to, add(c, row, LoadUpTo<V>(to, count)), count);
    });
  }
}

/// The same for any number of outputs.
template <class V, class Element, size_t kRows>
void AddWeightedAll(const std::byte* rows, size_t row_stride, const float* weights, size_t weights_stride,
                    size_t columns, size_t n, float* out, size_t out_stride) {
  size_t c = 0;
  for (; c + V::kDotColumns <= columns; c += V::kDotColumns) {
    AddWeighted<V, Element, kRows, V::kDotColumns>(rows, row_stride, weights + c * weights_stride, weights_stride, n,
                                                   out + c * out_stride, out_stride);
  }
  Unroll<V::kDotColumns - 1>([&](auto index) {
    constexpr size_t kColumns = index + 1;
    if (columns - c == kColumns) {
      AddWeighted<V, Element, kRows, kColumns>(rows, row_stride, weights + c * weights_stride, weights_stride, n,
                                               out + c * out_stride, out_stride);
    }
  });
}

/// The softmax of one query so far.
struct SoftmaxState {
  float* maximum;
  float* total;
  float* out;  // [n], sum of weighted rows, to be divided by total
  size_t n;
};

/// Scores of a tile become weights e^(score scale - maximum). Where that raises the maximum, what was added up before
/// is scaled down. `scores` has room for a whole number of vectors.
template <class V>
void Soften(float* scores, size_t rows, float scale, const SoftmaxState& state) {
  using F = typename V::F;
  for (size_t r = rows; r % V::kWidth != 0; ++r) scores[r] = -__builtin_inff();
  F highest = V::Load(scores);
  for (size_t r = V::kWidth; r < rows; r += V::kWidth) highest = V::Max(highest, V::Load(scores + r));
  const float of_tile = V::Highest(highest) * scale;
  const float before = *state.maximum;
  const float top = before >= of_tile ? before : of_tile;
  if (top != before) {
    const F shrink = Exp<V>(V::Set(before - top));
    Sweep<V>(state.n, [&](size_t i, auto part, auto) { part.Store(state.out + i, part.Load(state.out + i) * shrink); });
    *state.total *= V::First(shrink);
    *state.maximum = top;
  }
  F sum = V::Set(0.0f);
  const F scales = V::Set(scale);
  const F minus_top = V::Set(-top);
  for (size_t r = 0; r < rows; r += V::kWidth) {
    const F weight = Exp<V>(V::MulAdd(V::Load(scores + r), scales, minus_top));
    V::Store(scores + r, weight);
    sum = sum + weight;
  }
  *state.total += V::Sum(sum);
}

/// The cache of a head as one of its kinds of elements; ElementF32 also for formats that are decoded, row by row.
template <class V, class Element>
struct CacheReader {
  const AttentionHead& head;
  float* decoded;  // [head_dim], or null: rows are read as they lie

  template <class Body>
  void ForRows(const std::byte* first, size_t rows, const Body& body) const {
    size_t r = 0;
    if (decoded == nullptr) {
      for (; r + 4 <= rows; r += 4) body(Index<4>(), first + r * head.row_stride, r);
    }
    for (; r < rows; ++r) {
      const std::byte* row = first + r * head.row_stride;
      if (decoded != nullptr) {
        head.format->decode(row, head.head_dim / head.format->block_size, decoded);
        row = reinterpret_cast<const std::byte*>(decoded);
      }
      body(Index<1>(), row, r);
    }
  }
};

template <class V, class Element>
void AttendRows(const AttentionHead& head, float* scratch, bool decode) {
  const size_t d = head.head_dim;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(d));
  float* scores = scratch;                                  // [queries][kAttentionTile]
  float* maximum = scores + head.queries * kAttentionTile;  // [queries]
  float* total = maximum + head.queries;                    // [queries]
  float* decoded = total + head.queries;                    // [d]
  const CacheReader<V, Element> cache{head, decode ? decoded : nullptr};
  for (size_t h = 0; h < head.queries; ++h) {
    maximum[h] = -__builtin_inff();
    total[h] = 0.0f;
    Sweep<V>(d, [&](size_t i, auto part, auto) { part.Store(head.out + h * head.out_stride + i, V::Set(0.0f)); });
  }
  for (size_t begin = 0; begin < head.rows; begin += kAttentionTile) {
    const size_t n = head.rows - begin < kAttentionTile ? head.rows - begin : kAttentionTile;
    cache.ForRows(head.k + begin * head.row_stride, n, [&](auto count, const std::byte* rows, size_t r) {
      DotAll<V, Element, count>(rows, head.row_stride, head.q, head.q_stride, head.queries, d, scores + r,
                                kAttentionTile);
    });
    for (size_t h = 0; h < head.queries; ++h) {
      Soften<V>(scores + h * kAttentionTile, n, scale, {maximum + h, total + h, head.out + h * head.out_stride, d});
    }
    cache.ForRows(head.v + begin * head.row_stride, n, [&](auto count, const std::byte* rows, size_t r) {
      AddWeightedAll<V, Element, count>(rows, head.row_stride, scores + r, kAttentionTile, head.queries, d, head.out,
                                        head.out_stride);
    });
  }
  for (size_t h = 0; h < head.queries; ++h) {
    const typename V::F inverse = V::Set(1.0f / total[h]);
    float* out = head.out + h * head.out_stride;
    Sweep<V>(d, [&](size_t i, auto part, auto) { part.Store(out + i, part.Load(out + i) * inverse); });
  }
}

template <class Isa>
void FloatKernels<Isa>::Attend(const AttentionHead& head, float* scratch) {
  if (head.format->type == Type::kF16) {
    AttendRows<Vector<Isa>, ElementF16>(head, scratch, false);
  } else {
    AttendRows<Vector<Isa>, ElementF32>(head, scratch, head.format->type != Type::kF32);
  }
}

}  // namespace thimble
