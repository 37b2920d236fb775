// SPDX-License-Identifier: Apache-2.0
//
// The gated delta rule of one head for a chunk of tokens, as products of small matrices (core/MODEL.md, "In chunks").
// Keys and queries of some tokens stand in one panel, so that a tile of sums in registers goes the whole way: products
// with the state, the part of earlier tokens, the triangular solution, new values and outputs. Columns of the tile are
// values; groups of them do not depend on each other.
#pragma once

#include "arm/float_kernels.h"
#include "arm/float_vector.h"

namespace thimble {

/// A tile of sums in registers.
template <class V>
struct SumTile {
  using F = typename V::F;
  static constexpr size_t kRows = V::kTileRows;
  static constexpr size_t kVectors = V::kTileVectors;
  static constexpr size_t kColumns = kVectors * V::kWidth;
  static constexpr size_t kUnroll = kRows / 2;  // steps of depth at a time

  F sum[kRows][kVectors];

  [[gnu::always_inline]] void Clear() {
    Unroll<kRows * kVectors>([&](auto i) { sum[i / kVectors][i % kVectors] = V::Set(0.0f); });
  }

  /// sum[m][c] += sum over i < depth of a[i][m] * b[i][c], with b[depth][kColumns] and rows of `a` kStride floats
  /// apart; depth is a multiple of kUnroll.
  template <size_t kStride>
  [[gnu::noinline]] void Add(size_t depth, const float* a, const float* b) {
    F local[kRows][kVectors];
    Unroll<kRows * kVectors>([&](auto i) { local[i / kVectors][i % kVectors] = sum[i / kVectors][i % kVectors]; });
    for (const float* end = a + depth * kStride; a != end; a += kUnroll * kStride, b += kUnroll * kColumns) {
      Unroll<kUnroll>([&](auto i) {
        const auto column = V::template LoadColumn<kRows>(a + i * kStride);
        F row[kVectors];
        Unroll<kVectors>([&](auto v) { row[v] = V::Load(b + i * kColumns + v * V::kWidth); });
        Unroll<kRows>([&](auto m) {
          Unroll<kVectors>([&](auto v) { local[m][v] = V::template MulAddLane<m>(row[v], column, local[m][v]); });
        });
      });
    }
    Unroll<kRows * kVectors>([&](auto i) { sum[i / kVectors][i % kVectors] = local[i / kVectors][i % kVectors]; });
  }
};

/// out[i][r] = rows[r][i] for i < depth, and 0 from there to `padded`.
template <class V, size_t kCount>
void Interleave(const float* const (&rows)[kCount], size_t depth, size_t padded, float* out) {
  size_t i = 0;
  for (; i + 4 <= depth; i += 4) {
    Unroll<kCount / 4>([&](auto r) { V::Transpose(rows + 4 * r, i, out + i * kCount + 4 * r, kCount); });
  }
  for (; i < padded; ++i) {
    for (size_t r = 0; r < kCount; ++r) out[i * kCount + r] = i < depth ? rows[r][i] : 0.0f;
  }
}

template <class V>
class DeltaChunkPass {
 public:
  DeltaChunkPass(const DeltaHead& head, float* scratch)
      : head_(head),
        tokens_(RoundUp(head.tokens, kTokens)),
        weighed_(RoundUp(head.tokens, kColumns)),
        depth_(RoundUp(head.key_size, kTokens)),
        panels_(scratch),
        weights_(panels_ + 2 * depth_ * tokens_),
        keys_(weights_ + 2 * weighed_ * tokens_),
        state_(keys_ + tokens_ * RoundUp(head.key_size, kColumns)),
        news_(state_ + depth_ * kColumns) {}

  void Run() {
    PackPanels();
    PackKeys();
    WeighTokens();
    for (size_t j = 0; j < head_.value_size; j += kColumns) {
      PackRows(head_.state + j * head_.key_size, head_.key_size, head_.value_size - j);
      if (head_.value_size - j >= kColumns) {
        Answer(j, WholeEdge());
      } else {
        Answer(j, RaggedEdge{head_.value_size - j});
      }
      UpdateState(j);
    }
  }

 private:
  using F = typename V::F;
  using Tile = SumTile<V>;
  static constexpr size_t kRows = Tile::kRows;
  static constexpr size_t kColumns = Tile::kColumns;
  static constexpr size_t kTokens = kRows / 2;  // of a panel
  static_assert(kTokens % Tile::kUnroll == 0 && kColumns % kTokens == 0);

  static size_t RoundUp(size_t n, size_t step) { return (n + step - 1) / step * step; }

  // What lies behind the last token or row is a copy of it, and nobody looks at what it gives; its key has decayed to 0
  // in the update of the state.
  size_t Token(size_t t) const { return t < head_.tokens ? t : head_.tokens - 1; }

