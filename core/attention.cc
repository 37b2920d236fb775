// SPDX-License-Identifier: Apache-2.0
//
// Softmax attention of some tokens over the cache, portable, for all query heads that share a key/value head. Rows are
// read where they lie, a tile at a time and once for all tokens; the softmax is kept as a running maximum and sum, so
// no buffer grows with the context. Tiles begin at multiples of their size, whatever a token's window: what a token
// gets depends on its own rows only.
#include <cmath>
#include <limits>

#include "core/math.h"
#include "core/portable.h"
#include "quant/lanes.h"

namespace thimble {
namespace {

// The softmax of one query so far.
struct Query {
  size_t token;
  const float* q;
  const float* sink_q;
  float* out;     // sum of weighted rows, to be divided by total
  float* scores;  // [kAttentionTile], then weights
  float* maximum;
  float* total;
};

class AttentionPass {
 public:
  AttentionPass(const AttentionHead& head, float* scratch)
      : head_(head),
        scale_(1.0f / std::sqrt(static_cast<float>(head.head_dim))),
        row_(scratch),
        scores_(row_ + head.head_dim),
        maximum_(scores_ + count() * kAttentionTile),
        total_(maximum_ + count()) {}

  void Run() {
    const size_t d = head_.head_dim;
    for (size_t i = 0; i < count(); ++i) {
      const Query query = At(i);
      *query.maximum = -std::numeric_limits<float>::infinity();
      *query.total = 0.0f;
      for (size_t j = 0; j < d; ++j) query.out[j] = 0.0f;
    }
    const size_t rows = head_.rows + head_.tokens - 1;
    for (size_t begin = 0; begin < rows; begin += kAttentionTile) {
      begin = head_.Seen(begin) / kAttentionTile * kAttentionTile;
      Attend(begin, rows - begin < kAttentionTile ? rows : begin + kAttentionTile);
    }
    for (size_t i = 0; i < count(); ++i) {
      const Query query = At(i);
      const float inverse = 1.0f / *query.total;
      for (size_t j = 0; j < d; ++j) query.out[j] *= inverse;
    }
  }

 private:
  size_t count() const { return head_.tokens * head_.group; }

  Query At(size_t i) const {
    const size_t t = i / head_.group;
    const size_t h = i % head_.group;
    return {t,
            head_.q + t * head_.q_token_stride + h * head_.q_stride,
            head_.ring.sinks == 0 ? nullptr : head_.sink_q + t * head_.sink_q_token_stride + h * head_.sink_q_stride,
            head_.out + t * head_.out_token_stride + h * head_.out_stride,
            scores_ + i * kAttentionTile,
            maximum_ + i,
            total_ + i};
  }

  // The rows [begin, end) of a tile.
  void Attend(size_t begin, size_t end) const {
    const size_t d = head_.head_dim;
    if (head_.Skips(head_.tokens - 1, begin)) {
      for (size_t i = 0; i < count() * kAttentionTile; ++i) scores_[i] = -std::numeric_limits<float>::infinity();
    }
    ForRows(head_.k, begin, end, [&](size_t r, const Query& query) {
      const float* q = r < head_.ring.sinks ? query.sink_q : query.q;
      query.scores[r - begin] = DotF32(q, row_, d) * scale_;
    });
    for (size_t i = 0; i < count(); ++i) {
      const Query query = At(i);
      if (!head_.Reads(query.token, begin, end)) continue;
      const size_t last = head_.rows + query.token;
      Soften(query, (last < end ? last : end) - begin);
    }
    ForRows(head_.v, begin, end, [&](size_t r, const Query& query) {
      for (size_t j = 0; j < d; ++j) query.out[j] += query.scores[r - begin] * row_[j];
    });
  }

  // body(r, query) for all rows [begin, end) and the queries that read them, with the row decoded.
  template <class Body>
  void ForRows(const CacheRows& cache, size_t begin, size_t end, const Body& body) const {
    for (size_t r = head_.Seen(begin); r < end; r = head_.Seen(r + 1)) {
      cache.format->decode(cache.Row(head_.ring.Slot(r)), head_.head_dim / cache.format->block_size, row_);
      for (size_t i = 0; i < count(); ++i) {
        const Query query = At(i);
        const AttentionHead::Rows seen = head_.RowsOf(query.token, r, r + 1);
        if (seen.first < seen.last) body(r, query);
      }
    }
  }

  // Scores of n rows become weights e^(score - maximum); what was added up before is scaled to the new maximum.
  void Soften(const Query& query, size_t n) const {
    float top = *query.maximum;
    for (size_t r = 0; r < n; ++r) top = query.scores[r] > top ? query.scores[r] : top;
    const float rescale = Exp(*query.maximum - top);
    *query.maximum = top;
    *query.total *= rescale;
    for (size_t i = 0; i < head_.head_dim; ++i) query.out[i] *= rescale;
    for (size_t r = 0; r < n; ++r) {
      query.scores[r] = Exp(query.scores[r] - top);
      *query.total += query.scores[r];
    }
  }

  const AttentionHead& head_;
  const float scale_;
  float* row_;      // [head_dim], one decoded key or value
  float* scores_;   // [count()][kAttentionTile]
  float* maximum_;  // [count()]
  float* total_;    // [count()]
};

}  // namespace

void PortableAttend(const AttentionHead& head, float* scratch) { AttentionPass(head, scratch).Run(); }

}  // namespace thimble
