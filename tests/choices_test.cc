// SPDX-License-Identifier: Apache-2.0
//
// Choices against brute force: every choice fed token by token into a session of its own, the softmax over the whole
// vocabulary in double precision.
#include "core/choices.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/load_model.h"

namespace thimble {
namespace {

using Tokens = std::vector<Token>;

constexpr Token kEnd = 1;
const Tokens kPrompt = {5, 80, 33, 7, 250, 12, 80, 9, 101};

const Model& TestModel() {
  static const LoadedModel model(THIMBLE_SOURCE_DIR "/tests/data/model/tied.gguf");
  return model.model();
}

size_t Vocab() { return TestModel().config.vocab_size; }

Limits LimitsWith(uint32_t checkpoints) {
  Limits limits;
  limits.context = 40;
  limits.k = limits.v = Type::kF32;
  limits.checkpoints = checkpoints;
  return limits;
}

std::vector<std::span<const Token>> Views(const std::vector<Tokens>& choices) {
  return {choices.begin(), choices.end()};
}

Error BindError(const std::vector<Tokens>& choices, Token end = kEnd) {
  const auto views = Views(choices);
  const HeapBlock block(1 << 16);
  Arena arena(block.span());
  Choices bound;
  return bound.Bind(views, end, Vocab(), arena);
}

// Choices with the memory that measuring asked for.
class BoundChoices {
 public:
  explicit BoundChoices(const std::vector<Tokens>& choices, Token end = kEnd) {
    const auto views = Views(choices);
    Arena measure;
    RequireOk(choices_.Bind(views, end, Vocab(), measure));
    const size_t needed = choices_.checkpoints_needed();
    memory_.emplace(measure.used());
    Arena arena(memory_->span());
    RequireOk(choices_.Bind(views, end, Vocab(), arena));
    CHECK(arena.used() == measure.used());
    CHECK(choices_.checkpoints_needed() == needed);
  }
  Choices* operator->() { return &choices_; }

  std::vector<float> Score(Session& session, size_t first_checkpoint = 0) {
    std::vector<float> log_p(choices_.size());
    RequireOk(choices_.Score(session, log_p, first_checkpoint));
    return log_p;
  }

