// SPDX-License-Identifier: Apache-2.0
//
// Dot products of rows, read as they lie in memory, with a few float vectors: what a product of weights and the scores
// of attention share.
#pragma once

#include "arm/float_vector.h"

namespace thimble {

/// y[c * y_stride + r] = row r times vector c, for kRows rows (1 or 4) that begin row_stride bytes apart and kColumns
/// vectors x + c * x_stride, each of n values.
template <class V, class Element, size_t kRows, size_t kColumns>
void Dot(const std::byte* rows, size_t row_stride, const float* x, size_t x_stride, size_t n, float* y,
         size_t y_stride) {
  using F = typename V::F;
  // Few sums are halved, lest each wait for the one before.
  constexpr size_t kSplit = kColumns == 1 ? 2 : 1;
  F sums[kColumns][kRows][kSplit];
  Unroll<kColumns * kRows * kSplit>(
      [&](auto i) { sums[i / kSplit / kRows][i / kSplit % kRows][i % kSplit] = V::Set(0.0f); });
  size_t i = 0;
  for (; i + 2 * V::kWidth <= n; i += 2 * V::kWidth) {
    F vectors[kColumns][2];
    Unroll<kColumns>([&](auto c) { V::LoadPair(ElementF32(), x + c * x_stride + i, vectors[c]); });
    Unroll<kRows>([&](auto r) {
      F row[2];
      V::LoadPair(Element(), rows + r * row_stride + i * Element::kBytes, row);
      Unroll<kColumns>([&](auto c) {
        sums[c][r][0] = V::MulAdd(row[0], vectors[c][0], sums[c][r][0]);
        sums[c][r][kSplit - 1] = V::MulAdd(row[1], vectors[c][1], sums[c][r][kSplit - 1]);
      });
    });
  }
  for (; i < n; i += V::kWidth) {
    const size_t count = n - i < V::kWidth ? n - i : V::kWidth;
    Unroll<kRows>([&](auto r) {
      const F row = LoadElements<V, Element>(rows + r * row_stride + i * Element::kBytes, count);
      Unroll<kColumns>(
          [&](auto c) { sums[c][r][0] = V::MulAdd(row, LoadUpTo<V>(x + c * x_stride + i, count), sums[c][r][0]); });
    });
  }
  if constexpr (kSplit == 2) Unroll<kRows>([&](auto r) { sums[0][r][0] = sums[0][r][0] + sums[0][r][1]; });
  Unroll<kColumns>([&](auto c) {
    if constexpr (kRows == 4) {
      V::Sum4(sums[c][0][0], sums[c][1][0], sums[c][2][0], sums[c][3][0], y + c * y_stride);
    } else {
      y[c * y_stride] = V::Sum(sums[c][0][0]);
    }
  });
}

/// The same for any number of vectors.
template <class V, class Element, size_t kRows>
void DotAll(const std::byte* rows, size_t row_stride, const float* x, size_t x_stride, size_t columns, size_t n,
            float* y, size_t y_stride) {
  size_t c = 0;
  for (; c + V::kDotColumns <= columns; c += V::kDotColumns) {
    Dot<V, Element, kRows, V::kDotColumns>(rows, row_stride, x + c * x_stride, x_stride, n, y + c * y_stride, y_stride);
  }
  const size_t left = columns - c;
  Unroll<V::kDotColumns - 1>([&](auto index) {
    constexpr size_t kColumns = index + 1;
    if (left == kColumns) {
      Dot<V, Element, kRows, kColumns>(rows, row_stride, x + c * x_stride, x_stride, n, y + c * y_stride, y_stride);
    }
  });
}

}  // namespace thimble
