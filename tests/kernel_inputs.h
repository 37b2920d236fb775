// SPDX-License-Identifier: Apache-2.0
//
// What the tests of kernels share: random numbers, the loop over the tables that this processor can run, the distance
// of two results, and a head of a DeltaNet layer with its data. It must not judge any kernel.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "arm/kernel_tables.h"
#include "core/kernels.h"

namespace thimble {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
inline constexpr double kEpsilon = 0x1p-24;  // half a unit in the last place of 1
inline constexpr double kTiny = 0x1p-126;    // where denormals begin
inline constexpr float kGuard = -12345.0f;   // stands where nothing may be written

template <class Body>
void ForEachTable(const Body& body) {
  const Cpu cpu = DescribeCpu();
  for (const KernelTable& table : KernelTables()) {
    if (!(cpu.*table.needs)) continue;
    CAPTURE(std::string(table.kernels->name));
    body(*table.kernels);
  }
}

class Random {
 public:
  explicit Random(unsigned seed) : generator_(seed) {}
  float operator()(double low, double high) {
    return static_cast<float>(std::uniform_real_distribution<double>(low, high)(generator_));
  }
  std::vector<float> Vector(size_t n, double low, double high) {
    std::vector<float> v(n);
    for (float& x : v) x = (*this)(low, high);
    return v;
  }

 private:
  std::mt19937 generator_;
};

inline double Wide(float x) { return static_cast<double>(x); }

// The largest |a - b| / (relative |b| + absolute); 2 and more where only one of them is finite.
inline double Distance(const std::vector<float>& a, const std::vector<float>& b, double relative, double absolute) {
  REQUIRE(a.size() == b.size());
  double worst = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (a[i] == b[i]) continue;
    const double distance = std::fabs(Wide(a[i]) - Wide(b[i])) / (relative * std::fabs(Wide(b[i])) + absolute);
    worst = std::isfinite(distance) ? std::max(worst, distance) : 1e30;
  }
  return worst;
}

inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](float x, float y) { return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y); });
}

// One head of a DeltaNet layer with its data: tokens lie `stride` apart, as they do in a layer.
struct Delta {
  size_t n, dk, dv, stride, out_stride, gate_stride = 3;
  std::vector<float> qkv, gates, state, out;

  Delta(size_t tokens, size_t key_size, size_t value_size, double decay, unsigned seed)
      : n(tokens), dk(key_size), dv(value_size), stride(2 * key_size + value_size + 5), out_stride(value_size + 3) {
    Random random(seed);
    qkv = random.Vector(n * stride, -1, 1);
    gates = random.Vector(2 * n * gate_stride, 0, 1);
    for (size_t t = 0; t < n; ++t) {
      gates[t * gate_stride] *= static_cast<float>(-decay);
      for (size_t part = 0; part < 2; ++part) {  // unit queries and keys
        float* x = &qkv[t * stride + part * dk];
        double length = 0.0;
        for (size_t i = 0; i < dk; ++i) length += Wide(x[i]) * Wide(x[i]);
        for (size_t i = 0; i < dk; ++i) x[i] = static_cast<float>(Wide(x[i]) / std::sqrt(length));
      }
    }
    state = random.Vector(dk * dv, -0.5, 0.5);
    out.assign(n * out_stride, kGuard);
  }

  DeltaHead Head(size_t begin, size_t count) {
    DeltaHead head{.tokens = count,
                   .key_size = dk,
                   .value_size = dv,
                   .q = qkv.data(),
                   .k = qkv.data() + dk,
                   .v = qkv.data() + 2 * dk,
                   .stride = stride,
                   .log_decay = gates.data(),
                   .beta = gates.data() + n * gate_stride,
                   .gate_stride = gate_stride,
                   .state = state.data(),
                   .out = out.data(),
                   .out_stride = out_stride};
    head.Advance(begin);
    return head;
  }

  // The recurrence in double precision, S[i][j] with i over keys and j over values.
  void Reference(std::vector<double>* outs, std::vector<double>* end_state) const {
    std::vector<double> s(dk * dv);
    for (size_t i = 0; i < dk; ++i) {
      for (size_t j = 0; j < dv; ++j) s[i * dv + j] = Wide(state[j * dk + i]);
    }
    outs->assign(out.begin(), out.end());
    for (size_t t = 0; t < n; ++t) {
      const float* q = &qkv[t * stride];
      const float* k = q + dk;
      const float* v = k + dk;
      const double decay = std::exp(Wide(gates[t * gate_stride]));
      const double beta = Wide(gates[(n + t) * gate_stride]);
      for (double& x : s) x *= decay;
      for (size_t j = 0; j < dv; ++j) {
        double m = 0.0;
        for (size_t i = 0; i < dk; ++i) m += s[i * dv + j] * Wide(k[i]);
        const double delta = beta * (Wide(v[j]) - m);
        double o = 0.0;
        for (size_t i = 0; i < dk; ++i) {
          s[i * dv + j] += Wide(k[i]) * delta;
          o += s[i * dv + j] * Wide(q[i]);
        }
        (*outs)[t * out_stride + j] = o;
      }
    }
    end_state->assign(dk * dv, 0.0);
    for (size_t i = 0; i < dk; ++i) {
      for (size_t j = 0; j < dv; ++j) (*end_state)[j * dk + i] = s[i * dv + j];
    }
  }

  // The length of the longest row of the state, and of what is added to it: no product with a unit vector is larger.
  double Length() const {
    double longest = 0.0;
    for (size_t j = 0; j < dv; ++j) {
      double length = 0.0;
      for (size_t i = 0; i < dk; ++i) length += Wide(state[j * dk + i]) * Wide(state[j * dk + i]);
      longest = std::max(longest, std::sqrt(length));
    }
    return longest + 1.0;
  }
};

}  // namespace thimble
