// SPDX-License-Identifier: Apache-2.0
//
// The formats that a cache is written in: no code of a block could be nearer, no simple scale of levels would lose
// less, what is no number stays none, and NL3 lies as its header says. And the rotation before it.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "core/rotate.h"
#include "quant/half.h"
#include "quant/iq4_nl.h"
#include "quant/nl3.h"
#include "quant/q8_0.h"

namespace thimble {
namespace {

constexpr size_t kBlock = 32;

struct Coded {
  const Format& format;
  std::vector<float> levels;
};

std::vector<Coded> CodedFormats() {
  Coded q8{kFormatQ8_0, {}};
  for (int code = -127; code <= 127; ++code) q8.levels.push_back(static_cast<float>(code));
  return {q8,
          {kFormatIQ4_NL, {std::begin(kLevelsIQ4), std::end(kLevelsIQ4)}},
          {kFormatNL3, {std::begin(kLevelsNL3), std::end(kLevelsNL3)}}};
}

std::vector<float> Normal(size_t n, double deviation, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(0.0, deviation);
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(normal(random));
  return x;
}

std::vector<float> Through(const Format& format, const std::vector<float>& x, std::vector<std::byte>* bytes) {
  bytes->resize(x.size() / kBlock * format.block_bytes);
  format.encode(x.data(), x.size() / kBlock, bytes->data());
  std::vector<float> y(x.size());
  format.decode(bytes->data(), x.size() / kBlock, y.data());
  return y;
}

double Scale(const std::byte* block) {
  uint16_t half;
  std::memcpy(&half, block, sizeof half);
  return static_cast<double>(F32FromF16(half));
}

double Nearest(const std::vector<float>& levels, double scale, double x) {
  double nearest = std::numeric_limits<double>::infinity();
  for (const float level : levels) nearest = std::min(nearest, std::fabs(x - scale * static_cast<double>(level)));
  return nearest;
}

TEST_CASE("every value gets the nearest code, whatever its size") {
  for (const Coded& coded : CodedFormats()) {
    CAPTURE(coded.format.name);
    for (const double size : {1e-6, 1e-3, 1.0, 300.0, 1e5}) {
      CAPTURE(size);
      const std::vector<float> x = Normal(64 * kBlock, size, 1);
      std::vector<std::byte> bytes;
      const std::vector<float> y = Through(coded.format, x, &bytes);
      bool nearest = true;
      for (size_t i = 0; i < x.size(); ++i) {
        const double scale = Scale(&bytes[i / kBlock * coded.format.block_bytes]);
        const double error = std::fabs(static_cast<double>(x[i]) - static_cast<double>(y[i]));
        // Between two levels whose middle is a whole number, a value is rounded to whole numbers first.
        const double tie = coded.levels.size() < 255 ? 1.001 : 0.001;
        nearest = nearest && error <= Nearest(coded.levels, scale, static_cast<double>(x[i])) + tie * std::fabs(scale);
      }
      CHECK(nearest);
    }
  }
}

// The scale is an F16 near a 127th of the largest magnitude, off by 2^-11 of itself at most. That takes the largest
// values 127 * 2^-11 < 1/2 of a step beyond the last code, so none is off by more than half a step; and products in
// floats move the middle of a step by less than 2^-15 of it.
TEST_CASE("8 bits: no value is off by more than half a step of its block") {
  for (const double size : {1e-2, 1.0, 300.0}) {
    CAPTURE(size);
    const std::vector<float> x = Normal(300 * kBlock, size, 8);
    std::vector<std::byte> bytes;
    const std::vector<float> y = Through(kFormatQ8_0, x, &bytes);
    bool near = true, step = true;
    for (size_t b = 0; b < x.size(); b += kBlock) {
      double top = 0.0;
      for (size_t i = b; i < b + kBlock; ++i) top = std::max(top, std::fabs(static_cast<double>(x[i])));
      const double scale = Scale(&bytes[b / kBlock * kFormatQ8_0.block_bytes]);
      step = step && std::fabs(scale - top / 127) <= 0x1.001p-11 * top / 127;
      for (size_t i = b; i < b + kBlock; ++i) {
        const double error = std::fabs(static_cast<double>(x[i]) - static_cast<double>(y[i]));
        near = near && error <= (0.5 + 0x1p-15) * scale;
      }
    }
    CHECK(near);
    CHECK(step);
  }
}

TEST_CASE("levels: a block loses hardly more than with the best of many scales") {
  for (const Coded& coded : CodedFormats()) {
    if (coded.levels.size() > 16) continue;
    CAPTURE(coded.format.name);
    const std::vector<float> x = Normal(300 * kBlock, 1.0, 2);
    std::vector<std::byte> bytes;
    const std::vector<float> y = Through(coded.format, x, &bytes);
    double mine = 0.0, best = 0.0;
    for (size_t b = 0; b < x.size(); b += kBlock) {
      double top = 0.0;
      for (size_t i = b; i < b + kBlock; ++i) {
        mine += std::pow(static_cast<double>(x[i]) - static_cast<double>(y[i]), 2);
        top = std::max(top, std::fabs(static_cast<double>(x[i])));
      }
      double least = std::numeric_limits<double>::infinity();
      for (double end = 90.0; end < 150.0; end += 1.0) {
        for (const double scale : {top / end, -top / end}) {
          double loss = 0.0;
          for (size_t i = b; i < b + kBlock; ++i) {
            loss += std::pow(Nearest(coded.levels, scale, static_cast<double>(x[i])), 2);
          }
          least = std::min(least, loss);
        }
      }
      best += least;
    }
    CHECK(mine < 1.1 * best);
    CHECK(mine > 0.9 * best);
  }
}

TEST_CASE("zeros stay zeros, and what is no number or too large is not hidden") {
  for (const Coded& coded : CodedFormats()) {
    CAPTURE(coded.format.name);
    std::vector<std::byte> bytes;
    for (const float zero : {0.0f, -0.0f, 1e-30f}) {
      for (const float y : Through(coded.format, std::vector<float>(kBlock, zero), &bytes)) CHECK(y == 0.0f);
    }
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1e30f}) {
      for (const size_t at : {size_t{0}, size_t{7}, size_t{31}}) {
        std::vector<float> x = Normal(2 * kBlock, 1.0, 3);
        x[at] = bad;
        const std::vector<float> y = Through(coded.format, x, &bytes);
        CHECK_FALSE(std::isfinite(y[at]));
        CHECK(std::isfinite(y[kBlock]));
      }
    }
  }
}

