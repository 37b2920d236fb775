// SPDX-License-Identifier: Apache-2.0
//
// Softmax attention of some tokens, a tile of cache rows at a time with a running maximum and sum (core/MODEL.md). Rows
// that one token alone reads are multiplied as they lie if they are F32 or F16; for several tokens, and of other
// formats, a block of them is decoded first. Keys in 8 bits and fewer meet queries rounded to 8 bits (coded_rows.h).
// Either way a token's sums are added up in one order.
#pragma once

#include "arm/float_activations.h"
#include "arm/float_dot.h"
#include "arm/float_kernels.h"

namespace thimble {

/// out[c][i] += sum over r of weights[c * kAttentionTile + r] * row r [i], for the `width` values that begin at `i` and
/// fill kVectors vectors, if need be the one in part.
template <class V, class Element, size_t kColumns, size_t kVectors>
[[gnu::always_inline]] inline void AddWeighted(const RowBlock& block, size_t i, size_t width, const float* weights,
                                               float* out, size_t out_stride) {
  using F = typename V::F;
  const std::byte* rows = block.first + i * Element::kBytes;
  const auto load = [&](const std::byte* row, F* x) {
    if constexpr (kVectors == 1) {
      x[0] = LoadElements<V, Element>(row, width);
    } else {
      Unroll<kVectors / 2>(
          [&](auto v) { V::LoadPair(Element(), row + 2 * v * V::kWidth * Element::kBytes, x + 2 * v); });
    }
  };
  F sums[kColumns][kVectors];
  const auto for_sums = [&](const auto& body) {
    Unroll<kColumns>(
        [&](auto c) { Unroll<kVectors>([&](auto v) { body(sums[c][v], out + c * out_stride + i + v * V::kWidth); }); });
  };
  for_sums([&](F& sum, const float* from) { sum = kVectors == 1 ? LoadUpTo<V>(from, width) : V::Load(from); });
  size_t r = 0;
  for (; r + 4 <= block.count; r += 4, rows += 4 * block.stride) {
    decltype(V::template LoadColumn<4>(weights)) weight[kColumns];
    Unroll<kColumns>([&](auto c) { weight[c] = V::template LoadColumn<4>(weights + c * kAttentionTile + r); });
    Unroll<4>([&](auto j) {
      F row[kVectors];
      load(rows + j * block.stride, row);
      Unroll<kColumns>([&](auto c) {
        Unroll<kVectors>([&](auto v) { sums[c][v] = V::template MulAddLane<j>(row[v], weight[c], sums[c][v]); });
      });
    });
  }
  for (; r < block.count; ++r, rows += block.stride) {
    F row[kVectors];
    load(rows, row);
    Unroll<kColumns>([&](auto c) {
      const F weight = V::Set(weights[c * kAttentionTile + r]);
      Unroll<kVectors>([&](auto v) { sums[c][v] = V::MulAdd(weight, row[v], sums[c][v]); });
    });
  }
  for_sums([&](F sum, float* to) { kVectors == 1 ? StoreUpTo<V>(to, sum, width) : V::Store(to, sum); });
}

/// The same for all n values of a row and kColumns outputs.
template <class V, class Element, size_t kColumns>
void AddWeightedRows(const RowBlock& block, size_t n, const float* weights, float* out, size_t out_stride) {
  constexpr size_t kVectors = 4;
  constexpr size_t kStep = kVectors * V::kWidth;
  size_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    AddWeighted<V, Element, kColumns, kVectors>(block, i, kStep, weights, out, out_stride);
  }
  for (; i < n; i += V::kWidth) {
    const size_t width = n - i < V::kWidth ? n - i : V::kWidth;
    AddWeighted<V, Element, kColumns, 1>(block, i, width, weights, out, out_stride);
  }
}

