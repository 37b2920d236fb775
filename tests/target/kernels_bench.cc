// SPDX-License-Identifier: Apache-2.0
//
// What the kernels of every table cost on a board, as rows of Markdown: instructions by QEMU's -icount, which are not
// cycles. First each kernel for a multiply-add or a value, then a sentence of twelve tokens through the shipped model
// with its 151 answers, part by part.
#include <array>
#include <cstdint>
#include <span>

#include "arm/board_kernels.h"
#include "core/session.h"
#include "quant/q4_0.h"
#include "quant/q8_0.h"
#include "tests/target/check.h"
#include "tests/target/memory.h"

namespace thimble {
namespace {

// Instructions that `body` takes, to within a tick and what a look at the clock takes.
template <class Body>
uint64_t Count(const Body& body) {
  const uint64_t begin = board_ticks();
  body();
  return board_ticks() - begin;
}

void PrintCell(uint64_t hundredths) {
  Print(" | ");
  Print(hundredths / 100);
  Print(".");
  Print(hundredths / 10 % 10);
  Print(hundredths % 10);
}

class Random {
 public:
  uint32_t Bits() { return state_ = state_ * 1664525u + 1013904223u; }
  float operator()(float size) { return static_cast<float>(static_cast<int32_t>(Bits())) * 0x1p-31f * size; }

 private:
  uint32_t state_ = 1;
};

template <class Body>
void ForEachTable(const Body& body) {
  body(kPortableKernels);
  for (const Kernels* kernels : BoardTables()) body(*kernels);
}

struct Product {
  const Format* format;
  size_t rows, cols, tokens;
};
constexpr Product kProducts[] = {
    {&kFormatQ4_0, 256, 256, 1},  {&kFormatQ4_0, 320, 128, 1}, {&kFormatQ4_0, 128, 320, 1},
    {&kFormatQ4_0, 256, 256, 12}, {&kFormatQ8_0, 256, 256, 1}, {&kFormatQ8_0, 256, 256, 12},
};
constexpr size_t kMostTokens = 12;
constexpr size_t kMostCols = 320;
constexpr size_t kDv = 32, kDk = 32;

struct Data {
  alignas(64) std::array<std::byte, size_t{256} * 256 / 32 * sizeof(BlockQ8_0)> weights;
  std::array<float, kMostTokens * kMostCols> x, up;
  std::array<float, kMostTokens * kMostCols> y;
  std::array<int8_t, kMostTokens * kMostCols> codes;
  std::array<float, kMostTokens * kMostCols / 32> scales;
  std::array<int32_t, kMostTokens * kMostCols / 32> sums;
  std::array<float, 4 * kDv * kDk> state;
  alignas(64) std::array<std::byte, MatmulScratch(kMostCols)> scratch;

