// SPDX-License-Identifier: Apache-2.0
//
// Whole models against the logits of Hugging Face transformers: the files in tests/data/model, which
// tests/golden/model.py and tests/golden/quantised.py make. What is compared with what, and how closely, is said at
// each case.
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "arm/kernel_tables.h"
#include "core/session.h"
#include "tests/load_model.h"

namespace thimble {
namespace {

constexpr double kSameArithmetic = 1e-6;  // mean KL that float32 sums in another order stay below

std::string DataPath(const std::string& name) { return std::string(THIMBLE_SOURCE_DIR "/tests/data/model/") + name; }

// One line of comma-separated numbers per row.
std::vector<std::vector<int32_t>> ReadRows(const std::string& name) {
  std::ifstream in(DataPath(name));
  std::vector<std::vector<int32_t>> rows;
  for (std::string line; std::getline(in, line);) {
    std::vector<int32_t> row;
    for (size_t at = 0; at < line.size(); at = std::min(line.find(',', at), line.size() - 1) + 1) {
      row.push_back(std::stoi(line.substr(at)));
    }
    rows.push_back(row);
  }
  REQUIRE(!rows.empty());
  return rows;
}

std::vector<float> ReadFloats(const std::string& name) {
  std::ifstream in(DataPath(name), std::ios::binary | std::ios::ate);
  REQUIRE(in.good());
  std::vector<float> values(static_cast<size_t>(in.tellg()) / sizeof(float));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  REQUIRE(in.good());
  return values;
}

struct Bound {
  std::string name;  // of a file, or its type
  double kl = 0.0;   // llama.cpp's mean KL
};

// Lines of a name and a number.
std::vector<Bound> ReadBounds(const std::string& name) {
  std::ifstream in(DataPath(name));
  std::vector<Bound> bounds;
  for (Bound bound; in >> bound.name >> bound.kl;) bounds.push_back(bound);
  REQUIRE(!bounds.empty());
  return bounds;
}

std::vector<Position> ReadPositions(const std::string& name) {
  const std::vector<std::vector<int32_t>> axes = ReadRows(name);
  REQUIRE(axes.size() == 3);
  std::vector<Position> positions;
  for (size_t i = 0; i < axes[0].size(); ++i) positions.push_back({axes[0][i], axes[1][i], axes[2][i]});
  return positions;
}

struct Distance {
  double kl = 0.0;          // mean over the tokens of KL(golden || ours), natural logarithm
  size_t other_argmax = 0;  // tokens whose most probable next token differs
  double largest = 0.0;     // absolute difference of two logits
  double rms = 0.0;         // root of the mean squared difference
};

// log(sum(exp(x)))
double LogSum(const float* x, size_t n) {
  const double top = static_cast<double>(*std::max_element(x, x + n));
  double sum = 0.0;
  for (size_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[i]) - top);
  return top + std::log(sum);
}

Distance Compare(const std::vector<float>& golden, const std::vector<float>& ours, size_t vocab) {
  REQUIRE(golden.size() == ours.size());
  Distance d;
  const size_t tokens = golden.size() / vocab;
  for (size_t t = 0; t < tokens; ++t) {
    const float* g = golden.data() + t * vocab;
    const float* o = ours.data() + t * vocab;
    const double g_sum = LogSum(g, vocab);
    const double o_sum = LogSum(o, vocab);
    for (size_t i = 0; i < vocab; ++i) {
      const double log_p = static_cast<double>(g[i]) - g_sum;
      const double difference = static_cast<double>(g[i]) - static_cast<double>(o[i]);
      d.kl += std::exp(log_p) * (difference - g_sum + o_sum) / static_cast<double>(tokens);
      d.largest = std::max(d.largest, std::isnan(o[i]) ? HUGE_VAL : std::fabs(difference));
      d.rms += difference * difference;
    }
    if (std::max_element(g, g + vocab) - g != std::max_element(o, o + vocab) - o) ++d.other_argmax;
  }
  d.rms = std::sqrt(d.rms / static_cast<double>(golden.size()));
  return d;
}

Limits LimitsFor(size_t tokens, uint32_t batch, Type kv = Type::kF32) {
  Limits limits;
  limits.context = static_cast<uint32_t>(tokens);
  limits.batch = batch;
  limits.k = limits.v = kv;
  return limits;
}

// The portable table and those of this architecture that this processor can run.
std::vector<const Kernels*> Tables() {
  std::vector<const Kernels*> tables = {&kPortableKernels};
  const Cpu cpu = DescribeCpu();
  for (const KernelTable& table : KernelTables()) {
    if (cpu.*table.needs) tables.push_back(table.kernels);
  }
  return tables;
}

// The logits behind every token, fed in one call that runs in batches of limits.batch.
std::vector<float> Logits(const Model& model, const Limits& limits, const std::vector<Token>& ids,
                          const std::vector<Position>& positions = {}, const Kernels& kernels = kPortableKernels) {
  Backend backend;
  backend.kernels = &kernels;
  HeapSession session(model, limits, backend);
  std::vector<float> logits(ids.size() * model.config.vocab_size);
  RequireOk(session->Feed(ids, logits, positions));
  return logits;
}

void Print(const std::string& what, const Distance& d) {
  std::printf("%-34s KL %7.1e  difference: rms %7.1e, largest %7.1e  other argmax: %zu\n", what.c_str(), d.kl, d.rms,
              d.largest, d.other_argmax);
}

}  // namespace

