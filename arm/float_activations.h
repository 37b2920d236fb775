// SPDX-License-Identifier: Apache-2.0
//
// The element-wise float kernels: norms, gates, the short convolution, and the rounding of activations to 8 bits.
#pragma once

#include "arm/float_kernels.h"
#include "arm/float_vector.h"
#include "arm/rounding.h"

namespace thimble {

template <class Isa>
void FloatKernels<Isa>::Quantise(const Activations& a, size_t t) {
  RoundToken<Vector<Isa>>(a, t);
}

template <class Isa>
void FloatKernels<Isa>::RmsNorm(const float* x, const float* weight, size_t n, float epsilon, float* y) {
  using V = Vector<Isa>;
  const float scale = 1.0f / __builtin_sqrtf(SquareSum<V>(x, n) / static_cast<float>(n) + epsilon);
  const typename V::F scales = V::Set(scale);
  Sweep<V, 2>(n,
              [&](size_t i, auto part, auto) { part.Store(y + i, part.Load(x + i) * scales * part.Load(weight + i)); });
}

template <class Isa>
void FloatKernels<Isa>::Swiglu(float* gate, const float* __restrict up, size_t n) {
  using V = Vector<Isa>;
  Sweep<V, 2>(n, [&](size_t i, auto part, auto) {
    const typename V::F x = part.Load(gate + i);
    part.Store(gate + i, x * Sigmoid<V>(x) * part.Load(up + i));
  });
}

template <class Isa>
void FloatKernels<Isa>::SigmoidGate(float* x, const float* __restrict gate, size_t n) {
  using V = Vector<Isa>;
  Sweep<V, 2>(
      n, [&](size_t i, auto part, auto) { part.Store(x + i, part.Load(x + i) * Sigmoid<V>(part.Load(gate + i))); });
}

template <class Isa>
void FloatKernels<Isa>::L2Norm(float* x, size_t n, float scale) {
  using V = Vector<Isa>;
  const typename V::F inverse = V::Set(scale / __builtin_sqrtf(SquareSum<V>(x, n) + kL2NormEpsilon));
  Sweep<V, 2>(n, [&](size_t i, auto part, auto) { part.Store(x + i, part.Load(x + i) * inverse); });
}

/// The convolution of some channels, side by side in kVectors vectors, with kTaps taps.
template <class V, size_t kVectors, size_t kTaps>
struct ChannelGroup {
  using F = typename V::F;
  static constexpr size_t kChannels = kVectors * V::kWidth;
  static constexpr size_t kHistory = kTaps - 1;

  alignas(64) float tap[kTaps][kChannels];

  // w is [count][kTaps].
  ChannelGroup(size_t count, const float* w) {
    size_t c = 0;
    if constexpr (kTaps == 4) {
      for (; c + 4 <= count; c += 4) {
        const float* const rows[4] = {w + c * 4, w + c * 4 + 4, w + c * 4 + 8, w + c * 4 + 12};
        V::Transpose(rows, 0, &tap[0][c], kChannels);
      }
    }
    for (; c < count; ++c) {
      for (size_t j = 0; j < kTaps; ++j) tap[j][c] = w[c * kTaps + j];
    }
  }

  // Tokens go from the last to the first, so that each finds the inputs before it untouched.
  template <class Access>
  void Run(const Access& part, float* u, size_t tokens, size_t channels, float* tail) const {
    const auto input = [&](size_t t) {  // kHistory before the first token
      return t < kHistory ? tail + t * channels : u + (t - kHistory) * channels;
    };
    F last[kHistory][kVectors];
    Unroll<kHistory>([&](auto j) {
      const float* from = input(tokens + j);
      Unroll<kVectors>([&](auto v) { last[j][v] = part.Load(from + v * V::kWidth); });
    });
    for (size_t t = tokens; t-- > 0;) {
      float* to = u + t * channels;
      F sum[kVectors];
      Unroll<kVectors>(
          [&](auto v) { sum[v] = part.Load(to + v * V::kWidth) * V::Load(&tap[kHistory][v * V::kWidth]); });
      Unroll<kHistory>([&](auto j) {
        const float* from = input(t + j);
        Unroll<kVectors>([&](auto v) {
          sum[v] = V::MulAdd(part.Load(from + v * V::kWidth), V::Load(&tap[j][v * V::kWidth]), sum[v]);
        });
      });
      Unroll<kVectors>([&](auto v) { part.Store(to + v * V::kWidth, sum[v] * Sigmoid<V>(sum[v])); });
    }
    Unroll<kHistory>([&](auto j) {
      Unroll<kVectors>([&](auto v) { part.Store(tail + j * channels + v * V::kWidth, last[j][v]); });
    });
  }
};

template <class V, size_t kTaps>
void Convolve(float* u, size_t tokens, size_t channels, size_t begin, size_t end, const float* w, float* tail) {
  constexpr size_t kVectors = 16 / V::kWidth;  // a cache line of each token
  size_t c = begin;
  for (; c + 16 <= end; c += 16) {
    const ChannelGroup<V, kVectors, kTaps> group(16, w + c * kTaps);
    group.Run(WholeVector<V>{}, u + c, tokens, channels, tail + c);
  }
  for (; c < end; c += V::kWidth) {
    const size_t count = end - c < V::kWidth ? end - c : V::kWidth;
    const ChannelGroup<V, 1, kTaps> group(count, w + c * kTaps);
    group.Run(PartVector<V>{count}, u + c, tokens, channels, tail + c);
  }
}

template <class Isa>
void FloatKernels<Isa>::ConvSilu(float* u, size_t tokens, size_t channels, size_t begin, size_t end, const float* w,
                                 size_t taps, float* tail) {
  Unroll<Config::kMaxTaps - 1>([&](auto history) {
    if (taps == history + 2) Convolve<Vector<Isa>, history + 2>(u, tokens, channels, begin, end, w, tail);
  });
}

}  // namespace thimble
