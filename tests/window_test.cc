// SPDX-License-Identifier: Apache-2.0
//
// Windows: full attention bit for bit while every token is in sight, afterwards what the definition says; rings that
// wrap anywhere, checkpoints, choices and forks in them; memory that is planned, refused and touched as it should be.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <optional>
#include <vector>

#include "arm/cpu.h"
#include "arm/kernel_tables.h"
#include "arm/thread_pool.h"
#include "core/choices.h"
#include "tests/conversation.h"

namespace thimble {
namespace {

Limits Windowed(uint32_t window, uint32_t sinks, uint32_t batch) {
  return {.batch = batch, .k = Type::kF32, .v = Type::kF32, .window = window, .sinks = sinks};
}
Limits Whole(uint32_t context, uint32_t batch) {
  return {.context = context, .batch = batch, .k = Type::kF32, .v = Type::kF32};
}

// How many tokens' logits are the same from the first on.
size_t Agree(std::span<const float> a, std::span<const float> b, size_t vocab) {
  size_t t = 0;
  while ((t + 1) * vocab <= a.size() && SameBits(a.subspan(t * vocab, vocab), b.subspan(t * vocab, vocab))) ++t;
  return t;
}

Backend Fastest() {
  Backend backend;
  backend.kernels = &SelectKernels(DescribeCpu());
  return backend;
}

TEST_CASE("a window is full attention bit for bit until a token leaves it, and not a token longer") {
  const LoadedModel& model = DataModel("irregular");
  const size_t vocab = model.config().vocab_size;
  const std::vector<Token> tokens = Tokens(120, vocab);
  for (const Backend& backend : {Backend(), Fastest()}) {
    for (const uint32_t batch : {1u, 7u, 64u}) {
      const std::vector<float> whole = AllLogits(model.model(), Whole(120, batch), backend, tokens);
      std::vector<float> before;
      for (const uint32_t sinks : {0u, 3u, 70u}) {
        for (const uint32_t window : {29u, 30u}) {
          CAPTURE(batch);
          CAPTURE(sinks);
          const std::vector<float> logits = AllLogits(model.model(), Windowed(window, sinks, batch), backend, tokens);
          CHECK(Agree(logits, whole, vocab) == window + sinks);
          if (window == 30) CHECK(Agree(logits, before, vocab) == 29 + sinks);
          before = logits;
        }
      }
      CHECK(SameBits(AllLogits(model.model(), Windowed(117, 3, batch), backend, tokens), whole));
      CHECK(SameBits(AllLogits(model.model(), Windowed(5000, 4, batch), backend, tokens), whole));
    }
  }
}

TEST_CASE("coded keys and values in a window are those of full attention, too, until a token leaves") {
  const LoadedModel& model = DataModel("irregular");
  const size_t vocab = model.config().vocab_size;
  const std::vector<Token> tokens = Tokens(90, vocab);
  for (const auto& [k, v] : {std::pair(Type::kQ8_0, Type::kQ8_0), std::pair(Type::kQ8_0, Type::kIQ4_NL),
                             std::pair(Type::kIQ4_NL, Type::kNL3)}) {
    for (const Backend& backend : {Backend(), Fastest()}) {
      for (const uint32_t batch : {1u, 7u, 40u}) {
        const Limits whole{.context = 90, .batch = batch, .k = k, .v = v};
        const Limits windowed{.batch = batch, .k = k, .v = v, .window = 41, .sinks = 3};
        CHECK(Agree(AllLogits(model.model(), windowed, backend, tokens),
                    AllLogits(model.model(), whole, backend, tokens), vocab) == 44);
      }
    }
  }
}

// Full attention's kernel, told to see a window: for a session that keeps every row, and a text. The queries come
// turned to their own positions; for the sinks they are turned back to where the window was just full.
struct Definition {
  RopeConfig rope;
  size_t window, sinks;
  bool moving = false;  // the distance to the sinks grows without end
};
Definition definition;

void AttendByDefinition(const AttentionHead& head, float*) {
  const size_t d = head.head_dim;
  std::vector<uint64_t> frequencies(definition.rope.dimension_count / 2);
  RopeFrequencies(definition.rope, frequencies.data());
  std::vector<float> angles(definition.rope.dimension_count), row(d);
  for (size_t t = 0; t < head.tokens; ++t) {
    const size_t rows = head.rows + t;
    const size_t full = definition.window + definition.sinks;
    const int64_t back = -static_cast<int64_t>(rows > full && !definition.moving ? rows - full : 0);
    RopeAngles(definition.rope, frequencies.data(), 1.0f, {back, back, back}, angles.data());
    for (size_t h = 0; h < head.group; ++h) {
      const float* q = head.q + t * head.q_token_stride + h * head.q_stride;
      std::vector<float> sink_q(q, q + d);
      ApplyRope(definition.rope, angles.data(), sink_q.data());
      std::vector<double> sum(d);
      double total = 0;
      for (size_t r = 0; r < rows; ++r) {
        if (r >= definition.sinks && r + definition.window < rows) continue;
        head.k.format->decode(head.k.Row(r), d / head.k.format->block_size, row.data());
        double score = 0;
        for (size_t i = 0; i < d; ++i) {
          score += static_cast<double>(row[i]) * static_cast<double>(r < definition.sinks ? sink_q[i] : q[i]);
        }
        const double weight = std::exp(score / std::sqrt(static_cast<double>(d)));
        total += weight;
        head.v.format->decode(head.v.Row(r), d / head.v.format->block_size, row.data());
        for (size_t i = 0; i < d; ++i) sum[i] += weight * static_cast<double>(row[i]);
      }
      float* out = head.out + t * head.out_token_stride + h * head.out_stride;
      for (size_t i = 0; i < d; ++i) out[i] = static_cast<float>(sum[i] / total);
    }
  }
}

TEST_CASE("what a window gives is what the definition says, sinks at the distance they had when it was full") {
  for (const char* name : {"irregular", "tied", "yarn"}) {
    const LoadedModel& model = DataModel(name);
    const std::vector<Token> tokens = Tokens(230, model.config().vocab_size);
    for (const auto& shape : std::initializer_list<std::array<uint32_t, 3>>{
             {1, 0, 9}, {1, 2, 5}, {17, 0, 13}, {23, 4, 1}, {64, 1, 64}, {31, 5, 200}, {100, 71, 33}}) {
      const uint32_t window = shape[0], sinks = shape[1], batch = shape[2];
      CAPTURE(name);
      CAPTURE(window);
      CAPTURE(sinks);
      for (const Backend& backend : {Backend(), Fastest()}) {
        Kernels kernels = *backend.kernels;  // all else rounds as it does where the window is tried
        kernels.attend = AttendByDefinition;
        Backend by_definition;
        by_definition.kernels = &kernels;
        definition = {model.config().rope, window, sinks};
        const std::vector<float> right = AllLogits(model.model(), Whole(230, batch), by_definition, tokens);
        const Limits limits = Windowed(window, sinks, batch);
        CHECK(Difference(AllLogits(model.model(), limits, backend, tokens), right) < 2e-5);
        definition.moving = true;
        const std::vector<float> moving = AllLogits(model.model(), Whole(230, batch), by_definition, tokens);
        CHECK((Difference(moving, right) > 1e-3) == (sinks != 0));
      }
    }
  }
}

TEST_CASE("the size of a batch, and with it of the ring, changes a window's logits by rounding only") {
  const LoadedModel& model = DataModel("irregular");
  const std::vector<Token> tokens = Tokens(400, model.config().vocab_size);
  const std::vector<float> one = AllLogits(model.model(), Windowed(37, 3, 1), {}, tokens);
  for (const uint32_t batch : {2u, 3u, 7u, 36u, 37u, 38u, 64u, 129u, 400u}) {
    CAPTURE(batch);
    CHECK(Difference(AllLogits(model.model(), Windowed(37, 3, batch), {}, tokens), one) < 1e-5);
  }
}

TEST_CASE("threads change no bit in a window") {
  const LoadedModel& model = DataModel("irregular");
  const std::vector<Token> tokens = Tokens(150, model.config().vocab_size);
  const std::vector<float> one = AllLogits(model.model(), Windowed(37, 3, 20), {}, tokens);
  const ThreadPool pool(3);
  Backend backend;
  backend.workers = backend.step_workers = pool.workers();
  CHECK(SameBits(AllLogits(model.model(), Windowed(37, 3, 20), backend, tokens), one));
}

TEST_CASE("only differences of positions count, however large they are, also to the sinks") {
  const LoadedModel& model = DataModel("tied");
  const std::vector<Token> tokens = Tokens(120, model.config().vocab_size);
  const size_t vocab = model.config().vocab_size;
  const std::vector<float> text = AllLogits(model.model(), Windowed(20, 3, 11), {}, tokens);
  for (const int64_t first : {int64_t{1} << 31, (int64_t{1} << 40) + 12345}) {
    std::vector<Position> positions;
    for (int64_t i = 0; i < 120; ++i) positions.push_back({first + i, first + i, first + i});
    HeapSession session(model.model(), Windowed(20, 3, 11));
    std::vector<float> logits(text.size());
    RequireOk(session->Feed(std::span(tokens).first(60), logits, std::span(positions).first(60)));
    for (size_t t = 60; t < 120; ++t) {  // the session's own next positions
      RequireOk(session->Feed({&tokens[t], 1}, std::span(logits).subspan(t * vocab, vocab)));
    }
    CHECK(Difference(logits, text) < 2e-5);
  }
}

TEST_CASE("checkpoints in a ring that has wrapped are exact within their reach") {
  const LoadedModel& model = DataModel("irregular");
  const std::vector<Token> tokens = Tokens(300, model.config().vocab_size);
  Limits limits = Windowed(41, 3, 13);
  limits.checkpoints = 1;
  for (const size_t prompt : {size_t{5}, size_t{44}, size_t{45}, size_t{58}, size_t{203}}) {
    HeapSession session(model.model(), limits), straight(model.model(), limits);
    CHECK(session->recall_reach() == 13);
    RequireOk(session->Feed(std::span(tokens).first(prompt)));
    session->Keep(0);
    for (const size_t n : {size_t{1}, size_t{13}}) {
      RequireOk(session->Feed(std::span(tokens).last(n)));
      session->Recall(0);
    }
    RequireOk(straight->Feed(std::span(tokens).first(prompt)));
    for (const size_t n : {size_t{20}, size_t{1}, size_t{50}}) {
      RequireOk(session->Feed(std::span(tokens).first(n)));
      RequireOk(straight->Feed(std::span(tokens).first(n)));
      CHECK(SameBits(session->Logits(), straight->Logits()));
    }
  }
  HeapSession whole(model.model(), Whole(300, 13));
  CHECK(whole->recall_reach() == SIZE_MAX);
}

double LogSoftmax(std::span<const float> logits, Token token) {
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x));
  return static_cast<double>(logits[static_cast<size_t>(token)]) - std::log(sum);
}

