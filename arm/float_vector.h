// SPDX-License-Identifier: Apache-2.0
//
// What the float kernels are written in: vectors of an instruction set, sweeps over arrays, the exponential function.
// Each float_<isa>.cc defines Vector<Isa> with its instructions and includes the kernels, which are templates over it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "arm/isa.h"

namespace thimble {

/// The vectors of an instruction set. `F` holds kWidth floats and has the operators + - * /. A tile of sums that stays
/// in registers has kTileRows rows (4 or 8) of kTileVectors vectors. kDotColumns vectors are multiplied with four rows
/// at a time.
template <class Isa>
struct Vector;

/// The elements of a row that is read as it lies, by their bits.
struct ElementF32 {
  static constexpr size_t kBytes = 4;
};
struct ElementF16 {
  static constexpr size_t kBytes = 2;
};
struct ElementBF16 {
  static constexpr size_t kBytes = 2;
};
struct ElementI16 {
  static constexpr size_t kBytes = 2;
};

template <size_t kValue>
struct Index {
  constexpr operator size_t() const { return kValue; }  // NOLINT(google-explicit-constructor): it stands for a number
};

/// body(Index<0>()), ..., body(Index<kCount - 1>()): a loop over registers.
template <size_t kCount, class Body>
[[gnu::always_inline]] inline void Unroll(const Body& body) {
  if constexpr (kCount > 0) {
    Unroll<kCount - 1>(body);
    body(Index<kCount - 1>());
  }
}

/// How a sweep reads and writes: whole vectors, and at the end the first `count` floats of one, the others being 0.
template <class V>
struct WholeVector {
  [[gnu::always_inline]] typename V::F Load(const float* p) const { return V::Load(p); }
  [[gnu::always_inline]] void Store(float* p, typename V::F x) const { V::Store(p, x); }
};
template <class V>
struct PartVector {
  size_t count;
  [[gnu::always_inline]] typename V::F Load(const float* p) const { return V::LoadPart(p, count); }
  [[gnu::always_inline]] void Store(float* p, typename V::F x) const { V::StorePart(p, x, count); }
};

/// body(i, part, Index<j>()) for the vectors that begin at i; j counts up to kTogether, so that a body can keep several
/// sums. Bodies of one group are independent of each other as far as a processor can see.
template <class V, size_t kTogether = 1, class Body>
[[gnu::always_inline]] inline void Sweep(size_t n, const Body& body) {
  constexpr size_t kStep = kTogether * V::kWidth;
  size_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    Unroll<kTogether>([&](auto j) { body(i + j * V::kWidth, WholeVector<V>{}, j); });
  }
  if constexpr (kTogether > 1) {
    for (; i + V::kWidth <= n; i += V::kWidth) body(i, WholeVector<V>{}, Index<0>());
  }
  if (i < n) body(i, PartVector<V>{n - i}, Index<0>());
}

/// Sum of x[i]^2.
template <class V>
float SquareSum(const float* x, size_t n) {
  typename V::F sums[4] = {V::Set(0.0f), V::Set(0.0f), V::Set(0.0f), V::Set(0.0f)};
  Sweep<V, 4>(n, [&](size_t i, auto part, auto j) {
    const typename V::F value = part.Load(x + i);
    sums[j] = V::MulAdd(value, value, sums[j]);
  });
  return V::Sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/// e^x to about 1 unit in the last place; 0 below -87.7, infinity above 88.4; NaN of NaN.
template <class V>
[[gnu::always_inline]] inline typename V::F Exp(typename V::F x) {
  using F = typename V::F;
  const F bounded = V::Max(V::Set(-88.0f), V::Min(V::Set(89.0f), x));
  // 1.5 * 2^23, which leaves the nearest integer in the low bits, plus the bias of an exponent.
  const F round = V::Set(12582912.0f + 127.0f);
  const F shifted = V::MulAdd(bounded, V::Set(1.44269504f), round);
  const F n = shifted - round;
  const F r = V::MulSub(n, V::Set(-2.12194440e-4f), V::MulSub(n, V::Set(0.693359375f), bounded));  // x - n ln 2
  const F r2 = r * r;
  const F low = V::MulAdd(r, V::Set(0.166665211f), V::Set(0.49999994f));
  const F high = V::MulAdd(r2, V::Set(1.38145406e-3f), V::MulAdd(r, V::Set(8.36874545e-3f), V::Set(4.1668389e-2f)));
  const F p = V::MulAdd(r2, V::MulAdd(r2, high, low), r) + V::Set(1.0f);  // e^r
  return p * V::ExponentFromLowBits(shifted);  // times 2^n, from 0 (n = -127) to infinity (n = 128)
}

/// 1 / (1 + e^-x), about 2 units in the last place.
template <class V>
[[gnu::always_inline]] inline typename V::F Sigmoid(typename V::F x) {
  return V::Inverse(V::Set(1.0f) + Exp<V>(-x));
}

/// Up to kWidth floats of `n` in one vector, 0 behind them.
template <class V>
[[gnu::always_inline]] inline typename V::F LoadUpTo(const float* values, size_t n) {
  return n >= V::kWidth ? V::Load(values) : V::LoadPart(values, n);
}
template <class V>
[[gnu::always_inline]] inline void StoreUpTo(float* values, typename V::F x, size_t n) {
  n >= V::kWidth ? V::Store(values, x) : V::StorePart(values, x, n);
}

/// `n` elements as floats, in one vector as above.
template <class V, class Element>
[[gnu::always_inline]] inline typename V::F LoadElements(const std::byte* elements, size_t n) {
  if (n >= V::kWidth) return V::Load(Element(), elements);
  alignas(float) std::byte padded[V::kWidth * Element::kBytes] = {};
  for (size_t i = 0; i < n * Element::kBytes; ++i) padded[i] = elements[i];
  return V::Load(Element(), padded);
}

}  // namespace thimble