/// The same for any number of outputs.
template <class V, class Element>
void AddWeightedAll(const RowBlock& block, size_t columns, size_t n, const float* weights, float* out,
                    size_t out_stride) {
  size_t c = 0;
  for (; c + V::kDotColumns <= columns; c += V::kDotColumns) {
    AddWeightedRows<V, Element, V::kDotColumns>(block, n, weights + c * kAttentionTile, out + c * out_stride,
                                                out_stride);
  }
  Unroll<V::kDotColumns - 1>([&](auto index) {
    constexpr size_t kColumns = index + 1;
    if (columns - c == kColumns) {
      AddWeightedRows<V, Element, kColumns>(block, n, weights + c * kAttentionTile, out + c * out_stride, out_stride);
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

template <class V>
class AttentionPass {
 public:
  AttentionPass(const AttentionHead& head, const CodedFormat* (*find_coded)(Type type), float* scratch)
      : head_(head),
        k_coded_(find_coded(head.k.format->type)),
        v_coded_(find_coded(head.v.format->type)),
        decoded_(scratch),
        scores_(decoded_ + kAttentionBlock * head.head_dim),
        maximum_(scores_ + head.tokens * head.group * kAttentionTile),
        total_(maximum_ + head.tokens * head.group),
        query_scales_(total_ + head.tokens * head.group),
        query_codes_(reinterpret_cast<int8_t*>(query_scales_ + 2 * SinkQueries() * (head.head_dim / 32))) {}

  void Run() {
    ForQueries(0, [&](size_t, const SoftmaxState& state, float*) {
      *state.maximum = -__builtin_inff();
      *state.total = 0.0f;
      Sweep<V>(state.n, [&](size_t i, auto part, auto) { part.Store(state.out + i, V::Set(0.0f)); });
    });
    if (ScoresCodes()) RoundQueries();
    const size_t rows = head_.rows + head_.tokens - 1;
    for (size_t begin = 0; begin < rows; begin += kAttentionTile) {
      begin = head_.Seen(begin) / kAttentionTile * kAttentionTile;
      AttendTile(begin, Least(rows, begin + kAttentionTile));
    }
    ForQueries(0, [&](size_t, const SoftmaxState& state, float*) {
      const typename V::F inverse = V::Set(1.0f / *state.total);
      Sweep<V>(state.n,
               [&](size_t i, auto part, auto) { part.Store(state.out + i, part.Load(state.out + i) * inverse); });
    });
  }

 private:
  static size_t Least(size_t a, size_t b) { return a < b ? a : b; }

  // The first token that comes as far as row r; all behind it do too.
  size_t FirstToken(size_t r) const { return r < head_.rows ? 0 : r + 1 - head_.rows; }
  float* Out(size_t t) const { return head_.out + t * head_.out_token_stride; }
  float* Scores(size_t t) const { return scores_ + t * head_.group * kAttentionTile; }

  // Tiles begin at multiples of their size, whatever a token's window: what a token gets depends on its own rows only.
  void AttendTile(size_t begin, size_t end) const {
    const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(head_.head_dim));
    if (head_.Skips(head_.tokens - 1, begin)) {
      ForQueries(0, [&](size_t, const SoftmaxState&, float* scores) {
        for (size_t r = 0; r < kAttentionTile; r += V::kWidth) V::Store(scores + r, V::Set(-__builtin_inff()));
      });
    }
    if (ScoresCodes()) {
      ScoreCodes(begin, end);
    } else {
      ForBlocks(head_.k, begin, end, [&](auto element, const RowBlock& block, bool sinks, size_t t, float* scores) {
        Score(element, block, sinks, t, scores);
      });
    }
    ForQueries(FirstToken(begin), [&](size_t t, const SoftmaxState& state, float* scores) {
      if (head_.Reads(t, begin, end)) Soften<V>(scores, Least(head_.rows + t, end) - begin, scale, state);
    });
    if (head_.tokens == 1 && v_coded_ != nullptr && v_coded_->add != nullptr) return AddCodes(begin, end);
    ForBlocks(head_.v, begin, end, [&](auto element, const RowBlock& block, bool, size_t t, const float* weights) {
      AddWeightedAll<V, decltype(element)>(block, head_.group, head_.head_dim, weights, Out(t), head_.out_stride);
    });
  }

  // The weighted sum of one token over the rows [begin, end) of a tile, which are decoded for it alone.
  void AddCodes(size_t begin, size_t end) const {
    for (size_t r = head_.Seen(begin), run_end; r < end; r = head_.Seen(run_end)) {
      const Ring::Run run = head_.ring.RunOf(r);
      run_end = Least(run.end, end);
      v_coded_->add({head_.v.Row(run.slot), head_.v.stride, run_end - r}, head_.head_dim, scores_ + (r - begin),
                    head_.group, head_.out, head_.out_stride);
    }
  }

  // body(t, state, scores) for all queries of the tokens from `first` on.
  template <class Body>
  void ForQueries(size_t first, const Body& body) const {
    for (size_t t = first; t < head_.tokens; ++t) {
      for (size_t h = 0; h < head_.group; ++h) {
        const size_t i = t * head_.group + h;
        body(t, SoftmaxState{maximum_ + i, total_ + i, Out(t) + h * head_.out_stride, head_.head_dim},
             scores_ + i * kAttentionTile);
      }
    }
  }

  // body(element, rows, sinks, t, scores) for all blocks of the rows [begin, end) of a tile and the tokens that read
  // them, with the rows of a block that the token reads, whether they are sinks, and where their scores stand.
  template <class Body>
  void ForBlocks(const CacheRows& cache, size_t begin, size_t end, const Body& body) const {
    for (size_t r = head_.Seen(begin); r < end; r = head_.Seen(r)) {
      const Ring::Run run = head_.ring.RunOf(r);
      const size_t run_end = Least(run.end, end);
      for (const std::byte* first = cache.Row(run.slot); r < run_end;) {
        // Rows that one token reads as they lie come from far, so they are read from end to end, few at a time.
        const RowBlock lying = {first, cache.stride, Least(run_end - r, ReadsAsTheyLie(cache) ? 4 : kAttentionBlock)};
        ForTokens(cache, lying, r, Scores(0) + (r - begin), body);
        r += lying.count;
        first += lying.count * lying.stride;
      }
    }
  }

  bool ReadsAsTheyLie(const CacheRows& cache) const {
    return head_.tokens == 1 && (cache.format->type == Type::kF32 || cache.format->type == Type::kF16);
  }

  // The same for a block of rows that lie side by side from row r on, whose scores of the first token stand there.
  template <class Body>
  void ForTokens(const CacheRows& cache, const RowBlock& lying, size_t r, float* scores, const Body& body) const {
    const auto for_tokens = [&](auto element, const RowBlock& block) {
      for (size_t t = FirstToken(r); t < head_.tokens; ++t) {
        const AttentionHead::Rows seen = head_.RowsOf(t, r, r + block.count);
        if (seen.first >= seen.last) continue;
        const size_t before = seen.first - r;
        body(element, RowBlock{block.first + before * block.stride, block.stride, seen.last - seen.first},
             r < head_.ring.sinks, t, scores + t * head_.group * kAttentionTile + before);
      }
    };
    if (cache.format->type == Type::kF32) {
      for_tokens(ElementF32(), lying);
    } else if (cache.format->type == Type::kF16 && head_.tokens == 1) {
      for_tokens(ElementF16(), lying);
    } else {
      for_tokens(ElementF32(), Decode(cache.format == head_.v.format ? v_coded_ : k_coded_, *cache.format, lying));
    }
  }

  RowBlock Decode(const CodedFormat* coded, const Format& format, const RowBlock& block) const {
    const size_t d = head_.head_dim;
    const RowBlock decoded = {reinterpret_cast<const std::byte*>(decoded_), d * sizeof(float), block.count};
    if (coded != nullptr) {
      coded->decode(block, d, decoded_);
      return decoded;
    }
    for (size_t r = 0; r < block.count; ++r) {
      const std::byte* row = block.first + r * block.stride;
      float* to = decoded_ + r * d;
      if (format.type != Type::kF16) {
        format.decode(row, d / format.block_size, to);
        continue;
      }
      size_t i = 0;
      for (; i + 2 * V::kWidth <= d; i += 2 * V::kWidth) {
        typename V::F pair[2];
        V::LoadPair(ElementF16(), row + i * ElementF16::kBytes, pair);
        V::Store(to + i, pair[0]);
        V::Store(to + i + V::kWidth, pair[1]);
      }
      for (; i < d; i += V::kWidth) {
        StoreUpTo<V>(to + i, LoadElements<V, ElementF16>(row + i * ElementF16::kBytes, d - i), d - i);
      }
    }
    return decoded;
  }

  // Where the queries for the sinks begin, behind the others.
  size_t SinkQueries() const { return head_.tokens * head_.group; }
  int8_t* LowCodes() const { return query_codes_ + 2 * SinkQueries() * head_.head_dim; }
  bool ScoresCodes() const { return k_coded_ != nullptr && k_coded_->score != nullptr; }

  // The queries in 8 bits, once more as it meets the sinks, where there are some.
  void RoundQueries() const {
    for (size_t i = 0; i < head_.tokens * head_.group; ++i) {
      const size_t t = i / head_.group, h = i % head_.group;
      RoundQuery(head_.q + t * head_.q_token_stride + h * head_.q_stride, i);
      if (head_.ring.sinks == 0) continue;
      RoundQuery(head_.sink_q + t * head_.sink_q_token_stride + h * head_.sink_q_stride, SinkQueries() + i);
    }
  }

  void RoundQuery(const float* q, size_t i) const {
    const size_t d = head_.head_dim;
    for (size_t b = 0; b < d; b += 32) {
      const Rounding<V> rounding(V::Magnitude(q + b));
      query_scales_[(i * d + b) / 32] = k_coded_->fine ? rounding.scale * (1.0f / 128.0f) : rounding.scale;
      int8_t* codes = query_codes_ + i * d + b;
      rounding.Round(q + b, codes);
      if (k_coded_->fine) RoundRest(q + b, codes, rounding, LowCodes() + i * d + b);
    }
  }

  // What the codes of a block have left, in 128ths of their scale.
  static void RoundRest(const float* q, const int8_t* codes, const Rounding<V>& rounding, int8_t* low) {
    float rest[Activations::kBlock] = {};
    for (size_t j = 0; j < Activations::kBlock && rounding.ordinary; ++j) {
      rest[j] = q[j] * rounding.inverse - static_cast<float>(codes[j]);
    }
    V::RoundBlock(rest, 128.0f, low);
  }

  // Scores of the rows [begin, end) of a tile, run by run and for all tokens that come as far: rows behind a token's
  // own are not looked at, rows before its window are made up for.
  void ScoreCodes(size_t begin, size_t end) const {
    const size_t d = head_.head_dim;
    for (size_t r = head_.Seen(begin), run_end; r < end; r = head_.Seen(run_end)) {
      const Ring::Run run = head_.ring.RunOf(r);
      run_end = Least(run.end, end);
      const size_t first = FirstToken(r) * head_.group;
      const size_t query = first + (r < head_.ring.sinks ? SinkQueries() : 0);
      const CodedQueries queries = {query_codes_ + query * d, LowCodes() + query * d, query_scales_ + query * (d / 32),
                                    head_.tokens * head_.group - first, d};
      float* scores = scores_ + first * kAttentionTile + (r - begin);
      k_coded_->score({head_.k.Row(run.slot), head_.k.stride, run_end - r}, queries, scores);
      ForQueries(FirstToken(r), [&](size_t t, const SoftmaxState&, float* of_tile) {
        const size_t lowest = Least(head_.RowsOf(t, r, run_end).first, run_end);
        for (size_t i = r; i < lowest; ++i) of_tile[i - begin] = -__builtin_inff();
      });
    }
  }

  template <class Element>
  void Score(Element, const RowBlock& block, bool sinks, size_t t, float* scores) const {
    const float* q = sinks ? head_.sink_q + t * head_.sink_q_token_stride : head_.q + t * head_.q_token_stride;
    const size_t q_stride = sinks ? head_.sink_q_stride : head_.q_stride;
    const std::byte* row = block.first;
    size_t r = 0;
    for (; r + 4 <= block.count; r += 4, row += 4 * block.stride) {
      DotAll<V, Element, 4>(row, block.stride, q, q_stride, head_.group, head_.head_dim, scores + r, kAttentionTile);
    }
    for (; r < block.count; ++r, row += block.stride) {
      DotAll<V, Element, 1>(row, block.stride, q, q_stride, head_.group, head_.head_dim, scores + r, kAttentionTile);
    }
  }

  const AttentionHead& head_;
  const CodedFormat* k_coded_;
  const CodedFormat* v_coded_;
  float* decoded_;       // [kAttentionBlock][head_dim]
  float* scores_;        // [tokens][group][kAttentionTile]
  float* maximum_;       // [tokens][group]
  float* total_;         // [tokens][group]
  float* query_scales_;  // [2: for the window, for the sinks][tokens][group][head_dim / 32]
  int8_t* query_codes_;  // [2: codes, low codes][2][tokens][group][head_dim]
};

template <class Isa>
void FloatKernels<Isa>::Attend(const AttentionHead& head, const CodedFormat* (*find_coded)(Type type), float* scratch) {
  AttentionPass<Vector<Isa>>(head, find_coded, scratch).Run();
}

}  // namespace thimble
