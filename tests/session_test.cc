// SPDX-License-Identifier: Apache-2.0
//
// What a session promises about its memory and its state: the plan is the binding, a byte less fails cleanly, threads
// and batches change nothing they must not, and going back to a checkpoint is exact. Whether the numbers are right is
// asked in golden_test.cc.
#include "core/session.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "arm/kernel_tables.h"
#include "arm/thread_pool.h"
#include "core/sampler.h"
#include "tests/all_logits.h"
#include "tests/tiny_model.h"

namespace thimble {
namespace {

class TinyModel {
 public:
  explicit TinyModel(const test::TinyOptions& options = {}) : bytes_(test::MakeTinyQwen35(options)) {
    const std::span<const std::byte> part(bytes_);
    const Result<Gguf> file = Gguf::Open({&part, 1});
    RequireOk(file.error());
    Arena measure;
    RequireOk(LoadQwen35(*file, measure).error());
    views_ = std::make_unique<HeapBlock>(measure.used());
    Arena arena(views_->span());
    const Result<Model> model = LoadQwen35(*file, arena);
    RequireOk(model.error());
    model_ = *model;
  }
  const Model& operator*() const { return model_; }
  const Config& config() const { return model_.config; }

 private:
  std::vector<std::byte> bytes_;
  std::unique_ptr<HeapBlock> views_;
  Model model_;
};

// The published shapes, with the numbers of their GGUF headers.
Config PublishedConfig(uint32_t width, uint32_t feed_forward) {
  Config c;
  c.block_count = 24;
  c.vocab_size = 248320;
  c.context_length = 262144;
  c.embedding_length = width;
  c.feed_forward_length = feed_forward;
  c.head_count = 8;
  c.head_count_kv = 2;
  c.key_length = 256;
  c.conv_kernel = 4;
  c.group_count = 16;
  c.time_step_rank = 16;
  c.state_size = 128;
  c.inner_size = 2048;
  for (size_t i = 0; i < c.block_count; ++i) {
    if ((i + 1) % 4 != 0) c.SetRecurrent(i);
  }
  return c;
}

TEST_CASE("the memory of the published shapes is what counting by hand gives" * doctest::test_suite("starve")) {
  Kernels kernels = kPortableKernels;
  kernels.matmul_rows = 16;  // as the tables of arm have it
  Backend backend;
  backend.kernels = &kernels;
  backend.workers.count = 4;
  const Limits limits{.context = 4096, .batch = 64, .k = Type::kF16, .v = Type::kF16};
  const auto check = [&](const Config& c, size_t width, size_t feed_forward) {
    const Result<SessionPlan> plan = Session::Plan(c, limits, backend);
    RequireOk(plan.error());
    // 18 DeltaNet layers of 16 heads of 128 x 128, their convolutions' 3 rows of 6144 channels, one hidden vector, a
    // header.
    CHECK(plan->state == 18 * 16 * 128 * 128 * 4 + 18 * 3 * 6144 * 4 + width * 4 + 64);
    CHECK(plan->cache == 4096 * 12288);                // 6 layers, keys and values, 2 heads of 256, 2 bytes
    const size_t deltanet = 6144 + 2 * 2048 + 2 * 16;  // qkv, z, out, beta, decay
    // Activations of a batch, in whose place the logits lie between batches, and angles.
    const size_t floats = std::max<size_t>(248320, 64 * (3 * width + std::max(deltanet, 2 * feed_forward))) + 64 * 64;
    const size_t codes = 64 * (feed_forward + 2 * 4 * feed_forward / 32);  // 8 bits each; scales and sums
    const size_t tile = 16 * 3 * (feed_forward + 64) + 2 * 4 * feed_forward;
    const size_t chunk = 4 * 64 * (128 + 4 * 128 + 2 * 64 + 96);
    CHECK(plan->work == 4 * floats + codes + 64 + 4 * std::max(tile, chunk));
    CHECK(plan->total() == plan->state + plan->cache + plan->work);
  };
  check(PublishedConfig(1024, 3584), 1024, 3584);
  check(PublishedConfig(2048, 6144), 2048, 6144);
}

TEST_CASE("the bytes of the published shapes and of the tiny one do not change unseen" *
          doctest::test_suite("starve")) {
  const Limits limits{.context = 4096, .batch = 64, .k = Type::kF16, .v = Type::kF16};
  CHECK(Session::Plan(PublishedConfig(1024, 3584), limits, {})->total() == 74'477'696);
  CHECK(Session::Plan(PublishedConfig(2048, 6144), limits, {})->total() == 75'989'120);
  CHECK(Session::Plan(TinyModel().config(), limits, {})->total() == 1'328'896);
}

TEST_CASE("scratch follows the batch and the table of kernels" * doctest::test_suite("starve")) {
  const Config c = PublishedConfig(1024, 3584);
  const auto work = [&](uint32_t batch, size_t matmul_rows) {
    Kernels kernels = kPortableKernels;
    kernels.matmul_rows = matmul_rows;
    Backend backend;
    backend.kernels = &kernels;
    return Session::Plan(c, {.batch = batch}, backend)->work;
  };
  // A chunk of the delta rule, which 4 tokens may go in; tiles; the queries of 3 tokens in attention, in whole lines.
  const size_t chunk = 4 * 64 * (128 + 4 * 128 + 2 * 64 + 96);
  const size_t tile = 16 * 3 * (3584 + 64) + 2 * 4 * 3584;
  const size_t queries = (4 * (16 * 256 + 3 * 4 * (64 + 2 + 2 * (8 + 128))) + 63) / 64 * 64;
  CHECK(work(4, 0) > work(3, 0) + chunk - queries);
  CHECK(work(3, 16) == work(3, 0) + tile - queries);
  CHECK(work(4, 16) == work(4, 0));
}

TEST_CASE("an arena of the planned size binds, and every smaller one says how many bytes it needs" *
          doctest::test_suite("starve")) {
  const TinyModel model;
  const Limits limits{.context = 32, .batch = 8, .k = Type::kF16, .v = Type::kF16, .checkpoints = 1};
  const Result<SessionPlan> plan = Session::Plan(model.config(), limits, {});
  RequireOk(plan.error());
  HeapBlock memory(plan->total());
  for (size_t bytes = 0; bytes < plan->total(); ++bytes) {
    Session session;
    Arena arena(memory.span().first(bytes));
    const Error error = session.Bind(*model, limits, {}, arena);
    REQUIRE(error.status == Status::kTooSmall);
    REQUIRE(error.at == plan->total());
  }
  Session session;
  Arena none{std::span<std::byte>()};  // what a failed allocation leaves
  CHECK(session.Bind(*model, limits, {}, none).status == Status::kTooSmall);
  Arena measure;
  RequireOk(session.Bind(*model, limits, {}, measure));
  CHECK(measure.used() == plan->total());
  Arena arena(memory.span());
  RequireOk(session.Bind(*model, limits, {}, arena));
  CHECK(arena.used() == plan->total());
  const std::vector<Token> tokens = Tokens(32, model.config().vocab_size);
  RequireOk(session.Feed(tokens));
  for (const float x : session.Logits()) REQUIRE(std::isfinite(x));
}

TEST_CASE("limits that cannot be are refused by the plan") {
  const Config c = PublishedConfig(1024, 3584);
  CHECK(Session::Plan(c, {.context = 0}, {}).error().status == Status::kBadArgument);
  CHECK(Session::Plan(Config(), {}, {}).error().status == Status::kBadArgument);
  Backend nobody;
  nobody.workers.count = 0;
  CHECK(Session::Plan(c, {}, nobody).error().status == Status::kBadArgument);
  CHECK(Session::Plan(c, {.batch = 0}, {}).error().status == Status::kBadArgument);
  CHECK(Session::Plan(c, {.k = Type::kQ3_K}, {}).error().status == Status::kUnsupported);
  CHECK(Session::Plan(c, {.v = Type::kQ3_K}, {}).error().status == Status::kUnsupported);
  CHECK(Session::Plan(c, {.k = Type::kF16, .v = Type::kF32}, {}).error().status == Status::kBadArgument);
  RequireOk(Session::Plan(c, {.k = Type::kF32, .v = Type::kF16}, {}).error());
  CHECK(Session::Plan(c, {.checkpoints = UINT32_MAX}, {}).error().ok() == (sizeof(size_t) == 8));
  Backend many;
  many.workers.count = SIZE_MAX / 4;
  CHECK(Session::Plan(c, {}, many).error().status == Status::kTooLarge);
}

TEST_CASE("the number of threads changes no bit") {
  const TinyModel model({.value_heads = 4, .value_size = 80, .own_head = true});
  const std::vector<Token> tokens = Tokens(50, model.config().vocab_size);
  for (const StateForm state : {StateForm::kF32, StateForm::kI16}) {
    for (const uint32_t batch : {1u, 16u}) {
      const Limits limits{.context = 64, .batch = batch, .k = Type::kF16, .v = Type::kF16, .state = state};
      for (const Kernels* kernels : {&kPortableKernels, &SelectKernels(DescribeCpu())}) {
        Backend backend;
        backend.kernels = kernels;
        const std::vector<float> one = AllLogits(*model, limits, backend, tokens);
        for (const size_t threads : {size_t{2}, size_t{3}, size_t{10}}) {
          const ThreadPool pool(threads);
          backend.workers = backend.step_workers = pool.workers();
          CHECK(SameBits(AllLogits(*model, limits, backend, tokens), one));
        }
      }
    }
  }
}

TEST_CASE("a state in 16 bits takes half the bytes and changes the logits a little") {
  const Config c = PublishedConfig(1024, 3584);
  const Result<SessionPlan> floats = Session::Plan(c, {.checkpoints = 3}, {});
  const Result<SessionPlan> codes = Session::Plan(c, {.state = StateForm::kI16, .checkpoints = 3}, {});
  CHECK(floats->state - codes->state == 18 * 16 * 128 * (128 * 2 - 4));
  CHECK(floats->checkpoints - codes->checkpoints == 3 * (floats->state - codes->state));
  CHECK(codes->work - floats->work == 128 * 128 * 4);  // one worker's room for the floats of a head

  const TinyModel model({.value_heads = 6});
  const std::vector<Token> tokens = Tokens(150, model.config().vocab_size);
  for (const uint32_t batch : {1u, 7u, 64u}) {
    CAPTURE(batch);
    Limits limits{.context = 150, .batch = batch, .k = Type::kF32, .v = Type::kF32};
    const std::vector<float> exact = AllLogits(*model, limits, {}, tokens);
    limits.state = StateForm::kI16;
    const double difference = Difference(AllLogits(*model, limits, {}, tokens), exact);
    CHECK(difference > 1e-6);
    CHECK(difference < 1e-3);
  }
}

TEST_CASE("the batch size changes the logits by rounding only") {
  const TinyModel model({.value_heads = 6});
  const std::vector<Token> tokens = Tokens(150, model.config().vocab_size);
  const std::vector<float> one =
      AllLogits(*model, {.context = 150, .batch = 1, .k = Type::kF32, .v = Type::kF32}, {}, tokens);
  for (const uint32_t batch : {3u, 7u, 64u, 150u}) {
    CAPTURE(batch);
    CHECK(Difference(AllLogits(*model, {.context = 150, .batch = batch, .k = Type::kF32, .v = Type::kF32}, {}, tokens),
                     one) < 1e-5);
  }
}

TEST_CASE("caches in few bits change the logits a little, whatever the length of a head, the batch and the kernels") {
  for (const uint32_t length : {32u, 64u, 128u, 256u}) {
    CAPTURE(length);
    const TinyModel model({.key_length = length});
    const std::vector<Token> tokens = Tokens(150, model.config().vocab_size);
    const std::vector<float> exact =
        AllLogits(*model, {.context = 150, .batch = 1, .k = Type::kF32, .v = Type::kF32}, {}, tokens);
    struct Cache {
      Type k, v;
      double most;
    };
    for (const Cache& cache : {Cache{Type::kQ8_0, Type::kQ8_0, 0.01}, Cache{Type::kIQ4_NL, Type::kIQ4_NL, 0.1},
                               Cache{Type::kIQ4_NL, Type::kNL3, 0.2}}) {
      for (const uint32_t batch : {1u, 7u, 64u}) {
        for (const Kernels* kernels : {&kPortableKernels, &SelectKernels(DescribeCpu())}) {
          Backend backend;
          backend.kernels = kernels;
          const std::vector<float> logits =
              AllLogits(*model, {.context = 150, .batch = batch, .k = cache.k, .v = cache.v}, backend, tokens);
          const double difference = Difference(logits, exact);
          CAPTURE(batch);
          CHECK(difference > 1e-6);
          CHECK(difference < cache.most);
        }
      }
    }
  }
  const TinyModel odd({.key_length = 24});
  CHECK(Session::Plan(odd.config(), {.k = Type::kQ8_0, .v = Type::kQ8_0}, {}).error().status == Status::kUnsupported);
  CHECK(Session::Plan(odd.config(), {.k = Type::kIQ4_NL, .v = Type::kQ8_0}, {}).error().status != Status::kOk);
  const TinyModel model;
  CHECK(Session::Plan(model.config(), {.k = Type::kIQ4_NL, .v = Type::kQ8_0}, {}).error().status ==
        Status::kBadArgument);
}

TEST_CASE("logits come where they are asked for, and are the same wherever they are asked for") {
  const TinyModel model;
  const size_t vocab = model.config().vocab_size;
  const std::vector<Token> tokens = Tokens(20, vocab);
  const Limits limits{.context = 20, .batch = 8, .k = Type::kF16, .v = Type::kF16};
  const std::vector<float> all = AllLogits(*model, limits, {}, tokens);
  HeapSession session(*model, limits);
  RequireOk(session->Feed(tokens));
  CHECK(SameBits(session->Logits(), std::span(all).last(vocab)));
  const std::vector<Token> rows = {0, 5, static_cast<Token>(vocab - 1), 5};
  std::vector<float> scores(rows.size());
  session->Scores(rows, scores.data());
  for (size_t i = 0; i < rows.size(); ++i) CHECK(scores[i] == session->Logits()[static_cast<size_t>(rows[i])]);
}

TEST_CASE("the best token is that of the largest logit, the lowest of equals, and is chosen without writing any") {
  const TinyModel model;
  const size_t vocab = model.config().vocab_size;
  const ThreadPool pool(2);
  Backend backend;
  backend.workers = backend.step_workers = pool.workers();
  HeapSession session(*model, {.context = 64, .batch = 8}, backend);
  for (const Token token : Tokens(40, vocab)) {
    RequireOk(session->Feed({&token, 1}));
    const Token best = session->Best();
    const std::span<const float> logits = session->Logits();
    CHECK(best == std::max_element(logits.begin(), logits.end()) - logits.begin());
  }

  // Rows that are all the same: every logit is.
  Model flat = *model;
  const std::vector<float> rows(vocab * flat.config.embedding_length, 0.25f);
  flat.weights.output = {&FormatOf(Type::kF32), reinterpret_cast<const std::byte*>(rows.data()), vocab,
                         flat.config.embedding_length};
  HeapSession equal(flat, {.context = 8, .batch = 8}, backend);
  const Token first = 1;
  RequireOk(equal->Feed({&first, 1}));
  CHECK(equal->Best() == 0);

  // A number that is none is told, wherever it stands.
  for (const size_t broken : {size_t{0}, vocab / 2, vocab - 1}) {
    std::vector<float> bad = rows;
    bad[broken * flat.config.embedding_length] = std::numeric_limits<float>::quiet_NaN();
    Model poisoned = flat;
    poisoned.weights.output.data = reinterpret_cast<const std::byte*>(bad.data());
    HeapSession session_of_poisoned(poisoned, {.context = 8, .batch = 8}, backend);
    RequireOk(session_of_poisoned->Feed({&first, 1}));
    CHECK(session_of_poisoned->Best() == -1);
  }
}

TEST_CASE("a greedy sampler chooses the same token with and without the logits") {
  const TinyModel model;
  const size_t vocab = model.config().vocab_size;
  HeapSession session(*model, {.context = 64, .batch = 8});
  RequireOk(session->Feed(Tokens(5, vocab)));
  const Token best = session->Best();
  const auto choose = [&](const SamplerOptions& options, bool ban) {
    Arena measure;
    Sampler sampler;
    RequireOk(sampler.Bind(options, vocab, measure));
    const HeapBlock memory(measure.used());
    Arena arena(memory.span());
    RequireOk(sampler.Bind(options, vocab, arena));
    if (ban) sampler.Ban(best);
    const Result<Token> token = session->Choose(sampler);
    RequireOk(token.error());
    return *token;
  };
  CHECK(choose({.temperature = 0.0f}, false) == best);
  CHECK(choose({.temperature = 0.0f, .presence_penalty = 0.5f}, false) == best);  // by the logits
  const Token second = choose({.temperature = 0.0f}, true);
  CHECK(second != best);
  std::vector<float> logits(session->Logits().begin(), session->Logits().end());
  logits[static_cast<size_t>(best)] = -std::numeric_limits<float>::infinity();
  CHECK(second == std::max_element(logits.begin(), logits.end()) - logits.begin());
}

TEST_CASE("a checkpoint brings back the state bit for bit, however often, and after other tokens") {
  const TinyModel model({.value_heads = 4});
  const size_t vocab = model.config().vocab_size;
  const std::vector<Token> prompt = Tokens(13, vocab);
  const std::vector<Token> left = Tokens(9, vocab, 2);
  const std::vector<Token> right = Tokens(5, vocab, 3);
  Limits limits{.context = 64, .batch = 8, .k = Type::kF16, .v = Type::kF16, .checkpoints = 2};
  SUBCASE("floats") {}
  SUBCASE("16 bits") { limits.state = StateForm::kI16; }

  HeapSession plain(*model, limits);
  RequireOk(plain->Feed(prompt));
  RequireOk(plain->Feed(right));
  const std::vector<float> expected(plain->Logits().begin(), plain->Logits().end());

  HeapSession session(*model, limits);
  RequireOk(session->Feed(prompt));
  session->Keep(1);
  const std::vector<float> at_prompt(session->Logits().begin(), session->Logits().end());
  for (int round = 0; round < 3; ++round) {
    RequireOk(session->Feed(left));
    CHECK(session->length() == 22);
    session->Recall(1);
    CHECK(session->length() == 13);
    CHECK(SameBits(session->Logits(), at_prompt));
    RequireOk(session->Feed(right));
    CHECK(SameBits(session->Logits(), expected));
    session->Recall(1);
  }
}

TEST_CASE("generation is sampling and feeding, token by token, until the context is full") {
  const TinyModel model;
  const size_t vocab = model.config().vocab_size;
  const std::vector<Token> prompt = Tokens(5, vocab);
  const Limits limits{.context = 12, .batch = 8, .k = Type::kF16, .v = Type::kF16};
  Arena measure;
  Sampler sampler;
  RequireOk(sampler.Bind({.temperature = 0.0f, .presence_penalty = 0.5f}, vocab, measure));
  const HeapBlock memory(measure.used());
  Arena arena(memory.span());
  RequireOk(sampler.Bind({.temperature = 0.0f, .presence_penalty = 0.5f}, vocab, arena));
  HeapSession session(*model, limits);
  RequireOk(session->Feed(prompt));
  std::vector<Token> tokens = prompt;
  for (int i = 0; i < 7; ++i) {
    const Result<Token> next = session->Next(sampler);
    RequireOk(next.error());
    tokens.push_back(*next);
  }
  CHECK(session->Next(sampler).error().status == Status::kFull);

  const std::vector<float> logits =
      AllLogits(*model, {.context = 12, .batch = 1, .k = Type::kF16, .v = Type::kF16}, {}, tokens);
  std::vector<bool> said(vocab);
  for (size_t t = prompt.size() - 1; t + 1 < tokens.size(); ++t) {  // the same choice from the logits of one long feed
    size_t best = 0;
    const auto value = [&](size_t i) { return logits[t * vocab + i] - (said[i] ? 0.5f : 0.0f); };
    for (size_t i = 1; i < vocab; ++i) best = value(i) > value(best) ? i : best;
    CHECK(static_cast<size_t>(tokens[t + 1]) == best);
    said[best] = true;
  }
}

TEST_CASE("logits are the caller's until the next Feed, whatever else is asked, and leave nothing behind") {
  const TinyModel model;
  const size_t vocab = model.config().vocab_size;
  const std::vector<Token> tokens = Tokens(9, vocab);
  const Limits limits{.context = 12, .batch = 4, .k = Type::kF16, .v = Type::kF16, .checkpoints = 1, .rewind = 2};
  HeapSession session(*model, limits), untouched(*model, limits), other(*model, limits);
  RequireOk(session->Feed(std::span(tokens).first(6)));
  RequireOk(untouched->Feed(std::span(tokens).first(6)));
  CHECK(SameBits(session->Logits(), untouched->Logits()));
  const auto scribble = [&] { std::ranges::fill(session->Logits(), std::nanf("")); };
  scribble();
  const std::vector<float> scribbled(session->Logits().begin(), session->Logits().end());

  session->Keep(0);
  std::vector<std::byte> image(session->image_bytes());
  session->Save(image);
  RequireOk(session->Fits(other->Describe()));
  RequireOk(other->Fork(*session));
  const std::vector<Token> rows = {0, 7, static_cast<Token>(vocab - 1)};
  std::vector<float> scores(rows.size());
  session->Scores(rows, scores.data());
  CHECK(session->Best() == untouched->Best());
  RequireOk(session->Feed({}));
  CHECK(session->Feed(std::vector<Token>(7)).status == Status::kFull);
  CHECK(SameBits(session->Logits(), scribbled));

  for (size_t i = 0; i < rows.size(); ++i) CHECK(scores[i] == untouched->Logits()[static_cast<size_t>(rows[i])]);
  CHECK(SameBits(other->Logits(), untouched->Logits()));
  session->Recall(0);
  CHECK(SameBits(session->Logits(), untouched->Logits()));
  scribble();
  RequireOk(session->Feed(std::span(tokens).subspan(6)));
  RequireOk(untouched->Feed(std::span(tokens).subspan(6)));
  CHECK(SameBits(session->Logits(), untouched->Logits()));
  scribble();
  RequireOk(session->Rewind(1));
  RequireOk(untouched->Rewind(1));
  CHECK(SameBits(session->Logits(), untouched->Logits()));
}

TEST_CASE("a session that was reset is a new one") {
  const TinyModel model;
  const std::vector<Token> tokens = Tokens(11, model.config().vocab_size);
  const Limits limits{.context = 16, .batch = 4, .k = Type::kF16, .v = Type::kF16};
  HeapSession session(*model, limits);
  RequireOk(session->Feed(tokens));
  const std::vector<float> first(session->Logits().begin(), session->Logits().end());
  session->Reset();
  CHECK(session->length() == 0);
  RequireOk(session->Feed(tokens));
  CHECK(SameBits(session->Logits(), first));
}

TEST_CASE("what cannot be fed is refused before anything changes") {
  const TinyModel model;
  const size_t vocab = model.config().vocab_size;
  HeapSession session(*model, {.context = 16, .batch = 4, .k = Type::kF16, .v = Type::kF16});
  const std::vector<Token> tokens = Tokens(16, vocab);
  RequireOk(session->Feed(std::span(tokens).first(10)));
  const std::vector<float> before(session->Logits().begin(), session->Logits().end());

  const Error full = session->Feed(std::span(tokens).first(7));
  CHECK(full.status == Status::kFull);
  CHECK(full.at == 16);
  const Token beyond[] = {1, static_cast<Token>(vocab)};
  const Error bad = session->Feed(beyond);
  CHECK(bad.status == Status::kBadArgument);
  CHECK(bad.at == vocab);
  const Token negative[] = {-1};
  CHECK(session->Feed(negative).status == Status::kBadArgument);
  std::vector<float> small(vocab);
  CHECK(session->Feed(std::span(tokens).first(2), small).status == Status::kTooSmall);
  const Position one[] = {{0, 0, 0}};
  CHECK(session->Feed(std::span(tokens).first(2), {}, one).status == Status::kBadArgument);

  CHECK(session->length() == 10);
  CHECK(session->room() == 6);
  CHECK(SameBits(session->Logits(), before));
  RequireOk(session->Feed(std::span(tokens).first(6)));
  CHECK(session->room() == 0);
}

TEST_CASE("equal positions on all three axes are text, and text goes on behind the largest one") {
  const TinyModel model;
  const size_t vocab = model.config().vocab_size;
  const std::vector<Token> tokens = Tokens(12, vocab);
  const Limits limits{.context = 16, .batch = 5, .k = Type::kF32, .v = Type::kF32};
  std::vector<Position> positions;
  for (int32_t i = 0; i < 12; ++i) positions.push_back({i, i, i});
  HeapSession text(*model, limits);
  HeapSession placed(*model, limits);
  RequireOk(text->Feed(tokens));
  RequireOk(placed->Feed(std::span(tokens).first(9), {}, std::span(positions).first(9)));
  RequireOk(placed->Feed(std::span(tokens).subspan(9)));
  CHECK(Difference(text->Logits(), placed->Logits()) < 1e-5);

  HeapSession shifted(*model, limits);  // the last position of the first part is 10 on one axis
  positions[8] = {8, 10, 8};
  RequireOk(shifted->Feed(std::span(tokens).first(9), {}, std::span(positions).first(9)));
  RequireOk(shifted->Feed(std::span(tokens).subspan(9)));
  CHECK(Difference(text->Logits(), shifted->Logits()) > 1e-4);
}

}  // namespace
}  // namespace thimble