  void PackPanels() {
    for (size_t t = 0; t < head_.tokens; t += kTokens) {
      const float* rows[kRows];
      for (size_t m = 0; m < kTokens; ++m) {
        rows[m] = head_.k + Token(t + m) * head_.stride;
        rows[kTokens + m] = head_.q + Token(t + m) * head_.stride;
      }
      Interleave<V>(rows, head_.key_size, depth_, Panel(t));
    }
  }

  // state_ = the transpose of kColumns rows, of which `count` exist.
  void PackRows(const float* from, size_t stride, size_t count) {
    const float* rows[kColumns];
    for (size_t r = 0; r < kColumns; ++r) rows[r] = from + (r < count ? r : count - 1) * stride;
    Interleave<V>(rows, head_.key_size, depth_, state_);
  }

  // The decays from the beginning to each token, and keys_ = D(T, t) k_t by panels of kColumns dimensions.
  void PackKeys() {
    const size_t n = head_.tokens;
    float sum = 0.0f;
    for (size_t t = 0; t < n; ++t) start_[t] = sum += head_.log_decay[t * head_.gate_stride];
    Sweep<V>(n, [&](size_t i, auto part, auto) { part.Store(start_ + i, Exp<V>(part.Load(start_ + i))); });
    float to_end[kDeltaChunk] = {};
    sum = 0.0f;
    for (size_t t = n; t-- > 0; sum += head_.log_decay[t * head_.gate_stride]) to_end[t] = sum;
    Sweep<V>(n, [&](size_t i, auto part, auto) { part.Store(to_end + i, Exp<V>(part.Load(to_end + i))); });
    for (size_t i = 0; i < head_.key_size; i += kColumns) {
      if (head_.key_size - i >= kColumns) {
        PackKeys(i, to_end, WholeEdge());
      } else {
        PackKeys(i, to_end, RaggedEdge{head_.key_size - i});
      }
    }
  }

  template <class Edge>
  void PackKeys(size_t i, const float* decays, const Edge& edge) {
    float* to = keys_ + i * tokens_;
    for (size_t t = 0; t < tokens_; ++t, to += kColumns) {
      const float* from = head_.k + Token(t) * head_.stride + i;
      const F decay = V::Set(decays[t]);
      Unroll<Tile::kVectors>([&](auto v) { V::Store(to + v * V::kWidth, edge.Load(from, v) * decay); });
    }
  }

  float* Panel(size_t t) { return panels_ + 2 * t * depth_; }
  float* Weights(size_t t) { return weights_ + 2 * t * weighed_; }

  // Weights(t)[s][m]: what N_s is multiplied with in N_t, and behind these in o_t, for the tokens of a panel.
  void WeighTokens() {
    float since[kDeltaChunk] = {};  // sum of log_decay from behind s to t
    for (size_t end = weighed_; end > 0; end -= kColumns) {
      const size_t begin = end - kColumns;
      PackRows(head_.k + begin * head_.stride, head_.stride, head_.tokens - begin);
      for (size_t t = begin; t < head_.tokens; t += kTokens) {
        Tile tile;
        tile.Clear();
        tile.template Add<kRows>(depth_, Panel(t), state_);
        float weights[kRows][kColumns];
        const float* rows[kRows];
        Unroll<kTokens>([&](auto m) {
          const size_t token = Token(t + m);
          float decay[kColumns];
          since[t + m] = SumDecays(begin, token, since[t + m], decay);
          const F minus_beta = V::Set(-head_.beta[token * head_.gate_stride]);
          Unroll<Tile::kVectors>([&](auto v) {
            const F d = Exp<V>(V::Load(decay + v * V::kWidth));
            V::Store(weights[m] + v * V::kWidth, tile.sum[m][v] * d * minus_beta);
            V::Store(weights[kTokens + m] + v * V::kWidth, tile.sum[kTokens + m][v] * d);
          });
          rows[m] = weights[m];
          rows[kTokens + m] = weights[kTokens + m];
        });
        Interleave<V>(rows, kColumns, kColumns, Weights(t) + begin * kRows);
      }
    }
  }

  // sums[c] = sum of log_decay from behind s = begin + c to t, beginning with what was added up behind the last s;
  // minus infinity where s is later than t.
  float SumDecays(size_t begin, size_t t, float sum, float* sums) const {
    for (size_t c = kColumns; c-- > 0;) {
      sums[c] = begin + c > t ? -__builtin_inff() : sum;
      if (begin + c <= t) sum += head_.log_decay[(begin + c) * head_.gate_stride];
    }
    return sum;
  }