TEST_CASE("choices in a ring that has wrapped are what each gives in a session of its own") {
  const LoadedModel& model = DataModel("irregular");
  const size_t vocab = model.config().vocab_size;
  const std::vector<std::vector<Token>> words = {{1, 2, 3, 4, 5}, {1, 2, 7, 8}, {1, 9, 11}, {6}, {12, 1, 2, 3, 4}};
  const std::vector<std::span<const Token>> choices(words.begin(), words.end());
  const HeapBlock memory(1 << 16);
  Arena arena(memory.span());
  Choices tree;
  RequireOk(tree.Bind(choices, 0, vocab, arena));
  Limits limits = Windowed(21, 3, 4);
  limits.checkpoints = 2;
  HeapSession session(model.model(), limits), other(model.model(), limits);
  RequireOk(session->Feed(Tokens(131, vocab)));
  const std::vector<float> before(session->Logits().begin(), session->Logits().end());
  std::vector<float> log_p(words.size());
  RequireOk(tree.Score(*session, log_p));
  CHECK(SameBits(session->Logits(), before));
  std::vector<double> scores;
  for (const std::vector<Token>& word : words) {
    RequireOk(other->Fork(*session));
    double score = 0;
    for (const Token& token : word) {
      score += LogSoftmax(other->Logits(), token);
      RequireOk(other->Feed({&token, 1}));
    }
    scores.push_back(score);
  }
  double sum = 0;
  for (const double score : scores) sum += std::exp(score);
  for (size_t i = 0; i < words.size(); ++i) {
    CHECK(static_cast<double>(log_p[i]) == doctest::Approx(scores[i] - std::log(sum)).epsilon(1e-5));
  }

  limits.batch = 3;
  HeapSession narrow(model.model(), limits);
  RequireOk(narrow->Feed(Tokens(131, vocab)));
  const Error error = tree.Score(*narrow, log_p);
  CHECK(error.status == Status::kBadArgument);
  CHECK(error.at == 4);
}

