// SPDX-License-Identifier: Apache-2.0
//
// Our transcendental functions against the C library's in double precision. The bounds are units in the last place of a
// float, measured over the range that a model can reach.
#include "core/math.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/rope.h"

namespace thimble {
namespace {

// The error of `value` in units of the last place that a float at `exact` has.
double Ulps(float value, double exact) {
  const float nearest = static_cast<float>(exact);
  const double step = static_cast<double>(std::nextafter(std::fabs(nearest), std::numeric_limits<float>::infinity())) -
                      std::fabs(static_cast<double>(nearest));
  return std::fabs(static_cast<double>(value) - exact) / step;
}

template <class F, class Exact>
double WorstUlps(double begin, double end, int steps, F function, Exact exact) {
  double worst = 0.0;
  for (int i = 0; i <= steps; ++i) {
    const float x = static_cast<float>(begin + (end - begin) * i / steps);
    worst = std::max(worst, Ulps(function(x), exact(static_cast<double>(x))));
  }
  return worst;
}

TEST_CASE("Exp follows e^x over the whole range of a float") {
  CHECK(WorstUlps(-87.3, 88.7, 2'000'000, Exp, [](double x) { return std::exp(x); }) < 1.5);
  CHECK(Exp(0.0f) == 1.0f);
  CHECK(Exp(-88.0f) == 0.0f);
  CHECK(Exp(-std::numeric_limits<float>::infinity()) == 0.0f);
  CHECK(std::isinf(Exp(89.0f)));
  CHECK(std::isinf(Exp(std::numeric_limits<float>::infinity())));
  CHECK(std::isnan(Exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("Sigmoid and Silu follow their definitions and saturate") {
  CHECK(WorstUlps(-80, 80, 1'000'000, Sigmoid, [](double x) { return 1.0 / (1.0 + std::exp(-x)); }) < 3.0);
  CHECK(WorstUlps(-80, 80, 1'000'000, Silu, [](double x) { return x / (1.0 + std::exp(-x)); }) < 3.0);
  CHECK(Sigmoid(-1000.0f) == 0.0f);
  CHECK(Sigmoid(1000.0f) == 1.0f);
  CHECK(Silu(-1000.0f) == 0.0f);
  CHECK(Silu(1000.0f) == 1000.0f);
}

TEST_CASE("Log and Softplus follow their definitions") {
  CHECK(WorstUlps(1e-6, 2.0, 1'000'000, Log, [](double x) { return std::log(x); }) < 0.9);
  CHECK(WorstUlps(2.0, 1e9, 1'000'000, Log, [](double x) { return std::log(x); }) < 0.9);
  CHECK(std::isinf(Log(0.0f)));
  CHECK(std::isnan(Log(-1.0f)));
  CHECK(WorstUlps(-80, 30, 1'000'000, Softplus, [](double x) { return std::log1p(std::exp(x)); }) < 3.0);
}

TEST_CASE("sums and logarithms in two floats keep what one loses") {
  ExactSum sum = {1.0f};
  for (int i = 0; i < 1'000'000; ++i) sum.Add(1e-8f);
  CHECK(sum.value == 1.01f);
  sum.Add(-1.01f);
  CHECK(static_cast<double>(sum.value) ==
        doctest::Approx(1.0 + 1e6 * static_cast<double>(1e-8f) - static_cast<double>(1.01f)).epsilon(1e-9));
  double worst = 0.0;
  for (float x = 1e-37f; x < 3e38f; x *= 1.001f) {
    const ExactSum log = ExactLog(x);
    const double both = static_cast<double>(log.value) + static_cast<double>(log.rest);
    worst = std::max(worst, std::fabs(both - std::log(static_cast<double>(x))));
  }
  CHECK(worst < 1.1e-8);
}

TEST_CASE("the double functions are exact enough for tables") {
  for (double x = 1e-3; x < 1e8; x *= 1.37)
    CHECK(std::fabs(LogDouble(x) - std::log(x)) < 1e-14 * (1 + std::fabs(std::log(x))));
  for (double x = -40; x < 40; x += 0.37) CHECK(std::fabs(ExpDouble(x) / std::exp(x) - 1.0) < 1e-14);
}

TEST_CASE("CosSin follows cosine and sine all the way around") {
  double worst = 0.0;
  for (uint64_t i = 0; i < 400'000; ++i) {
    const uint64_t turn = i % 8 < 4 ? i * 0x9e3779b97f4a7c15 : (i << 61) + (i % 1000 - 500);  // anywhere; near an axis
    float c = 0.0f;
    float s = 0.0f;
    CosSin(turn, &c, &s);
    const long double angle = std::ldexp(static_cast<long double>(turn), -64) * 2 * std::numbers::pi_v<long double>;
    worst = std::max(worst, std::fabs(static_cast<double>(static_cast<long double>(c) - std::cos(angle))));
    worst = std::max(worst, std::fabs(static_cast<double>(static_cast<long double>(s) - std::sin(angle))));
  }
  CHECK(worst < 3.2e-8);  // half a last place below 1 is 2.98e-8; the rest are 31 bits of a fraction
}

struct Angles {
  RopeConfig rope;
  std::array<uint64_t, 32> frequencies = {};

  Angles() { RopeFrequencies(rope, frequencies.data()); }

  std::array<float, 64> At(int64_t position) const {
    std::array<float, 64> cos_sin;
    RopeAngles(rope, frequencies.data(), 1.0f, {position, position, position}, cos_sin.data());
    return cos_sin;
  }
};

TEST_CASE("a rotation is position times frequency, at any position that a model was trained for") {
  const Angles angles;
  for (const int64_t position : std::initializer_list<int64_t>{0, 1, 300, 262143, 1010000}) {
    const std::array<float, 64> cos_sin = angles.At(position);
    for (size_t i = 0; i < 32; ++i) {
      const auto frequency = static_cast<float>(std::pow(1e7, -2.0 * static_cast<double>(i) / 64));
      const double angle = static_cast<double>(position) * static_cast<double>(frequency);
      CHECK(static_cast<double>(cos_sin[2 * i]) == doctest::Approx(std::cos(angle)).epsilon(2e-7));
      CHECK(static_cast<double>(cos_sin[2 * i + 1]) == doctest::Approx(std::sin(angle)).epsilon(2e-7));
    }
  }
}

TEST_CASE("between two tokens the rotation is the same wherever they stand, also after years") {
  const Angles angles;
  const std::array<float, 64> between = angles.At(4096);
  for (const int64_t position : std::initializer_list<int64_t>{12345, int64_t{1} << 24, (int64_t{1} << 50) + 7}) {
    const std::array<float, 64> first = angles.At(position);
    const std::array<float, 64> second = angles.At(position + 4096);
    for (size_t i = 0; i < 64; i += 2) {
      CHECK(std::fabs(first[i] * second[i] + first[i + 1] * second[i + 1] - between[i]) < 3e-7f);
      CHECK(std::fabs(first[i] * second[i + 1] - first[i + 1] * second[i] - between[i + 1]) < 3e-7f);
    }
  }
}

}  // namespace
}  // namespace thimble
