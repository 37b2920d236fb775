// SPDX-License-Identifier: Apache-2.0
//
// thimble.h included by C++, against the classes behind it: the same tokens, logits, probabilities and memory, with the
// portable kernels, with the fast ones, and on threads. What a C program sees is c_api_test.c's.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "arm/kernel_tables.h"
#include "arm/thimble_arm.h"
#include "core/sampler.h"
#include "io/task.h"
#include "io/thimble.h"
#include "tests/load_model.h"
#include "tests/make_pack.h"
#include "tests/tiny_model.h"

namespace thimble {
namespace {

constexpr const char* kIntent = THIMBLE_SOURCE_DIR "/examples/intent/intent-q4_0.gguf";
const std::vector<Token> kPrompt = {100, 200, 300, 17, 5, 1700};

void RequireFine(const thimble_error& error) {
  char text[300];
  thimble_error_text(&error, text, sizeof text);
  INFO(text);
  REQUIRE(error.status == THIMBLE_OK);
}

// A mapped file as a C program has it, and memory as much as is asked for.
class CModel {
 public:
  explicit CModel(const char* path) : memory_(size_t{32} << 20) {
    RequireOk(files_.Open(path));
    room_ = THIMBLE_MEMORY(memory_.span().data(), memory_.span().size());
    const auto file = files_.parts()[0];
    RequireFine(thimble_open(file.data(), file.size(), &room_, &model_));
    RequireFine(thimble_bind_tokenizer(model_, 1024, &room_, &tokenizer_));
  }
  thimble_session* Bind(const thimble_limits* limits, const thimble_backend* backend = nullptr) {
    thimble_session* session = nullptr;
    RequireFine(thimble_bind_session(model_, limits, backend, &room_, &session));
    return session;
  }
  const thimble_model* model() const { return model_; }
  thimble_tokenizer* tokenizer() { return tokenizer_; }
  thimble_memory* room() { return &room_; }