TEST_CASE("NL3: bits lie where its header says") {
  BlockNL3 block = {.d = F16FromF32(0.5f), .ql = {}, .qh = {}};
  std::mt19937 random(4);
  for (uint8_t& byte : block.ql) byte = static_cast<uint8_t>(random());
  for (uint8_t& byte : block.qh) byte = static_cast<uint8_t>(random());
  float x[kBlock];
  kFormatNL3.decode(reinterpret_cast<const std::byte*>(&block), 1, x);
  for (size_t j = 0; j < 8; ++j) {
    for (size_t i = 0; i < 4; ++i) {
      const size_t at = 8 * i + j;
      const int low = block.ql[j] >> (2 * i) & 3, high = block.qh[at % 4] >> (at / 4) & 1;
      CHECK(x[at] == 0.5f * static_cast<float>(kLevelsNL3[4 * high + low]));
    }
  }
}

TEST_CASE("rotation: the Walsh-Hadamard matrix, lengths and products kept, its own inverse") {
  for (const size_t n : {size_t{32}, size_t{64}, size_t{96}, size_t{128}, size_t{256}}) {
    CAPTURE(n);
    const size_t piece = n == 96 ? 32 : n;
    const std::vector<float> x = Normal(n, 1.0, 6), y = Normal(n, 1.0, 7);
    std::vector<float> hx = x, hy = y;
    Rotate(hx.data(), n);
    Rotate(hy.data(), n);
    double product = 0.0, rotated = 0.0, off = 0.0;
    for (size_t i = 0; i < n; ++i) {
      product += static_cast<double>(x[i]) * static_cast<double>(y[i]);
      rotated += static_cast<double>(hx[i]) * static_cast<double>(hy[i]);
      double sum = 0.0;  // of row i of the matrix: the sign is the parity of the bits that both indices have
      for (size_t j = 0; j < piece; ++j) {
        const double value = static_cast<double>(x[i / piece * piece + j]);
        sum += __builtin_popcountll(i % piece & j) % 2 == 0 ? value : -value;
      }
      off = std::max(off, std::fabs(sum / std::sqrt(static_cast<double>(piece)) - static_cast<double>(hx[i])));
    }
    CHECK(off < 1e-5);
    CHECK(rotated == doctest::Approx(product).epsilon(1e-5));
    Rotate(hx.data(), n);
    for (size_t i = 0; i < n; ++i)
      CHECK(static_cast<double>(hx[i]) == doctest::Approx(static_cast<double>(x[i])).epsilon(1e-5));
  }
  CHECK_FALSE(IsRotated(kFormatQ8_0));
  CHECK(IsRotated(kFormatIQ4_NL));
  CHECK(IsRotated(kFormatNL3));
}

}  // namespace
}  // namespace thimble
