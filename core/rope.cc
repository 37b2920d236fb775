// SPDX-License-Identifier: Apache-2.0
//
// See rope.h; the formulas and their sources stand in MODEL.md.
#include "core/rope.h"

#include "core/math.h"

namespace thimble {
namespace {

constexpr double kTwoPi = 6.28318530717958647693;
constexpr double kTurnsPerRadian = 18446744073709551616.0 / kTwoPi;  // in 2^-64 turns

// The pair that turns `rotations` times within the original context: YaRN's correction dimension.
double CorrectionPair(const RopeConfig& rope, double log_base, float rotations) {
  const double context = rope.original_context_length;
  return rope.dimension_count * LogDouble(context / (kTwoPi * static_cast<double>(rotations))) / (2.0 * log_base);
}

double Floor(double x) {
  const double whole = static_cast<int32_t>(x);
  return whole > x ? whole - 1.0 : whole;
}

double Clamp(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

// Interleaved M-RoPE: pairs take turns t, h, w while the sections of h and w last; the rest are t.
int64_t AxisOf(const RopeConfig& rope, size_t pair, const Position& position) {
  if (pair % 3 == 1 && pair < 3 * size_t{rope.dimension_sections[1]}) return position.h;
  if (pair % 3 == 2 && pair < 3 * size_t{rope.dimension_sections[2]}) return position.w;
  return position.t;
}

}  // namespace

float RopeFrequencies(const RopeConfig& rope, uint64_t* frequencies) {
  const size_t pairs = rope.dimension_count / 2;
  const double log_base = LogDouble(static_cast<double>(rope.freq_base));
  const bool yarn = rope.scaling_factor > 1.0f;
  double low = 0.0;
  double high = 0.0;
  if (yarn) {
    const double last = static_cast<double>(rope.dimension_count) - 1.0;
    low = Clamp(Floor(CorrectionPair(rope, log_base, rope.yarn_beta_fast)), 0.0, last);
    high = Clamp(-Floor(-CorrectionPair(rope, log_base, rope.yarn_beta_slow)), 0.0, last);
    if (high - low < 0.001) high = low + 0.001;
  }
  for (size_t i = 0; i < pairs; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / rope.dimension_count;
    double frequency = ExpDouble(exponent * log_base);
    if (yarn) {
      const double ramp = Clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
      frequency *= (1.0 - ramp) + ramp / static_cast<double>(rope.scaling_factor);
    }
    frequencies[i] = static_cast<uint64_t>(static_cast<double>(static_cast<float>(frequency)) * kTurnsPerRadian);
  }
  return yarn ? 0.1f * Log(rope.scaling_factor) + 1.0f : 1.0f;
}

void RopeAngles(const RopeConfig& rope, const uint64_t* frequencies, float scale, const Position& position,
                float* cos_sin) {
  for (size_t i = 0; i < rope.dimension_count / 2; ++i) {
    float cosine = 0.0f;
    float sine = 0.0f;
    CosSin(static_cast<uint64_t>(AxisOf(rope, i, position)) * frequencies[i], &cosine, &sine);
    cos_sin[2 * i] = cosine * scale;
    cos_sin[2 * i + 1] = sine * scale;
  }
}

void ApplyRope(const RopeConfig& rope, const float* cos_sin, float* x) {
  const size_t pairs = rope.dimension_count / 2;
  for (size_t i = 0; i < pairs; ++i) {
    const float cosine = cos_sin[2 * i];
    const float sine = cos_sin[2 * i + 1];
    const float a = x[i];
    const float b = x[i + pairs];
    x[i] = a * cosine - b * sine;
    x[i + pairs] = b * cosine + a * sine;
  }
}

}  // namespace thimble