TEST_CASE("an image of a window fits the same window only") {
  const Limits limits = Windowed(50, 3, 39);
  Conversation kept(limits);
  kept.Begin(150);
  const std::vector<std::byte> bytes = kept.Snapshot();
  const SnapshotHeader header = kept.session().Describe();
  CHECK(header.rows == 3 + 50 - 1 + 39);
  CHECK(header.length == 152);
  const auto refused = [&](const Limits& changed, std::string_view name) {
    Conversation other(changed);
    const Error error = ReadSnapshot(bytes, other.whole());
    CHECK(error.status == Status::kBadArgument);
    CHECK(error.name == name);
  };
  refused(Windowed(51, 3, 38), "window");
  refused(Windowed(50, 4, 38), "sinks");
  refused(Windowed(50, 3, 40), "rows of the ring");
  refused(Whole(300, 39), "window");
  Conversation same(limits);
  RequireOk(ReadSnapshot(bytes, same.whole()));
  CHECK(same.Snapshot() == bytes);
}

TEST_CASE("a window has room for ever; its plan does not depend on the context") {
  const LoadedModel& model = DataModel("tied");
  Limits limits = Windowed(32, 4, 16);
  limits.context = 8;
  HeapSession session(model.model(), limits);
  CHECK(session->room() == SIZE_MAX);
  RequireOk(session->Feed(Tokens(1000, model.config().vocab_size)));
  CHECK(session->length() == 1000);
  CHECK(session->room() == SIZE_MAX - 1000);
  const auto total = [&](const Limits& of) { return Session::Plan(model.config(), of, {})->total(); };
  CHECK(total(limits) == total(Windowed(32, 4, 16)));
  const auto status = [&](const Limits& of) { return Session::Plan(model.config(), of, {}).error().status; };
  CHECK(status(Windowed(INT32_MAX, 1, 1)) == Status::kBadArgument);
  CHECK(status(Windowed(1, UINT32_MAX, 1)) == Status::kBadArgument);
  CHECK(status(Windowed(1, 1, UINT32_MAX)) == Status::kBadArgument);
  CHECK(status(Windowed(32, 4, 0)) == Status::kBadArgument);
}