// The bound allows for nothing but rounding: Hugging Face and llama.cpp are 1e-10 apart on the F32 files. The goldens
// of the 16-bit files have their rounded weights.
TEST_CASE("F32 and 16-bit models give Hugging Face's logits") {
  for (const std::string name : {"tied", "grouped", "irregular", "yarn", "f16", "bf16"}) {
    CAPTURE(name);
    const LoadedModel loaded(DataPath(name + ".gguf"));
    const std::vector<Token> ids = ReadRows(name + ".ids")[0];
    for (const Kernels* kernels : Tables()) {
      CAPTURE(kernels->name);
      const std::vector<float> ours = Logits(loaded.model(), LimitsFor(ids.size(), 64), ids, {}, *kernels);
      const Distance d = Compare(ReadFloats(name + ".logits.f32"), ours, loaded.config().vocab_size);
      Print(name + ", " + kernels->name, d);
      CHECK(d.kl <= kSameArithmetic);
      CHECK(d.other_argmax == 0);
    }
  }
}

TEST_CASE("a model in three files is the model in one") {
  const LoadedModel whole(DataPath("yarn.gguf"));
  const LoadedModel split(DataPath("split-00001-of-00003.gguf"));
  const std::vector<Token> ids = ReadRows("yarn.ids")[0];
  const Limits limits = LimitsFor(ids.size(), 64);
  CHECK(Logits(whole.model(), limits, ids) == Logits(split.model(), limits, ids));
}

TEST_CASE("three positions per token, as an image has them") {
  const LoadedModel loaded(DataPath("tied.gguf"));
  const std::vector<Token> ids = ReadRows("tied.ids")[0];
  const std::vector<float> ours =
      Logits(loaded.model(), LimitsFor(ids.size(), 64), ids, ReadPositions("tied.positions"));
  const Distance d = Compare(ReadFloats("tied.placed.f32"), ours, loaded.config().vocab_size);
  Print("tied, placed", d);
  CHECK(d.kl <= kSameArithmetic);
  CHECK(d.other_argmax == 0);
}

// Explicit positions of plain text are what a session gives by itself, and text goes on behind the largest position.
TEST_CASE("positions go on by themselves") {
  const LoadedModel loaded(DataPath("tied.gguf"));
  const std::vector<Token> ids = ReadRows("tied.ids")[0];
  const std::vector<Position> positions = ReadPositions("tied.positions");
  const size_t vocab = loaded.config().vocab_size;
  const size_t image_end = 20 + 5 * 6;  // image_positions in model.py: text, rows x columns, text
  HeapSession session(loaded.model(), LimitsFor(ids.size(), 64));
  std::vector<float> logits(ids.size() * vocab);
  const std::span<const Token> tokens(ids);
  const std::span<float> out(logits);
  RequireOk(session->Feed(tokens.first(20), out.first(20 * vocab)));
  RequireOk(
      session->Feed(tokens.subspan(20, 30), out.subspan(20 * vocab, 30 * vocab), std::span(positions).subspan(20, 30)));
  RequireOk(session->Feed(tokens.subspan(image_end), out.subspan(image_end * vocab)));
  const Distance d = Compare(ReadFloats("tied.placed.f32"), logits, vocab);
  CHECK(d.kl <= kSameArithmetic);
  CHECK(d.other_argmax == 0);
}

// The residual stream behind every layer, so that a wrong layer is named and not only a wrong sum. A model that is cut
// off behind `layers` layers, with a final norm and a head that change nothing else, shows it normalised.
TEST_CASE("every layer leaves Hugging Face's residual stream") {
  const LoadedModel loaded(DataPath("tied.gguf"));
  const std::vector<Token> ids = ReadRows("tied.ids")[0];
  const std::vector<float> golden = ReadFloats("tied.layers.f32");  // [1 + layers][width], of the last token
  const size_t width = loaded.config().embedding_length;
  const size_t vocab = loaded.config().vocab_size;
  const std::vector<float> ones(width, 1.0f);
  std::vector<float> identity(vocab * width, 0.0f);
  for (size_t i = 0; i < width; ++i) identity[i * width + i] = 1.0f;
  REQUIRE(golden.size() == (loaded.config().block_count + 1) * width);
  for (uint32_t layers = 0; layers <= loaded.config().block_count; ++layers) {
    CAPTURE(layers);
    Model cut = loaded.model();
    cut.config.block_count = layers;
    cut.weights.output_norm = ones.data();
    cut.weights.output = {&FormatOf(Type::kF32), reinterpret_cast<const std::byte*>(identity.data()), vocab, width};
    HeapSession session(cut, LimitsFor(ids.size(), 64));
    RequireOk(session->Feed(ids));
    const std::span<const float> ours = session->Logits();
    const float* stream = golden.data() + layers * width;
    double square = 0.0;
    for (size_t i = 0; i < width; ++i) square += static_cast<double>(stream[i]) * static_cast<double>(stream[i]);
    const double scale =
        1.0 / std::sqrt(square / static_cast<double>(width) + static_cast<double>(cut.config.layer_norm_rms_epsilon));
    double largest = 0.0;
    for (size_t i = 0; i < width; ++i) {
      largest = std::max(largest, std::fabs(static_cast<double>(ours[i]) - scale * static_cast<double>(stream[i])));
    }
    CHECK(largest <= 5e-5);
  }
}