 private:
  MappedModel files_;
  HeapBlock memory_;
  thimble_memory room_;
  thimble_model* model_ = nullptr;
  thimble_tokenizer* tokenizer_ = nullptr;
};

std::vector<float> LogitsOf(thimble_session* session, size_t vocab) {
  const float* logits = thimble_logits(session);
  return {logits, logits + vocab};
}

TEST_CASE("the defaults of the macros are those of the C++ structs") {
  const thimble_limits l = THIMBLE_LIMITS;
  const Limits limits;
  CHECK(l.context == limits.context);
  CHECK(l.batch == limits.batch);
  CHECK(l.k == static_cast<uint32_t>(limits.k));
  CHECK(l.v == static_cast<uint32_t>(limits.v));
  CHECK(l.state == static_cast<uint32_t>(limits.state));
  CHECK(l.checkpoints == limits.checkpoints);
  CHECK(l.rewind == limits.rewind);
  CHECK(l.window == limits.window);
  CHECK(l.sinks == limits.sinks);
  const thimble_sampling s = THIMBLE_SAMPLING;
  const SamplerOptions options;
  CHECK(s.temperature == options.temperature);
  CHECK(s.top_k == options.top_k);
  CHECK(s.top_p == options.top_p);
  CHECK(s.min_p == options.min_p);
  CHECK(s.repetition_penalty == options.repetition_penalty);
  CHECK(s.presence_penalty == options.presence_penalty);
  CHECK(s.frequency_penalty == options.frequency_penalty);
  CHECK(s.penalty_window == options.penalty_window);
  CHECK(s.seed == options.seed);
  CHECK(s.logit_bias == nullptr);
  CHECK(std::to_string(THIMBLE_VERSION / 10000) + "." + std::to_string(THIMBLE_VERSION / 100 % 100) + "." +
            std::to_string(THIMBLE_VERSION % 100) ==
        THIMBLE_PROJECT_VERSION);
}

TEST_CASE("C and C++ draw the same tokens from the same logits, biased and penalised") {
  const LoadedModel loaded(kIntent);
  const Limits limits{.context = 64,
                      .batch = 4,
                      .k = Type::kQ8_0,
                      .v = Type::kIQ4_NL,
                      .state = StateForm::kI16,
                      .checkpoints = 1,
                      .rewind = 2};
  const LogitBias bias[] = {{12, 3.0f}, {40, -1.5f}};
  const SamplerOptions options{.temperature = 0.9f,
                               .top_k = 50,
                               .top_p = 0.95f,
                               .min_p = 0.001f,
                               .repetition_penalty = 1.2f,
                               .presence_penalty = 0.5f,
                               .frequency_penalty = 0.25f,
                               .penalty_window = 20,
                               .seed = 99,
                               .logit_bias = bias};
  HeapSession session(loaded.model(), limits);
  Arena measure;
  Sampler sampler;
  RequireOk(sampler.Bind(options, loaded.config().vocab_size, measure));
  const HeapBlock block(measure.used());
  Arena arena(block.span());
  RequireOk(sampler.Bind(options, loaded.config().vocab_size, arena));
  RequireOk(session->Feed(kPrompt));
  sampler.AcceptPrompt(kPrompt);

  CModel c(kIntent);
  const thimble_logit_bias c_bias[] = {{12, 3.0f}, {40, -1.5f}};
  const thimble_limits c_limits = {sizeof c_limits, 64, 4, THIMBLE_Q8_0, THIMBLE_IQ4_NL, THIMBLE_STATE_I16, 1, 2, 0, 0};
  const thimble_sampling c_options = {sizeof c_options, 0.9f, 50, 0.95f, 0.001f, 1.2f, 0.5f, 0.25f, 20, 99, c_bias, 2};
  thimble_session* c_session = c.Bind(&c_limits);
  thimble_sampler* c_sampler = nullptr;
  RequireFine(thimble_bind_sampler(c.model(), nullptr, &c_options, c.room(), &c_sampler));
  RequireFine(thimble_feed(c_session, kPrompt.data(), kPrompt.size()));
  thimble_accept_prompt(c_sampler, kPrompt.data(), kPrompt.size());

  for (int i = 0; i < 40; ++i) {
    const Result<Token> token = session->Next(sampler);
    RequireOk(token.error());
    thimble_token c_token = -1;
    RequireFine(thimble_next(c_session, c_sampler, &c_token));
    REQUIRE(c_token == *token);
  }
  const std::span<const float> logits = session->Logits();
  CHECK(std::memcmp(thimble_logits(c_session), logits.data(), logits.size_bytes()) == 0);
  CHECK(thimble_image_bytes(c_session) == session->image_bytes());
}

TEST_CASE("a plan has the sections of the C++ one") {
  const LoadedModel loaded(kIntent);
  CModel c(kIntent);
  for (const uint32_t window : {0u, 100u}) {
    const Limits limits{.context = 300, .batch = 16, .checkpoints = 2, .rewind = 3, .window = window, .sinks = 2};
    thimble_limits c_limits = THIMBLE_LIMITS;
    c_limits.context = 300;
    c_limits.batch = 16;
    c_limits.checkpoints = 2;
    c_limits.rewind = 3;
    c_limits.window = window;
    c_limits.sinks = 2;
    thimble_session_plan plan = {};
    plan.struct_size = sizeof plan;
    RequireFine(thimble_plan(c.model(), &c_limits, nullptr, &plan));
    const Result<SessionPlan> sections = Session::Plan(loaded.config(), limits, {});
    RequireOk(sections.error());
    CHECK(plan.state == sections->state);
    CHECK(plan.cache == sections->cache);
    CHECK(plan.checkpoints == sections->checkpoints);
    CHECK(plan.history == sections->history);
    CHECK(plan.work == sections->work);
    CHECK(plan.total > sections->total());
  }
}

TEST_CASE("every sentence of the sample gets Hugging Face's label and probability through C") {
  CModel c(kIntent);
  thimble_limits limits = THIMBLE_LIMITS;
  limits.context = 128;
  limits.k = limits.v = THIMBLE_F32;
  thimble_session* session = c.Bind(&limits);
  thimble_choices* choices = nullptr;
  thimble_task* task = nullptr;
  RequireFine(thimble_bind_choices(c.model(), c.tokenizer(), nullptr, 0, c.room(), &choices));
  RequireFine(thimble_bind_task(c.model(), c.tokenizer(), session, nullptr, c.room(), &task));
  std::vector<float> p(thimble_choice_count(choices));
  std::ifstream in(THIMBLE_SOURCE_DIR "/tests/data/intent/sample.tsv");
  size_t seen = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#")) continue;
    const size_t first = line.find('\t');
    const size_t second = line.find('\t', first + 1);
    REQUIRE(second != line.npos);
    CAPTURE(line);
    RequireFine(thimble_classify(task, choices, line.data(), first, p.data()));
    const auto best = std::max_element(p.begin(), p.end());
    size_t bytes = 0;
    const char* label = thimble_label(task, static_cast<size_t>(best - p.begin()), &bytes);
    CHECK(std::string(label, bytes) == line.substr(first + 1, second - first - 1));
    CHECK(std::fabs(static_cast<double>(*best) - std::stod(line.substr(second + 1))) < 5e-6);
    ++seen;
  }
  CHECK(seen >= 150);
}

// As many threads as there are workers, from a counter that they share.
void RunOnThreads(void* context, size_t tasks, void (*task)(void* argument, size_t index, size_t worker),
                  void* argument) {
  auto* calls = static_cast<size_t*>(context);
  ++*calls;
  std::atomic<size_t> next = 0;
  const auto work = [&](size_t worker) {
    for (size_t i = next++; i < tasks; i = next++) task(argument, i, worker);
  };
  std::thread other(work, size_t{1});
  work(0);
  other.join();
}

TEST_CASE("threads of the caller give the same bits; fast kernels are those that C++ would choose") {
  CModel c(kIntent);
  thimble_limits limits = THIMBLE_LIMITS;
  limits.context = 32;
  const size_t vocab = thimble_vocab(c.model());
  thimble_session* alone = c.Bind(&limits);
  RequireFine(thimble_feed(alone, kPrompt.data(), kPrompt.size()));
  const std::vector<float> expected = LogitsOf(alone, vocab);

  size_t calls = 0;
  thimble_backend backend = THIMBLE_BACKEND;
  backend.workers = 2;
  backend.context = &calls;
  backend.run = RunOnThreads;
  thimble_session* threaded = c.Bind(&limits, &backend);
  RequireFine(thimble_feed(threaded, kPrompt.data(), kPrompt.size()));
  CHECK(LogitsOf(threaded, vocab) == expected);
  CHECK(calls > 10);

  const Kernels& best = SelectKernels(DescribeCpu());
  backend.kernels = thimble_fast_kernels();
  CHECK(backend.kernels == reinterpret_cast<const thimble_kernels*>(&best));
  const LoadedModel loaded(kIntent);
  Backend with;
  with.kernels = &best;
  HeapSession direct(loaded.model(), {.context = 32}, with);
  RequireOk(direct->Feed(kPrompt));
  thimble_session* fast = c.Bind(&limits, &backend);
  RequireFine(thimble_feed(fast, kPrompt.data(), kPrompt.size()));
  const std::span<const float> logits = direct->Logits();
  CHECK(LogitsOf(fast, vocab) == std::vector<float>(logits.begin(), logits.end()));
}

TEST_CASE("a file cut anywhere in its header is refused, with a text and without a trace") {
  const auto whole = test::MakeTinyQwen35();
  const HeapBlock file(whole.size());
  const HeapBlock memory(size_t{1} << 20);
  size_t refused = 0;
  for (size_t bytes = 0; bytes < whole.size(); bytes += bytes < 20000 ? 37 : 4099) {
    std::copy_n(whole.begin(), bytes, file.span().begin());
    thimble_memory room = THIMBLE_MEMORY(memory.span().data(), memory.span().size());
    thimble_model* model = nullptr;
    const thimble_error error = thimble_open(file.span().data(), bytes, &room, &model);
    CHECK(error.status != THIMBLE_OK);
    CHECK(model == nullptr);
    CHECK(room.used == 0);
    char text[200];
    CHECK(thimble_error_text(&error, text, sizeof text) >= std::strlen(error.what));
    ++refused;
  }
  CHECK(refused > 100);
}

TEST_CASE("a pack's tokenizer reads the index that the pack has; a GGUF has none") {
  const test::Source source(test::MakeTinyQwen35());
  const test::Bytes pack = test::MakePack(source.Order());
  const HeapBlock file(pack.size());
  std::copy(pack.begin(), pack.end(), file.span().begin());
  const HeapBlock memory(size_t{4} << 20);
  const char text[] = "some text, and 27 more";
  std::vector<thimble_token> tokens[2];
  size_t bytes[2] = {};
  for (const bool packed : {false, true}) {
    const std::span<const std::byte> whole = packed ? file.span() : source.parts[0];
    thimble_memory room = THIMBLE_MEMORY(memory.span().data(), memory.span().size());
    thimble_model* model = nullptr;
    thimble_tokenizer* tokenizer = nullptr;
    RequireFine(thimble_open(whole.data(), whole.size(), &room, &model));
    const size_t before = room.used;
    const thimble_error indexed = thimble_bind_indexed_tokenizer(model, 64, &room, &tokenizer);
    CHECK(indexed.status == (packed ? THIMBLE_OK : THIMBLE_NOT_FOUND));
    if (!packed) RequireFine(thimble_bind_tokenizer(model, 64, &room, &tokenizer));
    bytes[packed] = room.used - before;
    tokens[packed].resize(64);
    size_t count = 0;
    RequireFine(thimble_encode(tokenizer, text, sizeof text - 1, 0, tokens[packed].data(), 64, &count));
    tokens[packed].resize(count);
  }
  CHECK(tokens[0].size() > 1);
  CHECK(tokens[0] == tokens[1]);
  CHECK(bytes[1] < bytes[0]);
}

TEST_CASE("a model without a task of its own is asked with the caller's prompt and choices") {
  const auto whole = test::MakeTinyQwen35();
  const HeapBlock file(whole.size());
  std::copy(whole.begin(), whole.end(), file.span().begin());
  const HeapBlock memory(size_t{8} << 20);
  thimble_memory room = THIMBLE_MEMORY(memory.span().data(), memory.span().size());
  thimble_model* model = nullptr;
  thimble_tokenizer* tokenizer = nullptr;
  thimble_session* session = nullptr;
  thimble_choices* choices = nullptr;
  thimble_task* task = nullptr;
  RequireFine(thimble_open(file.span().data(), whole.size(), &room, &model));
  RequireFine(thimble_bind_tokenizer(model, 200, &room, &tokenizer));
  CHECK(thimble_bind_choices(model, tokenizer, nullptr, 0, &room, &choices).status == THIMBLE_NOT_FOUND);
  const char* const texts[] = {"ab", "c", "a"};
  RequireFine(thimble_bind_choices(model, tokenizer, texts, 3, &room, &choices));
  thimble_limits limits = THIMBLE_LIMITS;
  limits.context = 64;
  limits.checkpoints = thimble_checkpoints(choices);
  RequireFine(thimble_bind_session(model, &limits, nullptr, &room, &session));
  CHECK(thimble_bind_task(model, tokenizer, session, nullptr, &room, &task).status == THIMBLE_NOT_FOUND);
  RequireFine(thimble_bind_task(model, tokenizer, session, "Is {text} it?", &room, &task));
  float p[3] = {};
  RequireFine(thimble_classify(task, choices, "this", 4, p));
  CHECK(std::fabs(static_cast<double>(p[0]) + static_cast<double>(p[1]) + static_cast<double>(p[2]) - 1) < 1e-6);
  size_t bytes = 0;
  CHECK(thimble_label(task, 0, &bytes) == nullptr);
  CHECK(thimble_threshold(task) == 0.0f);
}

}  // namespace
}  // namespace thimble
