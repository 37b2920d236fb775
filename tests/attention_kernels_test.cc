// SPDX-License-Identifier: Apache-2.0
//
// Attention of every table that this processor can run against the portable one: sizes, ends, causal limits, formats of
// keys and values, windows, scores far apart, NaN; and several tokens at once against each alone, bit for bit.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <vector>

#include "quant/half.h"
#include "tests/kernel_inputs.h"

namespace thimble {
namespace {

// Some tokens' queries and the cache that they read, with other heads' rows between its own. `rows` counts those of the
// last token. With a window, rows out of sight are written over, or were never written and are no numbers.
struct Attention {
  size_t d, tokens, group, rows;
  size_t window = SIZE_MAX;
  Ring ring;
  const Format& k_format;
  const Format& v_format;
  std::vector<float> q, sink_q, out;
  std::vector<std::byte> k, v;

  Attention(size_t head_dim, size_t n, size_t heads, size_t length, Type keys, Type values, double scale, unsigned seed)
      : d(head_dim), tokens(n), group(heads), rows(length), k_format(FormatOf(keys)), v_format(FormatOf(values)) {
    Random random(seed);
    q = random.Vector(tokens * QueryStride(), -scale, scale);
    out.assign(tokens * OutStride(), kGuard);
    Fill(rows, random);
  }

  Attention& Windowed(size_t the_window, size_t sinks, unsigned seed) {
    Random random(seed);
    window = the_window;
    ring = {sinks, window + tokens - 1};
    sink_q = random.Vector(q.size(), -1, 1);
    Fill(sinks + ring.rows, random);
    return *this;
  }

  void Fill(size_t slots, Random& random) {
    for (const bool key : {true, false}) {
      std::vector<std::byte>& cache = key ? k : v;
      cache.assign(slots * 2 * RowBytes(key), std::byte{0xff});
      for (size_t r = 0; r < rows; ++r) {
        if (r < ring.sinks || rows - r <= ring.rows) Write(key, random.Vector(d, -1, 1), ring.Slot(r));
      }
    }
  }

  size_t QueryStride() const { return group * (d + 3) + 2; }
  size_t OutStride() const { return group * (d + 5) + 1; }
  const Format& FormatOfRows(bool key) const { return key ? k_format : v_format; }
  size_t RowBytes(bool key) const { return d / FormatOfRows(key).block_size * FormatOfRows(key).block_bytes; }
  std::byte* Row(bool key, size_t r) { return (key ? k : v).data() + r * 2 * RowBytes(key); }

  void Write(bool key, const std::vector<float>& row, size_t r) {
    const Format& format = FormatOfRows(key);
    if (format.type != Type::kBF16) return format.encode(row.data(), d / format.block_size, Row(key, r));
    std::transform(row.begin(), row.end(), reinterpret_cast<uint16_t*>(Row(key, r)), BF16FromF32);
  }

  AttentionHead Head(size_t first, size_t count) {
    return {.head_dim = d,
            .tokens = count,
            .group = group,
            .rows = rows - tokens + first + 1,
            .window = window,
            .ring = ring,
            .q = q.data() + first * QueryStride(),
            .q_stride = d + 3,
            .q_token_stride = QueryStride(),
            .sink_q = sink_q.data() + (sink_q.empty() ? 0 : first * QueryStride()),
            .sink_q_stride = d + 3,
            .sink_q_token_stride = QueryStride(),
            .k = {&k_format, k.data(), 2 * RowBytes(true)},
            .v = {&v_format, v.data(), 2 * RowBytes(false)},
            .out = out.data() + first * OutStride(),
            .out_stride = d + 5,
            .out_token_stride = OutStride()};
  }

