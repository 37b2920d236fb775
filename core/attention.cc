// SPDX-License-Identifier: Apache-2.0
//
// Softmax attention of one token over the cache, portable, for all query heads that share a key/value head. Rows are
// read where they lie, a tile at a time; the softmax is kept as a running maximum and sum, so no buffer grows with the
// context.
#include <cmath>
#include <limits>

#include "core/math.h"
#include "core/portable.h"
#include "quant/lanes.h"

namespace thimble {

void PortableAttend(const AttentionHead& head, float* scratch) {
  const size_t d = head.head_dim;
  const size_t blocks = d / head.format->block_size;
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  float* row = scratch;                                     // [d], one decoded key or value
  float* scores = row + d;                                  // [queries][kAttentionTile]
  float* maximum = scores + head.queries * kAttentionTile;  // [queries]
  float* total = maximum + head.queries;                    // [queries]

  for (size_t h = 0; h < head.queries; ++h) {
    maximum[h] = -std::numeric_limits<float>::infinity();
    total[h] = 0.0f;
    for (size_t i = 0; i < d; ++i) head.out[h * head.out_stride + i] = 0.0f;
  }
  for (size_t begin = 0; begin < head.rows; begin += kAttentionTile) {
    const size_t n = head.rows - begin < kAttentionTile ? head.rows - begin : kAttentionTile;
    for (size_t r = 0; r < n; ++r) {
      head.format->decode(head.k + (begin + r) * head.row_stride, blocks, row);
      for (size_t h = 0; h < head.queries; ++h) {
        scores[h * kAttentionTile + r] = DotF32(head.q + h * head.q_stride, row, d) * scale;
      }
    }
    for (size_t h = 0; h < head.queries; ++h) {
      float* score = scores + h * kAttentionTile;
      float top = maximum[h];
      for (size_t r = 0; r < n; ++r) top = score[r] > top ? score[r] : top;
      const float rescale = Exp(maximum[h] - top);
      maximum[h] = top;
      total[h] *= rescale;
      for (size_t i = 0; i < d; ++i) head.out[h * head.out_stride + i] *= rescale;
      for (size_t r = 0; r < n; ++r) {
        score[r] = Exp(score[r] - top);
        total[h] += score[r];
      }
    }
    for (size_t r = 0; r < n; ++r) {
      head.format->decode(head.v + (begin + r) * head.row_stride, blocks, row);
      for (size_t h = 0; h < head.queries; ++h) {
        const float p = scores[h * kAttentionTile + r];
        for (size_t i = 0; i < d; ++i) head.out[h * head.out_stride + i] += p * row[i];
      }
    }
  }
  for (size_t h = 0; h < head.queries; ++h) {
    const float inverse = 1.0f / total[h];
    for (size_t i = 0; i < d; ++i) head.out[h * head.out_stride + i] *= inverse;
  }
}

}  // namespace thimble