 private:
  std::optional<HeapBlock> memory_;
  Choices choices_;
};

bool Begins(const Tokens& a, const Tokens& b) {
  return a.size() < b.size() && std::equal(a.begin(), a.end(), b.begin());
}

// log p of every choice.
std::vector<double> BruteForce(std::vector<Tokens> choices) {
  const std::vector<Tokens> given = choices;
  for (Tokens& c : choices) {
    const Tokens plain = c;
    if (std::any_of(given.begin(), given.end(), [&](const Tokens& d) { return Begins(plain, d); })) c.push_back(kEnd);
  }
  HeapSession session(TestModel(), LimitsWith(0));
  std::vector<double> scores;
  for (const Tokens& choice : choices) {
    session->Reset();
    RequireOk(session->Feed(kPrompt));
    double score = 0;
    for (const Token token : choice) {
      const std::span<const float> logits = session->Logits();
      double sum = 0;
      for (const float x : logits) sum += std::exp(static_cast<double>(x));
      score += static_cast<double>(logits[static_cast<size_t>(token)]) - std::log(sum);
      RequireOk(session->Feed({&token, 1}));
    }
    scores.push_back(score);
  }
  double total = 0;
  for (const double s : scores) total += std::exp(s);
  for (double& s : scores) s -= std::log(total);
  return scores;
}

void CheckAgainstBruteForce(const std::vector<Tokens>& choices) {
  BoundChoices bound(choices);
  HeapSession session(TestModel(), LimitsWith(2));
  RequireOk(session->Feed(kPrompt));
  const std::vector<float> log_p = bound.Score(*session);
  const std::vector<double> expected = BruteForce(choices);
  double sum = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    CAPTURE(i);
    const double p = std::exp(static_cast<double>(log_p[i]));
    CHECK(std::abs(p - std::exp(expected[i])) < 1e-7);
    CHECK(std::abs(static_cast<double>(log_p[i]) - expected[i]) < 1e-5);
    sum += p;
  }
  CHECK(std::abs(sum - 1) < 1e-6);
}

// Different choices of 1 to `longest` tokens out of a small alphabet, so that they share prefixes and begin one
// another.
std::vector<Tokens> RandomChoices(std::mt19937& random, size_t count, size_t longest, Token alphabet) {
  std::set<Tokens> set;
  while (set.size() < count) {
    Tokens c(1 + random() % longest);
    for (Token& t : c) t = 2 + static_cast<Token>(random() % static_cast<uint32_t>(alphabet)) * 3;
    set.insert(c);
  }
  std::vector<Tokens> choices(set.begin(), set.end());
  std::shuffle(choices.begin(), choices.end(), random);
  return choices;
}

// What the model's matrices were multiplied with: the head's rows, and the tokens that went through the layers.
struct Work {
  size_t head_rows = 0;
  size_t tokens = 0;
};
Work work;

Backend CountingBackend(Kernels* kernels) {
  *kernels = kPortableKernels;
  kernels->matmul = [](const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                       std::byte* scratch) {
    const Weights& weights = TestModel().weights;
    if (w.data == weights.output.data) work.head_rows += end - begin;
    if (w.data == weights.layers[0].ffn_down.data && begin == 0) work.tokens += x.tokens;
    kPortableKernels.matmul(w, begin, end, x, y, y_stride, scratch);
  };
  Backend backend;
  backend.kernels = kernels;
  return backend;
}

TEST_CASE("choices have the probabilities of brute force") {
  CheckAgainstBruteForce({{7}});
  CheckAgainstBruteForce({{7, 8, 9}});
  CheckAgainstBruteForce({{7}, {30}, {2}, {287}});
  CheckAgainstBruteForce({{7, 8}, {7, 9}, {30}, {7, 8, 4, 4, 4}, {30, 31, 32, 33}});
  CheckAgainstBruteForce({{7, 8, 9, 10, 11, 12}, {7}, {7, 8}, {7, 8, 9}, {7, 8, 9, 10}});
  std::mt19937 random(1);
  for (int i = 0; i < 8; ++i) CheckAgainstBruteForce(RandomChoices(random, 3 + random() % 20, 5, 3));
  CheckAgainstBruteForce(RandomChoices(random, 150, 6, 5));
  CheckAgainstBruteForce(RandomChoices(random, 90, 1, 95));
}

TEST_CASE("any number of checkpoints gives the same bits and leaves the session where it was") {
  std::mt19937 random(2);
  const std::vector<Tokens> choices = RandomChoices(random, 150, 7, 3);
  BoundChoices bound(choices);
  CHECK(bound->checkpoints_needed() == 1);
  REQUIRE(bound->checkpoints_wanted() > 4);
  std::vector<float> first;
  for (uint32_t checkpoints = 1; checkpoints <= bound->checkpoints_wanted() + 2; ++checkpoints) {
    CAPTURE(checkpoints);
    HeapSession untouched(TestModel(), LimitsWith(0));
    HeapSession session(TestModel(), LimitsWith(checkpoints));
    RequireOk(untouched->Feed(kPrompt));
    RequireOk(session->Feed(kPrompt));
    if (checkpoints % 2 == 0) session->Logits();  // logits that are known already are not taken for the present ones
    const std::vector<float> log_p = bound.Score(*session);
    if (first.empty()) first = log_p;
    CHECK(log_p == first);
    CHECK(bound.Score(*session) == first);
    CHECK(session->length() == kPrompt.size());
    for (const Token token : Tokens{3, 4, 200}) {
      const std::span<const float> expected = untouched->Logits();
      const std::span<const float> logits = session->Logits();
      CHECK(std::memcmp(logits.data(), expected.data(), logits.size_bytes()) == 0);
      RequireOk(untouched->Feed({&token, 1}));
      RequireOk(session->Feed({&token, 1}));
    }
  }
}

TEST_CASE("checkpoints below the first one are left alone") {
  BoundChoices bound({{7, 8}, {7, 9}, {30}});
  HeapSession session(TestModel(), LimitsWith(2));
  RequireOk(session->Feed(std::span(kPrompt).first(4)));
  session->Keep(0);
  std::vector<float> scores[2];
  for (std::vector<float>& log_p : scores) {
    session->Recall(0);
    CHECK(session->length() == 4);
    RequireOk(session->Feed(std::span(kPrompt).subspan(4)));
    log_p = bound.Score(*session, 1);
  }
  CHECK(scores[0] == scores[1]);
}

TEST_CASE("only what is needed is computed") {
  Kernels kernels;
  const Backend backend = CountingBackend(&kernels);
  HeapSession session(TestModel(), LimitsWith(6), backend);
  RequireOk(session->Feed(kPrompt));
  {
    BoundChoices single({{7}, {30}, {2}});
    CHECK(single->checkpoints_needed() == 0);
    CHECK(single->checkpoints_wanted() == 0);
    work = {};
    single.Score(*session);
    CHECK(work.head_rows == 3);
    CHECK(work.tokens == 0);
  }
  {
    // Only 7 8 9 goes on in several ways: it is worth a checkpoint, 7 and 7 8 before it are not.
    BoundChoices late(std::vector<Tokens>{{7, 8, 9, 5, 2}, {7, 8, 9, 6, 2}, {7, 8, 9, 4, 2}});
    CHECK(late->checkpoints_wanted() == 2);
    HeapSession small(TestModel(), LimitsWith(2), backend);
    RequireOk(small->Feed(kPrompt));
    work = {};
    late.Score(*small);
    CHECK(work.tokens == 6);
  }
  {
    // 7 and 7 8 go on in several ways, 30 in one; the first tokens are 7, 30 and 2.
    BoundChoices tree({{7, 8, 9, 5}, {7, 8, 10, 6}, {7, 11, 4}, {30, 31}, {2}});
    CHECK(tree->checkpoints_wanted() == 3);
    work = {};
    tree.Score(*session);
    CHECK(work.head_rows == 3 + 6 * Vocab());  // behind 7, 7 8, 7 8 9, 7 8 10, 7 11, 30
    CHECK(work.tokens == 6);
    HeapSession small(TestModel(), LimitsWith(1), backend);
    RequireOk(small->Feed(kPrompt));
    work = {};
    tree.Score(*small);
    CHECK(work.tokens == 6 + 2 + 1);  // 7 8 once more for 7 8 10, and 7 for 7 11
  }
}

TEST_CASE("sets that are no choice are refused with the index") {
  CHECK(BindError({}).status == Status::kBadArgument);
  const std::vector<std::pair<std::vector<Tokens>, size_t>> bad = {
      {{{7}, {}, {8}}, 1},           {{{7}, {8}, {9, 300}}, 2}, {{{-1}}, 0}, {{{7, 8}, {9}, {3}, {7, 8}}, 3},
      {{{3}, {7, kEnd}, {7}}, 2},     // 7 and its end token is the other choice
      {{{7, kEnd, 4}, {7}, {3}}, 1},  // 7 and its end token begins the other choice
  };
  for (const auto& [choices, index] : bad) {
    const Error error = BindError(choices);
    CHECK(error.status == Status::kBadArgument);
    CHECK(error.at == index);
  }
  CHECK(BindError({{7, kEnd}, {3}}).ok());
  CHECK(BindError({{7, 8}, {3}}, -1).ok());
  const Error prefix = BindError({{7, 8}, {3}, {7}}, -1);
  CHECK(prefix.status == Status::kBadArgument);
  CHECK(prefix.at == 2);
  CHECK(BindError({{7}}, static_cast<Token>(Vocab())).status == Status::kBadArgument);
}

TEST_CASE("a session that cannot score is told so and not changed") {
  BoundChoices bound({{7, 8, 9}, {7}, {30}});
  std::vector<float> log_p(3);
  HeapSession session(TestModel(), LimitsWith(1));
  CHECK(bound->Score(*session, log_p).status == Status::kBadArgument);  // nothing fed
  RequireOk(session->Feed(kPrompt));
  const Error second = bound->Score(*session, log_p, 1);
  CHECK(second.status == Status::kBadArgument);
  CHECK(second.at == 2);

  HeapSession none(TestModel(), LimitsWith(0));
  RequireOk(none->Feed(kPrompt));
  CHECK(bound->Score(*none, log_p).status == Status::kBadArgument);
  BoundChoices single(std::vector<Tokens>{{7}, {30}});
  single.Score(*none);

  Tokens filler(session->room() - 1, 4);
  RequireOk(session->Feed(filler));
  const Error full = bound->Score(*session, log_p);
  CHECK(full.status == Status::kFull);
  CHECK(session->length() == session->limits().context - 1);
  BoundChoices shorter(std::vector<Tokens>{{7, 8}, {7, 9}});
  shorter.Score(*session);  // its last tokens are not fed
}

constexpr size_t kBroken = 40;

TEST_CASE("logits that are not numbers are told") {
  Kernels kernels = kPortableKernels;
  kernels.matmul = [](const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                      std::byte* scratch) {
    kPortableKernels.matmul(w, begin, end, x, y, y_stride, scratch);
    if (w.data != TestModel().weights.output.data) return;
    if (kBroken >= begin && kBroken < end) y[kBroken - begin] = std::numeric_limits<float>::quiet_NaN();
  };
  Backend backend;
  backend.kernels = &kernels;
  HeapSession session(TestModel(), LimitsWith(1), backend);
  RequireOk(session->Feed(kPrompt));
  for (const std::vector<Tokens>& choices :
       {std::vector<Tokens>{{Token{kBroken}}, {3}}, std::vector<Tokens>{{3, 4}, {3, 5}}}) {
    BoundChoices bound(choices);
    std::vector<float> log_p(choices.size());
    CHECK(bound->Score(*session, log_p).status == Status::kBadFile);
    CHECK(session->length() == kPrompt.size());
  }
}

TEST_CASE("an arena that is too small for the choices says what it needs") {
  std::mt19937 random(3);
  const std::vector<Tokens> choices = RandomChoices(random, 30, 4, 4);
  const auto views = Views(choices);
  Arena measure;
  Choices bound;
  RequireOk(bound.Bind(views, kEnd, Vocab(), measure));
  const HeapBlock block(measure.used());
  for (size_t size = 0; size < measure.used(); size += size + 64 < measure.used() ? 64 : 1) {
    Arena arena(block.span().first(size));
    const Error error = bound.Bind(views, kEnd, Vocab(), arena);
    CHECK(error.status == Status::kTooSmall);
    CHECK(error.at == measure.used());
  }
}

TEST_CASE("calibration divides by the content-free probabilities") {
  const std::vector<double> p = {0.7, 0.2, 0.1}, free = {0.8, 0.1, 0.1};
  std::vector<float> log_p, log_free;
  for (const double x : p) log_p.push_back(static_cast<float>(std::log(x)));
  for (const double x : free) log_free.push_back(static_cast<float>(std::log(x)));
  double total = 0;
  for (size_t i = 0; i < 3; ++i) total += p[i] / free[i];
  std::vector<float> out(3);
  Calibrate(log_p, log_free, out);
  for (size_t i = 0; i < 3; ++i) {
    CHECK(std::exp(static_cast<double>(out[i])) == doctest::Approx(p[i] / free[i] / total).epsilon(1e-6));
  }
  Calibrate(log_p, log_free, log_p);
  CHECK(log_p == out);
}

TEST_CASE("the k best, of equals the first") {
  std::mt19937 random(4);
  for (const size_t n : std::initializer_list<size_t>{1u, 2u, 5u, 40u}) {
    for (size_t k = 0; k <= n; ++k) {
      std::vector<float> p(n);
      for (float& x : p) x = static_cast<float>(random() % 7);
      std::vector<uint32_t> expected(n);
      std::iota(expected.begin(), expected.end(), 0u);
      std::stable_sort(expected.begin(), expected.end(), [&](uint32_t a, uint32_t b) { return p[a] > p[b]; });
      expected.resize(k);
      std::vector<uint32_t> best(k);
      TopK(p, best);
      CHECK(best == expected);
    }
  }
}

}  // namespace
}  // namespace thimble
