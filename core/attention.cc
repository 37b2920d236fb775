// SPDX-License-Identifier: Apache-2.0
//
// Softmax attention of some tokens over the cache, portable, for all query heads that share a key/value head. Rows are
// read where they lie, a tile at a time and once for all tokens; the softmax is kept as a running maximum and sum, so
// no buffer grows with the context.
#include <cmath>
#include <limits>

#include "core/math.h"
#include "core/portable.h"
#include "quant/lanes.h"

namespace thimble {
namespace {

// The softmax of one query so far.
struct Query {
  const float* q;
  float* out;     // sum of weighted rows, to be divided by total
  float* scores;  // [kAttentionTile], then weights
  float* maximum;
  float* total;
  size_t rows;  // that it attends to
};

class Queries {
 public:
  Queries(const AttentionHead& head, float* scratch)
      : head_(head), scores_(scratch), maximum_(scores_ + count() * kAttentionTile), total_(maximum_ + count()) {}

  size_t count() const { return head_.tokens * head_.group; }
  Query operator[](size_t i) const {
    const size_t t = i / head_.group;
    const size_t h = i % head_.group;
    return {head_.q + t * head_.q_token_stride + h * head_.q_stride,
            head_.out + t * head_.out_token_stride + h * head_.out_stride,
            scores_ + i * kAttentionTile,
            maximum_ + i,
            total_ + i,
            head_.rows + t};
  }
  // The first query that attends to row r; all behind it do too.
  size_t First(size_t r) const { return r < head_.rows ? 0 : (r + 1 - head_.rows) * head_.group; }

 private:
  const AttentionHead& head_;
  float* scores_;   // [count()][kAttentionTile]
  float* maximum_;  // [count()]
  float* total_;    // [count()]
};

// Scores of n rows become weights e^(score - maximum); what was added up before is scaled to the new maximum.
void Soften(const Query& query, size_t n, size_t d) {
  float top = *query.maximum;
  for (size_t r = 0; r < n; ++r) top = query.scores[r] > top ? query.scores[r] : top;
  const float rescale = Exp(*query.maximum - top);
  *query.maximum = top;
  *query.total *= rescale;
  for (size_t i = 0; i < d; ++i) query.out[i] *= rescale;
  for (size_t r = 0; r < n; ++r) {
    query.scores[r] = Exp(query.scores[r] - top);
    *query.total += query.scores[r];
  }
}

}  // namespace

void PortableAttend(const AttentionHead& head, float* scratch) {
  const size_t d = head.head_dim;
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  const size_t rows = head.rows + head.tokens - 1;
  float* row = scratch;  // [d], one decoded key or value
  const Queries queries(head, row + d);

  for (size_t i = 0; i < queries.count(); ++i) {
    *queries[i].maximum = -std::numeric_limits<float>::infinity();
    *queries[i].total = 0.0f;
    for (size_t j = 0; j < d; ++j) queries[i].out[j] = 0.0f;
  }
  for (size_t begin = 0; begin < rows; begin += kAttentionTile) {
    const size_t end = rows - begin < kAttentionTile ? rows : begin + kAttentionTile;
    for (size_t r = begin; r < end; ++r) {
      head.k.format->decode(head.k.Row(r), d / head.k.format->block_size, row);
      for (size_t i = queries.First(r); i < queries.count(); ++i) {
        queries[i].scores[r - begin] = DotF32(queries[i].q, row, d) * scale;
      }
    }
    for (size_t i = queries.First(begin); i < queries.count(); ++i) {
      Soften(queries[i], (queries[i].rows < end ? queries[i].rows : end) - begin, d);
    }
    for (size_t r = begin; r < end; ++r) {
      head.v.format->decode(head.v.Row(r), d / head.v.format->block_size, row);
      for (size_t i = queries.First(r); i < queries.count(); ++i) {
        const Query query = queries[i];
        for (size_t j = 0; j < d; ++j) query.out[j] += query.scores[r - begin] * row[j];
      }
    }
  }
  for (size_t i = 0; i < queries.count(); ++i) {
    const float inverse = 1.0f / *queries[i].total;
    for (size_t j = 0; j < d; ++j) queries[i].out[j] *= inverse;
  }
}

}  // namespace thimble
