// SPDX-License-Identifier: Apache-2.0
//
// The formats against ggml (golden files, see golden/formats.py), the order of Lanes against its definition,
// and the 16-bit floats exhaustively against arithmetic in double precision.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <map>
#include <random>

#include "quant/format.h"
#include "quant/half.h"
#include "quant/lanes.h"
#include "tests/formats_golden.h"

namespace thimble {
namespace {

constexpr const char* kGolden = THIMBLE_SOURCE_DIR "/tests/data/formats";

uint32_t Bits(float value) { return std::bit_cast<uint32_t>(value); }

std::vector<float> RandomFloats(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(static_cast<int32_t>(random())) * 0x1p-30f;
  return x;
}

TEST_CASE("every format decodes to the bits of ggml") {
  for (const Format* format : Formats()) {
    if (format->type >= Type::kQB4) continue;  // our own: packed_test.cc, cache_formats_test.cc
    CAPTURE(format->name);
    const Comparison result = CompareDecode(*format, ReadGolden(*format, kGolden));
    CHECK(result.values >= 2048);
    CHECK(result.nan < result.values / 2);
    CHECK(result.differ == 0);
  }
}

TEST_CASE("numbers, names and block sizes are those of ggml") {
  struct Line {
    std::string name;
    uint32_t block_size, block_bytes;
  };
  std::map<uint32_t, Line> types;
  std::ifstream file(std::string(kGolden) + "/types.txt");
  uint32_t number;
  Line line;
  while (file >> number >> line.name >> line.block_size >> line.block_bytes) types[number] = line;
  REQUIRE(types.size() > 30);

  for (number = 0; number < 100; ++number) {
    CAPTURE(number);
    CHECK(TypeName(number) == (types.contains(number) ? types[number].name : "unknown"));
    const Format* format = FindFormat(number);
    if (format == nullptr) continue;
    CHECK(format->name == types[number].name);
    CHECK(format->block_size == types[number].block_size);
    CHECK(format->block_bytes == types[number].block_bytes);
    CHECK(&FormatOf(format->type) == format);
  }
  CHECK(TypeName(UINT32_MAX) == std::string("unknown"));
  CHECK(FindFormat(16) == nullptr);
  for (const Format* format : Formats())
    CHECK(std::string(TypeName(static_cast<uint32_t>(format->type))) == format->name);
  CHECK(TypeName(1003) == std::string("unknown"));
  CHECK(std::is_sorted(Formats().begin(), Formats().end(),
                       [](const Format* a, const Format* b) { return a->type < b->type; }));
}

TEST_CASE("blocks may be as far from aligned as the contract allows") {
  for (const Format* format : Formats()) {
    if (format->type >= Type::kQB4) continue;
    CAPTURE(format->name);
    const FormatGolden golden = ReadGolden(*format, kGolden);
    const size_t count = golden.values.size() / format->block_size;
    const size_t offset = format->type == Type::kF32 ? 4 : 2;
    std::vector<std::byte> shifted(offset + golden.blocks.size());
    std::copy(golden.blocks.begin(), golden.blocks.end(), shifted.begin() + static_cast<ptrdiff_t>(offset));
    std::vector<float> aligned(golden.values.size()), x(golden.values.size());
    format->decode(golden.blocks.data(), count, aligned.data());
    format->decode(shifted.data() + offset, count, x.data());
    CHECK(std::memcmp(aligned.data(), x.data(), x.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("Lanes adds in its one order, whole or in pieces") {
  const std::vector<float> a = RandomFloats(1000, 1);
  const std::vector<float> b = RandomFloats(1000, 2);
  for (const size_t n : std::initializer_list<size_t>{0u, 1u, 7u, 15u, 16u, 17u, 32u, 100u, 1000u}) {
    CAPTURE(n);
    float sum[16] = {};
    double exact = 0;
    for (size_t i = 0; i < n; ++i) {
      sum[i % 16] += a[i] * b[i];
      exact += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    }
    float quarter[4];
    for (size_t i = 0; i < 4; ++i) quarter[i] = (sum[i] + sum[i + 8]) + (sum[i + 4] + sum[i + 12]);
    const float expected = (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
    CHECK(Bits(DotF32(a.data(), b.data(), n)) == Bits(expected));
    CHECK(std::fabs(static_cast<double>(expected) - exact) < 1e-3);

    Lanes lanes;
    const size_t first = n / 48 * 16;
    lanes.Add(a.data(), b.data(), first);
    lanes.Add(a.data() + first, b.data() + first, n - first);
    CHECK(Bits(lanes.Fold()) == Bits(expected));
  }
}

// The definition of F16 for values that are not infinite or NaN.
double ValueOfF16(uint32_t half) {
  const int exponent = static_cast<int>(half >> 10 & 31);
  const int mantissa = static_cast<int>(half & 1023);
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST_CASE("every F16 and BF16 has its value") {
  size_t wrong = 0;
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const float value = F32FromF16(static_cast<uint16_t>(half));
    const uint32_t magnitude = half & 0x7fff;
    if (magnitude < 0x7c00) {
      const double exact = ValueOfF16(half);
      wrong += static_cast<double>(value) != exact || std::signbit(value) != std::signbit(exact);
    } else if (magnitude == 0x7c00) {
      wrong += !std::isinf(value) || std::signbit(value) != (half >= 0x8000);
    } else {
      wrong += (Bits(value) & 0x7fc00000) != 0x7fc00000;
    }
    wrong += Bits(F32FromBF16(static_cast<uint16_t>(half))) != half << 16;
  }
  CHECK(wrong == 0);
}

TEST_CASE("F32 to F16 rounds to nearest even at every boundary") {
  // Between two neighbours only the middle and the floats next to it decide. Past the largest half, 65504, its
  // neighbour counts as 65536, which is written as infinity.
  size_t wrong = 0;
  for (uint32_t half = 0; half < 0x7c00; ++half) {
    const double low = ValueOfF16(half);
    const double high = half == 0x7bff ? 65536.0 : ValueOfF16(half + 1);
    const float middle = static_cast<float>((low + high) / 2);
    wrong += static_cast<double>(middle) != (low + high) / 2;
    const uint32_t even = half % 2 == 0 ? half : half + 1;
    for (const uint32_t sign : {0u, 0x8000u}) {
      const auto encode = [&](float magnitude) { return F16FromF32(sign == 0 ? magnitude : -magnitude); };
      wrong += encode(static_cast<float>(low)) != (sign | half);
      wrong += encode(std::nextafter(static_cast<float>(low), 1e6f)) != (sign | half);
      wrong += encode(std::nextafter(middle, 0.0f)) != (sign | half);
      wrong += encode(middle) != (sign | even);
      wrong += encode(std::nextafter(middle, 1e6f)) != (sign | (half + 1));
      wrong += encode(std::nextafter(static_cast<float>(high), 0.0f)) != (sign | (half + 1));
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("F32 to F16, cases worked out by hand") {
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(F16FromF32(0.0f) == 0x0000);
  CHECK(F16FromF32(-0.0f) == 0x8000);
  CHECK(F16FromF32(1.0f) == 0x3c00);
  CHECK(F16FromF32(-2.5f) == 0xc100);
  CHECK(F16FromF32(1.0f + 0x1p-11f) == 0x3c00);      // a tie, to the even mantissa below
  CHECK(F16FromF32(1.0f + 3 * 0x1p-11f) == 0x3c02);  // a tie, to the even mantissa above
  CHECK(F16FromF32(2.0f - 0x1p-11f) == 0x4000);      // carries into the exponent
  CHECK(F16FromF32(65504.0f) == 0x7bff);             // the largest
  CHECK(F16FromF32(65519.996f) == 0x7bff);           // rounds down to it
  CHECK(F16FromF32(65520.0f) == 0x7c00);             // the tie with 65536
  CHECK(F16FromF32(-1e30f) == 0xfc00);
  CHECK(F16FromF32(infinity) == 0x7c00);
  CHECK(F16FromF32(-infinity) == 0xfc00);
  CHECK(F16FromF32(0x1p-14f) == 0x0400);             // the smallest normal
  CHECK(F16FromF32(0x1p-14f - 0x1p-25f) == 0x0400);  // the tie below it
  CHECK(F16FromF32(0x1p-24f) == 0x0001);             // the smallest subnormal
  CHECK(F16FromF32(0x1p-25f) == 0x0000);             // the tie with zero
  CHECK(F16FromF32(0x1.8p-24f) == 0x0002);           // a tie between subnormals
  CHECK(F16FromF32(-0x1.000002p-25f) == 0x8001);
  CHECK(F16FromF32(std::numeric_limits<float>::denorm_min()) == 0x0000);
  for (const uint32_t nan : {0x7fc00000u, 0x7f800001u, 0xffffffffu, 0xff802000u}) {
    const uint32_t half = F16FromF32(std::bit_cast<float>(nan));
    CHECK((half & 0x7e00) == 0x7e00);
    CHECK((half & 0x8000) == (nan >> 16 & 0x8000));
  }
}

TEST_CASE("encode inverts decode") {
  size_t encoders = 0;
  for (const Format* format : Formats()) {
    if (format->encode == nullptr || format->block_size > 1) continue;  // blocks: cache_formats_test.cc
    ++encoders;
    CAPTURE(format->name);
    FormatGolden golden = ReadGolden(*format, kGolden);
    // A signalling NaN comes back quiet, so zeros take the place of the NaNs.
    for (size_t i = 0; i < golden.values.size(); ++i) {
      if (!std::isnan(golden.values[i])) continue;
      golden.values[i] = 0.0f;
      std::fill_n(golden.blocks.begin() + static_cast<ptrdiff_t>(i * format->block_bytes), format->block_bytes,
                  std::byte{0});
    }
    std::vector<std::byte> blocks(golden.blocks.size());
    format->encode(golden.values.data(), golden.values.size() / format->block_size, blocks.data());
    CHECK(!blocks.empty());
    CHECK(blocks == golden.blocks);
  }
  CHECK(encoders == 2);
}

}  // namespace
}  // namespace thimble
