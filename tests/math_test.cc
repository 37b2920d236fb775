// SPDX-License-Identifier: Apache-2.0
//
// Our transcendental functions against the C library's in double precision. The bounds are units in the last place of a
// float, measured over the range that a model can reach.
#include "core/math.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

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
  CHECK(WorstUlps(1e-6, 2.0, 1'000'000, Log, [](double x) { return std::log(x); }) < 2.0);
  CHECK(WorstUlps(2.0, 1e9, 1'000'000, Log, [](double x) { return std::log(x); }) < 2.0);
  CHECK(std::isinf(Log(0.0f)));
  CHECK(std::isnan(Log(-1.0f)));
  CHECK(WorstUlps(-80, 30, 1'000'000, Softplus, [](double x) { return std::log1p(std::exp(x)); }) < 3.0);
}

TEST_CASE("the double functions are exact enough for tables") {
  for (double x = 1e-3; x < 1e8; x *= 1.37)
    CHECK(std::fabs(LogDouble(x) - std::log(x)) < 1e-14 * (1 + std::fabs(std::log(x))));
  for (double x = -40; x < 40; x += 0.37) CHECK(std::fabs(ExpDouble(x) / std::exp(x) - 1.0) < 1e-14);
}

TEST_CASE("CosSin follows cosine and sine up to a million radians") {
  double worst = 0.0;
  for (int i = 0; i < 400'000; ++i) {
    const float angle = static_cast<float>((i - 100'000) * 3.3337);
    float c = 0.0f;
    float s = 0.0f;
    CosSin(angle, &c, &s);
    worst = std::max(worst, std::fabs(static_cast<double>(c) - std::cos(static_cast<double>(angle))));
    worst = std::max(worst, std::fabs(static_cast<double>(s) - std::sin(static_cast<double>(angle))));
  }
  CHECK(worst < 6.1e-8);  // half a last place at 1, and no more
}

}  // namespace
}  // namespace thimble