  Activations Inputs(size_t tokens, size_t cols) {
    return {tokens, cols, x.data(), codes.data(), scales.data(), sums.data()};
  }
};

void Fill(Data& data) {
  Random random;
  for (float& x : data.x) x = random(1.0f);
  for (float& x : data.up) x = random(1.0f);
  for (float& x : data.state) x = random(0.5f);
}

void FillWeights(const Format& format, size_t blocks, Data& data) {
  Random random;
  for (std::byte& b : data.weights) b = static_cast<std::byte>(random.Bits() >> 24);
  for (size_t i = 0; i < blocks; ++i) data.weights[i * format.block_bytes + 1] = std::byte{0x2c};  // about 1/16
}

void MeasureProducts(Data& data) {
  for (const Product& p : kProducts) {
    FillWeights(*p.format, p.rows * p.cols / 32, data);
    const Matrix w = {p.format, data.weights.data(), p.rows, p.cols};
    Print("| ");
    Print(p.format->name);
    Print(", ");
    Print(p.rows);
    Print(" x ");
    Print(p.cols);
    Print(p.tokens == 1 ? ", 1 token" : ", 12 tokens");
    ForEachTable([&](const Kernels& kernels) {
      Activations x = data.Inputs(p.tokens, p.cols);
      if (kernels.quantise == nullptr) x.codes = nullptr;
      for (size_t t = 0; t < p.tokens && x.codes != nullptr; ++t) kernels.quantise(x, t);
      const uint64_t count =
          Count([&] { kernels.matmul(w, 0, p.rows, x, data.y.data(), p.rows, data.scratch.data()); });
      PrintCell(count * 100 / (p.rows * p.cols * p.tokens));
    });
    Print(" |\n");
  }
}

// `work`: what a run is divided by.
template <class Body>
void Measure(const char* name, size_t work, const Body& body) {
  Print("| ");
  Print(name);
  ForEachTable([&](const Kernels& kernels) { PrintCell(Count([&] { body(kernels); }) * 100 / work); });
  Print(" |\n");
}

void MeasureOthers(Data& data) {
  float gates[8];
  for (size_t h = 0; h < 4; ++h) gates[h] = -0.1f, gates[4 + h] = 0.5f;
  Measure("delta rule, 4 heads of 32 x 32", 3 * data.state.size(), [&](const Kernels& kernels) {
    for (size_t h = 0; h < 4; ++h) {
      const float* in = data.x.data();
      kernels.delta_step({1, kDk, kDv, in, in + kDk, in + 2 * kDk, 0, gates + h, gates + 4 + h, 0,
                          data.state.data() + h * kDk * kDv, data.y.data(), 0});
    }
  });
  Measure("rounding to 8 bits, 320 values", 320, [&](const Kernels& kernels) {
    if (kernels.quantise != nullptr) kernels.quantise(data.Inputs(1, 320), 0);
  });
  Measure("RMS norm, 128 values", 128,
          [&](const Kernels& kernels) { kernels.rms_norm(data.x.data(), data.up.data(), 128, 1e-6f, data.y.data()); });
  Measure("SwiGLU, 320 values", 320,
          [&](const Kernels& kernels) { kernels.swiglu(data.y.data(), data.up.data(), 320); });
  Measure("convolution, 1 token of 32 channels", 32, [&](const Kernels& kernels) {
    kernels.conv_silu(data.y.data(), 1, 32, 0, 32, data.up.data(), 4, data.y.data() + 256);
  });
}

// "how do i say good night in greek", and the tokens of the 151 answers.
constexpr Token kSentence[] = {305, 296, 257, 608, 532, 284, 546, 294, 1272, 68, 74, 1896};
constexpr Token kFirstAnswer = 1897, kTranslate = 2028;
constexpr size_t kAnswers = 151;
constexpr Limits kLimits{.context = 32, .batch = 12, .k = Type::kF32, .v = Type::kF32};
constexpr const char* kPartNames[kParts] = {"embedding",           "DeltaNet: products",  "DeltaNet: the rest",
                                            "attention: products", "attention: the rest", "feed-forward",
                                            "head: last norm"};

struct Clock {
  uint64_t since;
  std::array<uint64_t, kParts> parts;
  static void Mark(void* clock, Part part) {
    auto& self = *static_cast<Clock*>(clock);
    const uint64_t now = board_ticks();
    self.parts[static_cast<size_t>(part)] += now - self.since;
    self.since = now;
  }
};

struct Cost {
  Clock clock;
  uint64_t answers;
  std::array<float, kAnswers> logits;
};

Cost Classify(const Kernels& kernels, const Model& model, std::span<std::byte> memory, Checks& checks) {
  Cost cost = {};
  Backend backend;
  backend.kernels = &kernels;
  backend.mark_context = &cost.clock;
  backend.mark = Clock::Mark;
  Arena arena(memory);
  Session session;
  CHECK(session.Bind(model, kLimits, backend, arena).ok());
  if (checks.Failed()) return cost;
  cost.clock.since = board_ticks();
  CHECK(session.Feed(kSentence).ok());
  std::array<Token, kAnswers> rows;
  for (size_t i = 0; i < kAnswers; ++i) rows[i] = kFirstAnswer + static_cast<Token>(i);
  cost.answers = Count([&] { session.Scores(rows, cost.logits.data()); });
  return cost;
}

// The right answer, by logits that rounding to 8 bits moves by little.
void CheckAnswers(std::span<const float> logits, std::span<const float> portable, Checks& checks) {
  constexpr float kTolerance = 0.1f;
  size_t best = 0;
  size_t far = 0;
  for (size_t i = 0; i < kAnswers; ++i) {
    best = logits[i] > logits[best] ? i : best;
    const float off = logits[i] - portable[i];
    far += off > kTolerance || off < -kTolerance;
  }
  CHECK(kFirstAnswer + static_cast<Token>(best) == kTranslate);
  CHECK(far == 0);
}

void MeasureClassification(const Model& model, std::span<std::byte> memory, Checks& checks) {
  std::array<Cost, 3> costs;
  size_t tables = 0;
  ForEachTable([&](const Kernels& kernels) {
    costs[tables] = Classify(kernels, model, memory, checks);
    CheckAnswers(costs[tables].logits, costs[0].logits, checks);
    ++tables;
  });
  const auto row = [&](const char* name, const auto& value) {
    Print("| ");
    Print(name);
    for (size_t i = 0; i < tables; ++i) PrintCell(value(costs[i]) / 10000);
    Print(" |\n");
  };
  for (size_t part = 0; part < kParts; ++part) {
    row(kPartNames[part], [part](const Cost& cost) { return cost.clock.parts[part]; });
  }
  row("151 answers", [](const Cost& cost) { return cost.answers; });
  row("all", [](const Cost& cost) {
    uint64_t sum = cost.answers;
    for (const uint64_t part : cost.clock.parts) sum += part;
    return sum;
  });
}

void PrintHead(const char* what) {
  Print("\n| ");
  Print(what);
  ForEachTable([](const Kernels& kernels) {
    Print(" | ");
    Print(kernels.name);
  });
  Print(" |\n|---");
  ForEachTable([](const Kernels&) { Print("|--:"); });
  Print("|\n");
}

int Run() {
  Checks checks;
  board_ticks();
  Arena arena(FreeMemory());
  const Result<Model> model = LoadBoardModel(arena);
  CHECK(model);
  if (checks.Failed()) return 1;
  Data* data = arena.Take<Data>(1);
  const std::span<std::byte> rest = FreeMemory().subspan(arena.used() < FreeMemory().size() ? arena.used() : 0);
  const Result<SessionPlan> plan = Session::Plan(model->config, kLimits, {});
  if (data == nullptr || !plan || plan->total() > rest.size()) return kSkipped;
  Fill(*data);
  PrintHead("instructions (QEMU icount), not cycles, for a multiply-add or a value");
  MeasureProducts(*data);
  MeasureOthers(*data);
  PrintHead("a sentence of 12 tokens, million instructions");
  MeasureClassification(*model, rest, checks);
  return checks.Failed();
}

}  // namespace
}  // namespace thimble

int main() { return thimble::Run(); }
