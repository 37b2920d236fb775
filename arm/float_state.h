// SPDX-License-Identifier: Apache-2.0
//
// Rows of a DeltaNet state between 16 bits, as they are kept, and floats, as the delta rule reads them. It must give
// the bits of the portable functions: every step here rounds as one of theirs.
#pragma once

#include "arm/float_kernels.h"
#include "arm/float_vector.h"

namespace thimble {

template <class Isa>
void FloatKernels<Isa>::WidenState(const StateRows& state, float* rows) {
  using V = Vector<Isa>;
  using F = typename V::F;
  constexpr size_t kPair = 2 * V::kWidth;
  const size_t n = state.row_size;
  for (size_t r = 0; r < state.rows; ++r) {
    const auto* codes = reinterpret_cast<const std::byte*>(state.codes + r * n);
    float* row = rows + r * n;
    const F scale = V::Set(state.scales[r]);
    size_t i = 0;
    for (; i + kPair <= n; i += kPair) {
      F pair[2];
      V::LoadPair(ElementI16(), codes + 2 * i, pair);
      V::Store(row + i, pair[0] * scale);
      V::Store(row + i + V::kWidth, pair[1] * scale);
    }
    Sweep<V>(n - i, [&](size_t j, auto part, auto) {
      part.Store(row + i + j, LoadElements<V, ElementI16>(codes + 2 * (i + j), n - i - j) * scale);
    });
  }
}

/// The largest magnitude of n floats; NaN if one is.
template <class V>
float LargestMagnitude(const float* x, size_t n) {
  constexpr size_t kBlock = 32;  // of V::Magnitude
  float top = 0.0f;
  for (; n >= kBlock; n -= kBlock, x += kBlock) {
    const float magnitude = V::Magnitude(x);
    top = magnitude <= top || top != top ? top : magnitude;
  }
  if (n == 0) return top;
  float padded[kBlock] = {};
  for (size_t i = 0; i < n; ++i) padded[i] = x[i];
  const float magnitude = V::Magnitude(padded);
  return magnitude <= top || top != top ? top : magnitude;
}

template <class Isa>
void FloatKernels<Isa>::RoundState(const float* rows, const StateRows& state) {
  using V = Vector<Isa>;
  using F = typename V::F;
  constexpr size_t kPair = 2 * V::kWidth;
  const size_t n = state.row_size;
  for (size_t r = 0; r < state.rows; ++r) {
    const float* row = rows + r * n;
    int16_t* codes = state.codes + r * n;
    const float top = LargestMagnitude<V>(row, n);
    if (!(top <= __FLT_MAX__) || top < StateRows::kFloor) {
      state.scales[r] = top < StateRows::kFloor ? 0.0f : __builtin_nanf("");
      for (size_t i = 0; i < n; ++i) codes[i] = 0;
      continue;
    }
    state.scales[r] = top / 32767.0f;
    const F inverse = V::Set(32767.0f / top);
    size_t i = 0;
    for (; i + kPair <= n; i += kPair) {
      const F pair[2] = {V::Load(row + i) * inverse, V::Load(row + i + V::kWidth) * inverse};
      V::StoreRounded(pair, codes + i);
    }
    if (i == n) continue;
    int16_t whole[kPair];
    const F pair[2] = {
        LoadUpTo<V>(row + i, n - i) * inverse,
        n - i > V::kWidth ? V::LoadPart(row + i + V::kWidth, n - i - V::kWidth) * inverse : V::Set(0.0f)};
    V::StoreRounded(pair, whole);
    for (size_t j = i; j < n; ++j) codes[j] = whole[j - i];
  }
}

}  // namespace thimble