// Logits of the batched forms (the convolution over a batch, the delta rule in chunks, attention over many rows at
// once) against one token at a time: 1e-5 as the root of the mean square, for logits whose standard deviation is 1.
// Single logits may be further apart: the norm behind the delta rule magnifies rounding where a head's output is nearly
// zero. Hugging Face and llama.cpp differ by as much, up to 4e-4.
TEST_CASE("the size of a batch does not change the logits") {
  for (const std::string name : {"tied", "grouped", "irregular", "yarn"}) {
    CAPTURE(name);
    const LoadedModel loaded(DataPath(name + ".gguf"));
    const std::vector<Token> ids = ReadRows(name + ".ids")[0];
    const std::vector<float> steps = Logits(loaded.model(), LimitsFor(ids.size(), 1), ids);
    const Distance golden = Compare(ReadFloats(name + ".logits.f32"), steps, loaded.config().vocab_size);
    Print(name + ", steps", golden);
    CHECK(golden.kl <= kSameArithmetic);
    CHECK(golden.other_argmax == 0);
    for (const uint32_t batch : {7u, 64u, 300u}) {
      CAPTURE(batch);
      const std::vector<float> logits = Logits(loaded.model(), LimitsFor(ids.size(), batch), ids);
      const Distance d = Compare(steps, logits, loaded.config().vocab_size);
      Print(name + ", steps and " + std::to_string(batch), d);
      CHECK(d.rms <= 1e-5);
      CHECK(d.largest <= 4e-4);
      CHECK(d.other_argmax == 0);
    }
  }
}

// A cache of F16 rounds keys and values once. llama.cpp's rounds queries and probabilities too, so its divergence on
// the same file is a bound.
TEST_CASE("a half-precision cache costs no more than llama.cpp's") {
  for (const Bound& llama : ReadBounds("cache_f16.txt")) {
    const std::string& name = llama.name;
    CAPTURE(name);
    const LoadedModel loaded(DataPath(name + ".gguf"));
    const std::vector<Token> ids = ReadRows(name + ".ids")[0];
    const std::vector<float> ours = Logits(loaded.model(), LimitsFor(ids.size(), 64, Type::kF16), ids);
    const Distance d = Compare(ReadFloats(name + ".logits.f32"), ours, loaded.config().vocab_size);
    Print(name + ", F16 cache", d);
    CHECK(d.kl <= llama.kl);
  }
}

// Portable: weights are decoded exactly and multiplied in float32, so the divergence from the decoded weights is that
// of float32. Accelerated tables round activations to 8 bits: where llama.cpp does it in the same blocks of 32 (Q8_0,
// Q4_0, IQ4_NL) ours is another draw of the same noise, hence the tenth; elsewhere its blocks are of 256.
TEST_CASE("quantised models give the logits of their decoded weights") {
  const std::vector<Token> ids = ReadRows("quantised.ids")[0];
  const std::vector<Bound> files = ReadBounds("quantised.txt");
  CHECK(files.size() == 12);
  for (const Bound& llama : files) {
    std::string name = "q_" + llama.name;
    CAPTURE(name);
    for (char& c : name) c = static_cast<char>(std::tolower(c));
    const LoadedModel loaded(DataPath(name + ".gguf"));
    for (const Kernels* kernels : Tables()) {
      CAPTURE(kernels->name);
      for (const uint32_t batch : {1u, 64u}) {
        CAPTURE(batch);
        const std::vector<float> ours = Logits(loaded.model(), LimitsFor(ids.size(), batch), ids, {}, *kernels);
        const Distance d = Compare(ReadFloats(name + ".logits.f32"), ours, loaded.config().vocab_size);
        Print(llama.name + ", " + kernels->name + ", batch " + std::to_string(batch), d);
        CHECK(d.kl <= 1.1 * llama.kl);
        if (kernels != &kPortableKernels) continue;
        CHECK(d.kl <= kSameArithmetic);
        CHECK(d.other_argmax == 0);
      }
    }
  }
}

}  // namespace thimble