TEST_CASE("every part of a window's memory is in its plan" * doctest::test_suite("starve")) {
  const LoadedModel& model = DataModel("irregular");
  Limits limits = Windowed(11, 3, 5);
  limits.checkpoints = 1;
  const Result<SessionPlan> plan = Session::Plan(model.config(), limits, {});
  RequireOk(plan.error());
  const HeapBlock memory(plan->total());
  for (size_t bytes = 0; bytes < plan->total(); bytes += Arena::kAlign) {
    Session session;
    Arena arena(memory.span().first(bytes));
    const Error error = session.Bind(model.model(), limits, {}, arena);
    REQUIRE(error.status == Status::kTooSmall);
    REQUIRE(error.at == plan->total());
  }
  Session session;
  Arena arena(memory.span());
  RequireOk(session.Bind(model.model(), limits, {}, arena));
  CHECK(arena.used() == plan->total());
  RequireOk(session.Feed(Tokens(60, model.config().vocab_size)));
  for (const float x : session.Logits()) REQUIRE(std::isfinite(x));
}

// Pages of an arena for `limits` that are in memory behind Bind, and after 100 tokens.
std::pair<size_t, size_t> TouchedPages(const Limits& limits) {
  const LoadedModel& model = DataModel("tied");
  const size_t bytes = Session::Plan(model.config(), limits, {})->total();
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  madvise(memory, bytes, MADV_NOHUGEPAGE);
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const auto touched = [&] {
    std::vector<unsigned char> pages((bytes + page - 1) / page);
    REQUIRE(mincore(memory, bytes, pages.data()) == 0);
    return static_cast<size_t>(std::count_if(pages.begin(), pages.end(), [](unsigned char p) { return p & 1; }));
  };
  Arena arena({static_cast<std::byte*>(memory), bytes});
  Session session;
  RequireOk(session.Bind(model.model(), limits, {}, arena));
  const size_t bound = touched();
  RequireOk(session.Feed(Tokens(100, model.config().vocab_size)));
  const size_t fed = touched();
  munmap(memory, bytes);
  return {bound, fed};
}

TEST_CASE("a cache costs what is in use: 262,144 tokens planned and 100 fed are as 4,096 planned") {
  const auto small = TouchedPages({.context = 4096, .checkpoints = 2});
  for (const Limits& limits :
       {Limits{.context = 262144, .checkpoints = 2}, Limits{.checkpoints = 2, .window = 262144}}) {
    const auto large = TouchedPages(limits);
    CHECK(large.first <= small.first + 2);     // a section may begin elsewhere in its page
    CHECK(large.second <= small.second + 16);  // and so may the sinks' angles and queries
  }
}

}  // namespace
}  // namespace thimble