  void Run(const Kernels& kernels, size_t at_once) {
    for (size_t t = 0; t < tokens; t += at_once) {
      const size_t n = std::min(at_once, tokens - t);
      std::vector<float> scratch(AttentionFloats(d, n * group), kNaN);
      scratch.push_back(kGuard);
      kernels.attend(Head(t, n), scratch.data());
      CHECK(scratch.back() == kGuard);
    }
  }
};

// Tables multiply keys in 4 bits with queries that they round first: with this, the portable one does, too.
Attention WithRoundedQueries(const Attention& attention, const Kernels& kernels) {
  Attention rounded = attention;
  const size_t d = attention.d;
  if (attention.k_format.type != Type::kIQ4_NL) return rounded;
  std::vector<int8_t> codes(d);
  std::vector<float> scales(d / 32);
  std::vector<int32_t> sums(d / 32);
  for (std::vector<float>* queries : {&rounded.q, &rounded.sink_q}) {
    for (size_t i = 0; i < attention.tokens * attention.group && !queries->empty(); ++i) {
      float* q = &(*queries)[i / attention.group * attention.QueryStride() + i % attention.group * (d + 3)];
      kernels.quantise({1, d, q, codes.data(), scales.data(), sums.data()}, 0);
      for (size_t j = 0; j < d; ++j) q[j] = scales[j / 32] * static_cast<float>(codes[j]);
    }
  }
  return rounded;
}

// The tokens one by one and at once: every table is near the portable one, and the division changes no bit.
void CheckAttention(const Attention& attention, double scale) {
  const size_t d = attention.d;
  CAPTURE(d);
  CAPTURE(attention.tokens);
  CAPTURE(attention.group);
  CAPTURE(attention.rows);
  CAPTURE(scale);
  CAPTURE(static_cast<uint32_t>(attention.k_format.type));
  Attention right = attention;
  right.Run(kPortableKernels, 1);
  // A score is a sum of d products of size `scale` and may be wrong by this much, and with it each weight; values are
  // at most 1, and `rows` of them are added up.
  const double score = std::sqrt(static_cast<double>(d)) * scale;
  const double tolerance =
      kEpsilon * (16.0 + score * (4.0 + static_cast<double>(d) / 16.0) + static_cast<double>(attention.rows) / 4.0);
  // With keys in 8 bits, queries are rounded to 2^-15 of the largest of 32, and weights with them.
  const double queries = attention.k_format.type == Type::kQ8_0 ? score * 0x1p-15 : 0.0;
  const auto same_at_once = [&](const Kernels& kernels, const Attention& one_by_one) {
    for (const size_t at_once : {size_t{3}, attention.tokens}) {
      Attention tile = attention;
      tile.Run(kernels, at_once);
      CHECK(SameBits(tile.out, one_by_one.out));
    }
  };
  if (attention.tokens > 1) same_at_once(kPortableKernels, right);
  ForEachTable([&](const Kernels& kernels) {
    Attention mine = attention;
    mine.Run(kernels, 1);
    Attention rounded = WithRoundedQueries(attention, kernels);
    rounded.Run(kPortableKernels, 1);
    CHECK(Distance(mine.out, rounded.out, 0.0, tolerance + queries) <= 1.0);
    if (attention.tokens > 1) same_at_once(kernels, mine);
  });
}

TEST_CASE("attention over caches of every size") {
  const auto check = [](size_t d, size_t group, size_t rows, Type type, double scale) {
    CheckAttention({d, 1, group, rows, type, type, scale, static_cast<unsigned>(d + group + rows)}, scale);
  };
  for (const Type type : {Type::kF16, Type::kF32}) {
    for (const size_t d : std::initializer_list<size_t>{4, 8, 12, 20, 32, 36, 64, 100, 128, 256}) {
      for (const size_t group : std::initializer_list<size_t>{1, 2, 3, 4, 5, 8}) check(d, group, 70, type, 1.0);
    }
    for (size_t rows = 1; rows < 140; rows += rows < 20 ? 1 : 7) check(64, 4, rows, type, 3.0);
    check(256, 4, 1000, type, 1.0);
    check(128, 2, 200, type, 40.0);
  }
  for (const size_t rows : std::initializer_list<size_t>{1, 5, 64, 130}) check(64, 4, rows, Type::kBF16, 1.0);
}

TEST_CASE("attention: several tokens at once get the bits that each gets alone") {
  for (const Type type : {Type::kF16, Type::kF32, Type::kBF16}) {
    for (const size_t d : std::initializer_list<size_t>{4, 20, 36, 64, 256}) {
      for (const size_t group : std::initializer_list<size_t>{1, 3, 4, 6}) {
        for (const size_t tokens : std::initializer_list<size_t>{2, 5, kAttentionTokens}) {
          for (const size_t before : std::initializer_list<size_t>{0, 3, 13, 57, 63, 64, 120}) {
            CheckAttention({d, tokens, group, before + tokens, type, type, 2.0, static_cast<unsigned>(d + before)},
                           2.0);
          }
        }
      }
    }
  }
  CheckAttention({64, 100, 2, 100, Type::kF16, Type::kF16, 1.0, 3}, 1.0);  // more than a tile of rows are in sight
}

TEST_CASE("attention over coded rows: sizes, ends, and several tokens at once") {
  const auto check = [](size_t d, size_t tokens, size_t group, size_t rows, Type keys, Type values, double scale) {
    CheckAttention({d, tokens, group, rows, keys, values, scale, static_cast<unsigned>(d + group + rows)}, scale);
  };
  for (const Type type : {Type::kQ8_0, Type::kIQ4_NL, Type::kNL3}) {
    for (const size_t d : std::initializer_list<size_t>{32, 64, 96, 128, 256}) {
      for (const size_t group : std::initializer_list<size_t>{1, 2, 3, 4, 5, 8})
        check(d, 1, group, 70, type, type, 1.0);
      for (const size_t tokens : std::initializer_list<size_t>{2, 5, kAttentionTokens}) {
        for (const size_t before : std::initializer_list<size_t>{0, 3, 13, 57, 63, 64, 120}) {
          check(d, tokens, 3, before + tokens, type, type, 2.0);
        }
      }
    }
    for (size_t rows = 1; rows < 140; rows += rows < 20 ? 1 : 7) check(64, 1, 4, rows, type, type, 3.0);
    check(256, 1, 4, 1000, type, type, 1.0);
    check(128, 1, 2, 200, type, type, 40.0);
  }
  check(64, 1, 4, 90, Type::kQ8_0, Type::kIQ4_NL, 1.0);
  check(64, 6, 4, 90, Type::kIQ4_NL, Type::kNL3, 1.0);
  check(64, 6, 4, 90, Type::kF16, Type::kQ8_0, 1.0);
}

TEST_CASE("attention over coded rows of every size of numbers") {
  for (const Type type : {Type::kQ8_0, Type::kIQ4_NL}) {
    ForEachTable([&](const Kernels& kernels) {
      for (const float size : {0.0f, 1e-7f, 1e-4f, 1e3f}) {
        CAPTURE(size);
        Attention mine(64, 1, 3, 70, type, type, 1.0, 6);
        Random random(7);
        for (size_t r = 0; r < mine.rows; ++r) {
          mine.Write(false, random.Vector(64, static_cast<double>(-size), static_cast<double>(size)), r);
          mine.Write(true, random.Vector(64, static_cast<double>(-1 / (1 + size)), 1e-6), r);
        }
        Attention right = WithRoundedQueries(mine, kernels);
        mine.Run(kernels, 1);
        right.Run(kPortableKernels, 1);
        const double tolerance = type == Type::kQ8_0 ? 0x1p-13 : 0x1p-18;
        CHECK(Distance(mine.out, right.out, 0.0, tolerance * Wide(size)) <= 1.0);
      }
    });
  }
}

TEST_CASE("attention: keys and values of two formats") {
  for (const Type values : {Type::kF16, Type::kBF16}) {
    for (const size_t tokens : std::initializer_list<size_t>{1, 6}) {
      CheckAttention({64, tokens, 4, 90, Type::kF32, values, 1.0, 4}, 1.0);
      CheckAttention({64, tokens, 4, 90, values, Type::kF16, 1.0, 5}, 1.0);
    }
  }
}

// What the definition says, in double precision: sinks and the last rows of each token, each row where it lies.
std::vector<float> ByDefinition(Attention a) {
  std::vector<float> row(a.d);
  for (size_t t = 0; t < a.tokens; ++t) {
    const size_t rows = a.rows - a.tokens + t + 1;
    for (size_t h = 0; h < a.group; ++h) {
      std::vector<double> weights(rows), sum(a.d);
      double total = 0;
      for (size_t r = 0; r < rows; ++r) {
        if (r >= a.ring.sinks && r + a.window < rows) continue;
        const size_t q = t * a.QueryStride() + h * (a.d + 3);
        a.k_format.decode(a.Row(true, a.ring.Slot(r)), a.d / a.k_format.block_size, row.data());
        double score = 0;
        for (size_t i = 0; i < a.d; ++i) {
          score += static_cast<double>(row[i]) * static_cast<double>(r < a.ring.sinks ? a.sink_q[q + i] : a.q[q + i]);
        }
        weights[r] = std::exp(score / std::sqrt(static_cast<double>(a.d)));
        total += weights[r];
        a.v_format.decode(a.Row(false, a.ring.Slot(r)), a.d / a.v_format.block_size, row.data());
        for (size_t i = 0; i < a.d; ++i) sum[i] += weights[r] * static_cast<double>(row[i]);
      }
      for (size_t i = 0; i < a.d; ++i) {
        a.out[t * a.OutStride() + h * (a.d + 5) + i] = static_cast<float>(sum[i] / total);
      }
    }
  }
  return a.out;
}

// The last of `rows` rows in a ring that has gone round some times, and the sinks: every table, and the definition.
void CheckWindow(size_t d, size_t tokens, size_t rows, Type keys, Type values, size_t window, size_t sinks) {
  CAPTURE(window);
  CAPTURE(sinks);
  Attention attention(d, tokens, 2, rows > 1000 ? 8 : rows, keys, values, 1.0, static_cast<unsigned>(rows));
  attention.rows = rows;
  attention.Windowed(window, sinks, static_cast<unsigned>(window));
  CheckAttention(attention, 1.0);
  const std::vector<float> right = ByDefinition(attention);
  attention.Run(kPortableKernels, tokens);
  CHECK(Distance(attention.out, right, 0.0, 1e-5) <= 1.0);
}

TEST_CASE("attention: a window and its sinks, in rings that wrap anywhere") {
  for (const Type type : {Type::kF16, Type::kF32, Type::kBF16}) {
    for (const size_t window : std::initializer_list<size_t>{1, 2, 5, 31, 64, 67, 130}) {
      for (const size_t sinks : std::initializer_list<size_t>{0, 1, 4, 65}) {
        for (const size_t tokens : std::initializer_list<size_t>{1, 3, kAttentionTokens}) {
          for (const size_t rows : std::initializer_list<size_t>{9, 64, 71, 137, 200, 391, 64003}) {
            CheckWindow(36, tokens, rows, type, type, window, sinks);
          }
        }
      }
    }
  }
}

TEST_CASE("attention: windows and sinks of coded rows, in rings of odd sizes") {
  struct Pair {
    Type keys, values;
  };
  for (const Pair& pair : {Pair{Type::kQ8_0, Type::kQ8_0}, Pair{Type::kQ8_0, Type::kIQ4_NL},
                           Pair{Type::kIQ4_NL, Type::kIQ4_NL}, Pair{Type::kIQ4_NL, Type::kNL3}}) {
    for (const size_t window : std::initializer_list<size_t>{1, 5, 31, 67, 130}) {
      for (const size_t sinks : std::initializer_list<size_t>{0, 1, 4, 65}) {
        for (const size_t tokens : std::initializer_list<size_t>{1, 3, kAttentionTokens}) {
          for (const size_t rows : std::initializer_list<size_t>{9, 71, 200, 64003}) {
            CheckWindow(64, tokens, rows, pair.keys, pair.values, window, sinks);
          }
        }
      }
    }
  }
}

TEST_CASE("attention: a window that holds everything changes no bit, and the smaller of two none before it is full") {
  const auto check = [](const Kernels& kernels) {
    for (const size_t rows : std::initializer_list<size_t>{8, 63, 64, 100, 131}) {
      for (const size_t sinks : std::initializer_list<size_t>{0, 3, 64}) {
        Attention whole(64, 8, 3, rows, Type::kF16, Type::kF16, 1.0, 11);
        Attention windowed = whole;
        windowed.window = rows > sinks ? rows - sinks : 1;
        windowed.ring.sinks = sinks;
        windowed.sink_q = windowed.q;
        whole.Run(kernels, 8);
        windowed.Run(kernels, 8);
        CHECK(SameBits(windowed.out, whole.out));
      }
    }
  };
  check(kPortableKernels);
  ForEachTable(check);
}

TEST_CASE("attention: scores far apart, and no number hidden") {
  ForEachTable([&](const Kernels& kernels) {
    Attention sharp(64, 1, 3, 150, Type::kF32, Type::kF32, 1e20, 1);
    Attention right = sharp;
    sharp.Run(kernels, 1);
    right.Run(kPortableKernels, 1);
    CHECK(Distance(sharp.out, right.out, 4 * kEpsilon, 0.0) <= 1.0);  // one row has all the weight
  });
}

// A value of a row is no number: every token that reads the row shows it, and no token before.
void CheckPoison(const Kernels& kernels, Type type, size_t row, bool key) {
  constexpr size_t kTokens = 7;
  constexpr size_t kRows = 70;
  CAPTURE(row);
  CAPTURE(key);
  Attention attention(64, kTokens, 3, kRows, type, type, 1.0, 2);
  const uint16_t half = 0x7e00;  // a value, or the scale of a block
  const bool coded = attention.k_format.block_size > 1;
  const void* bytes = type == Type::kF32 ? static_cast<const void*>(&kNaN) : static_cast<const void*>(&half);
  const size_t size = type == Type::kF32 ? 4 : 2;
  std::copy_n(static_cast<const std::byte*>(bytes), size, attention.Row(key, row) + (coded ? 0 : 5 * size));
  attention.Run(kernels, kTokens);
  bool exact = true;
  for (size_t t = 0; t < kTokens; ++t) {
    const bool reads = kRows - kTokens + t >= row;
    for (size_t h = 0; h < 3; ++h) {
      for (size_t i = 0; i < 64; ++i) {
        const float x = attention.out[t * attention.OutStride() + h * (64 + 5) + i];
        exact = exact && std::isnan(x) == (reads && (key || (coded ? i < 32 : i == 5)));
      }
    }
  }
  CHECK(exact);
}

TEST_CASE("attention: what is no number reaches the tokens that read it and no others") {
  const auto check = [](const Kernels& kernels) {
    for (const Type type : {Type::kF32, Type::kF16, Type::kQ8_0, Type::kIQ4_NL, Type::kNL3}) {
      for (const size_t row : std::initializer_list<size_t>{0, 3, 61, 63, 64, 65, 66, 67, 68, 69}) {
        CheckPoison(kernels, type, row, true);
        CheckPoison(kernels, type, row, false);
      }
    }
  };
  check(kPortableKernels);
  ForEachTable(check);
}

}  // namespace
}  // namespace thimble