  // news_ and the outputs of values j to j + kColumns; `edge` reads and writes those that exist.
  template <class Edge>
  void Answer(size_t j, const Edge& edge) {
    for (size_t t = 0; t < head_.tokens; t += kTokens) {
      Tile tile;
      tile.Clear();
      tile.template Add<kRows>(depth_, Panel(t), state_);
      Unroll<kTokens>([&](auto m) {
        const size_t token = Token(t + m);
        const F start = V::Set(start_[token]);
        const F beta = V::Set(head_.beta[token * head_.gate_stride]);
        Unroll<Tile::kVectors>([&](auto v) {
          const F value = edge.Load(head_.v + token * head_.stride + j, v);
          tile.sum[m][v] = beta * V::MulSub(start, tile.sum[m][v], value);
          tile.sum[kTokens + m][v] = start * tile.sum[kTokens + m][v];
        });
      });
      tile.template Add<kRows>(t, Weights(t), news_);
      Solve(Weights(t) + t * kRows, tile);
      Unroll<kTokens>([&](auto m) {
        Unroll<Tile::kVectors>([&](auto v) {
          V::Store(news_ + (t + m) * kColumns + v * V::kWidth, tile.sum[m][v]);
          if (t + m < head_.tokens) edge.Store(head_.out + (t + m) * head_.out_stride + j, v, tile.sum[kTokens + m][v]);
        });
      });
    }
  }

  // What the tokens of a panel give to each other.
  [[gnu::always_inline]] static void Solve(const float* weights, Tile& tile) {
    Unroll<kTokens>([&](auto s) {
      const auto column = V::template LoadColumn<kRows>(weights + s * kRows);
      Unroll<kTokens - s>([&](auto behind) {
        constexpr size_t kToken = s + behind;
        Unroll<Tile::kVectors>([&](auto v) {
          if constexpr (behind > 0) {
            tile.sum[kToken][v] = V::template MulAddLane<kToken>(tile.sum[s][v], column, tile.sum[kToken][v]);
          }
          tile.sum[kTokens + kToken][v] =
              V::template MulAddLane<kTokens + kToken>(tile.sum[s][v], column, tile.sum[kTokens + kToken][v]);
        });
      });
    });
  }

  // Rows j to j + kColumns of the state, those that exist.
  void UpdateState(size_t j) {
    const size_t dk = head_.key_size;
    const size_t count = head_.value_size - j < kColumns ? head_.value_size - j : kColumns;
    for (size_t r = 0; r < count; r += kRows) {
      for (size_t i = 0; i < dk; i += kColumns) {
        Tile tile;
        tile.Clear();
        tile.template Add<kColumns>(tokens_, news_ + r, keys_ + i * tokens_);
        float* rows = head_.state + (j + r) * dk + i;
        if (count - r >= kRows && dk - i >= kColumns) {
          Unroll<kRows>([&](auto m) { AddToState(tile.sum[m], WholeEdge(), rows + m * dk); });
        } else {
          Unroll<kRows>([&](auto m) {
            if (m < count - r) AddToState(tile.sum[m], RaggedEdge{dk - i}, rows + m * dk);
          });
        }
      }
    }
  }

  template <class Edge>
  [[gnu::always_inline]] void AddToState(const F* sums, const Edge& edge, float* row) const {
    const F end = V::Set(start_[head_.tokens - 1]);
    Unroll<Tile::kVectors>([&](auto v) { edge.Store(row, v, V::MulAdd(end, edge.Load(row, v), sums[v])); });
  }

  // A row of a tile in memory, whole or only its first `count` columns.
  struct WholeEdge {
    F Load(const float* row, size_t v) const { return V::Load(row + v * V::kWidth); }
    void Store(float* row, size_t v, F x) const { V::Store(row + v * V::kWidth, x); }
  };
  struct RaggedEdge {
    size_t count;
    size_t Left(size_t v) const { return count > v * V::kWidth ? count - v * V::kWidth : 0; }
    F Load(const float* row, size_t v) const { return LoadUpTo<V>(row + v * V::kWidth, Left(v)); }
    void Store(float* row, size_t v, F x) const { StoreUpTo<V>(row + v * V::kWidth, x, Left(v)); }
  };

  const DeltaHead& head_;
  size_t tokens_;   // those of the head, up to a whole number of panels
  size_t weighed_;  // the same, up to a whole number of tiles
  size_t depth_;    // key_size, up to a whole number of steps of a product
  float* panels_;   // [tokens_ / kTokens][depth_][kRows]
  float* weights_;  // [tokens_ / kTokens][weighed_][kRows]
  float* keys_;     // [key_size / kColumns, rounded up][tokens_][kColumns]
  float* state_;    // [depth_][kColumns]
  float* news_;     // [tokens_][kColumns], N
  float start_[kDeltaChunk];
};

template <class Isa>
void FloatKernels<Isa>::DeltaChunk(const DeltaHead& head, float* scratch) {
  DeltaChunkPass<Vector<Isa>>(head, scratch).Run();
}

}  // namespace thimble
