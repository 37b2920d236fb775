// SPDX-License-Identifier: Apache-2.0
//
// Rewind: what is taken back was never there, to the bit: against fresh sessions that were fed the rest, for every
// number of tokens, across calls, in every kind of cache, in a window that wraps, with states in floats and in 16 bits.
#include <doctest/doctest.h>

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "arm/cpu.h"
#include "arm/kernel_tables.h"
#include "arm/thread_pool.h"
#include "tests/conversation.h"

namespace thimble {
namespace {

constexpr uint32_t kRewind = 6;

struct Case {
  const char* name;
  Limits limits;
};
const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      {"whole", {.context = 400, .batch = 7, .k = Type::kF32, .v = Type::kF32, .rewind = kRewind}},
      {"whole, wide", {.context = 400, .batch = 50, .rewind = kRewind}},
      {"16 bits", {.context = 400, .batch = 20, .state = StateForm::kI16, .rewind = kRewind}},
      {"window", {.batch = 5, .k = Type::kF32, .v = Type::kF32, .rewind = kRewind, .window = 19, .sinks = 3}},
      {"window, 16 bits", {.batch = 50, .state = StateForm::kI16, .rewind = kRewind, .window = 23, .sinks = 1}},
      {"window, 4 bits",
       {.batch = 5, .k = Type::kIQ4_NL, .v = Type::kIQ4_NL, .rewind = kRewind, .window = 19, .sinks = 3}},
      {"window of 1", {.batch = 1, .rewind = kRewind, .window = 1, .sinks = 0}},
  };
  return cases;
}

Limits Without(Limits limits) {
  limits.rewind = 0;
  return limits;
}

// Feeds a session that cannot rewind as one that can does it.
void FeedAsIf(Session& session, std::span<const Token> tokens) {
  const size_t together = tokens.size() - std::min<size_t>(kRewind, tokens.size());
  RequireOk(session.Feed(tokens.first(together)));
  for (size_t t = together; t < tokens.size(); ++t) RequireOk(session.Feed(tokens.subspan(t, 1)));
}

const std::vector<std::vector<size_t>>& Calls() {
  static const std::vector<std::vector<size_t>> calls = {
      {1}, {4}, {6}, {7}, {70}, {3, 1}, {30, 1, 1}, {2, 2, 2, 2}, {40, 3, 25, 2, 1}, {9, 64, 5}};
  return calls;
}

TEST_CASE("any number of tokens taken back, across calls: as if the rest alone had been fed") {
  const LoadedModel& model = DataModel("irregular");
  const std::vector<Token> tokens = Tokens(200, model.config().vocab_size);
  const std::vector<Token> others = Tokens(13, model.config().vocab_size, 9);
  for (const Case& c : Cases()) {
    for (const std::vector<size_t>& calls : Calls()) {
      size_t total = 0;
      for (const size_t call : calls) total += call;
      const size_t most = std::min<size_t>(total, kRewind);
      for (size_t n = 0; n <= most; ++n) {
        CAPTURE(c.name);
        CAPTURE(total);
        CAPTURE(n);
        HeapSession session(model.model(), c.limits), fresh(model.model(), Without(c.limits));
        size_t fed = 0;
        for (const size_t call : calls) {
          RequireOk(session->Feed(std::span(tokens).subspan(fed, call)));
          // Of each call those that stay, as if the whole call had come.
          const size_t end = std::min(fed + call, total - n);
          const size_t together = fed + call - std::min<size_t>(kRewind, call);
          if (fed < end) RequireOk(fresh->Feed(std::span(tokens).subspan(fed, std::min(together, end) - fed)));
          for (size_t t = together; t < end; ++t) RequireOk(fresh->Feed({&tokens[t], 1}));
          fed += call;
        }
        CHECK(session->rewindable() == most);
        RequireOk(session->Rewind(n));
        CHECK(session->rewindable() == most - n);
        CHECK(session->length() == total - n);
        CHECK(session->chain() == fresh->chain());
        if (total > n) CHECK(SameBits(session->Logits(), fresh->Logits()));
        for (const size_t more : {size_t{1}, size_t{12}}) {
          RequireOk(session->Feed(std::span(others).first(more)));
          FeedAsIf(*fresh, std::span(others).first(more));
          CHECK(SameBits(session->Logits(), fresh->Logits()));
        }
      }
    }
  }
}

TEST_CASE("drafts of a few tokens, some of them taken back, again and again, with any kernels and threads") {
  const LoadedModel& model = DataModel("irregular");
  const size_t vocab = model.config().vocab_size;
  const std::vector<Token> tokens = Tokens(300, vocab);
  const ThreadPool pool(3);
  Backend fast;
  fast.kernels = &SelectKernels(DescribeCpu());
  fast.workers = fast.step_workers = pool.workers();
  for (const Case& c : Cases()) {
    CAPTURE(c.name);
    HeapSession session(model.model(), c.limits), straight(model.model(), c.limits);
    HeapSession steps(model.model(), c.limits, fast), straight_steps(model.model(), c.limits, fast);
    const std::span<const Token> all(tokens);
    for (HeapSession* s : {&session, &straight, &steps, &straight_steps}) RequireOk((*s)->Feed(all.first(33)));
    size_t at = 33;
    for (size_t round = 0; round < 25; ++round) {
      const size_t draft = 1 + round % kRewind;
      const size_t kept = round % (draft + 1);
      RequireOk(session->Feed(all.subspan(at, draft)));
      RequireOk(session->Rewind(draft - kept));
      if (kept > 0) RequireOk(straight->Feed(all.subspan(at, kept)));
      CHECK(SameBits(session->Logits(), straight->Logits()));
      for (size_t i = 0; i < draft; ++i) RequireOk(steps->Feed(all.subspan(at + i, 1)));
      for (size_t i = kept; i < draft; ++i) RequireOk(steps->Rewind(1));
      for (size_t i = 0; i < kept; ++i) RequireOk(straight_steps->Feed(all.subspan(at + i, 1)));
      CHECK(SameBits(steps->Logits(), straight_steps->Logits()));
      at += kept;
    }
    std::vector<float> ahead(20 * vocab), straight_ahead(20 * vocab);
    RequireOk(session->Feed(all.subspan(at, 20), ahead));
    RequireOk(straight->Feed(all.subspan(at, 20), straight_ahead));
    CHECK(SameBits(ahead, straight_ahead));
  }
}

TEST_CASE("tokens at positions of their own are taken back with them") {
  const LoadedModel& model = DataModel("tied");
  const std::vector<Token> tokens = Tokens(30, model.config().vocab_size);
  std::vector<Position> positions;
  for (int64_t i = 0; i < 30; ++i) positions.push_back({10 * i, 10 * i + 3, 10 * i + 1});
  for (const Limits& limits :
       {Limits{.context = 100, .rewind = kRewind}, Limits{.batch = 8, .rewind = kRewind, .window = 9}}) {
    HeapSession session(model.model(), limits), straight(model.model(), limits);
    const auto feed = [&](Session& s, size_t begin, size_t n) {
      RequireOk(s.Feed(std::span(tokens).subspan(begin, n), {}, std::span(positions).subspan(begin, n)));
    };
    feed(*session, 0, 20);
    feed(*straight, 0, 20);
    feed(*session, 20, 5);
    RequireOk(session->Rewind(3));
    feed(*straight, 20, 2);
    for (Session* s : {&*session, &*straight}) RequireOk(s->Feed(std::span(tokens).first(4)));  // a text goes on
    CHECK(session->chain() == straight->chain());
    CHECK(SameBits(session->Logits(), straight->Logits()));
  }
}

TEST_CASE("what cannot be taken back is refused with the number that can, and changes nothing") {
  const LoadedModel& model = DataModel("irregular");
  Limits limits{.context = 100, .batch = 8, .checkpoints = 1, .rewind = 4};
  HeapSession session(model.model(), limits);
  const std::vector<Token> tokens = Tokens(60, model.config().vocab_size);
  const auto refuse = [&](size_t n, size_t possible) {
    const std::vector<float> before(session->Logits().begin(), session->Logits().end());
    const size_t length = session->length();
    const Error error = session->Rewind(n);
    CHECK(error.status == Status::kBadArgument);
    CHECK(error.at == possible);
    CHECK(session->rewindable() == possible);
    CHECK(session->length() == length);
    CHECK(SameBits(session->Logits(), before));
  };
  CHECK(session->rewindable() == 0);
  RequireOk(session->Rewind(0));
  RequireOk(session->Feed(std::span(tokens).first(3)));
  refuse(4, 3);
  RequireOk(session->Feed(std::span(tokens).first(20)));
  refuse(5, 4);
  refuse(SIZE_MAX, 4);
  RequireOk(session->Rewind(3));
  refuse(2, 1);
  RequireOk(session->Feed(std::span(tokens).first(2)));
  refuse(4, 3);

  std::vector<std::byte> image(session->image_bytes());
  session->Save(image);
  session->Keep(0);
  RequireOk(session->Feed(std::span(tokens).first(2)));
  session->Recall(0);
  refuse(1, 0);
  RequireOk(session->Feed(std::span(tokens).first(2)));
  refuse(3, 2);
  RequireOk(session->Restore(image));
  refuse(1, 0);
  HeapSession forked(model.model(), limits);
  RequireOk(forked->Feed(std::span(tokens).first(9)));
  RequireOk(forked->Fork(*session));
  CHECK(forked->rewindable() == 0);
  session->Reset();
  CHECK(session->rewindable() == 0);
}

TEST_CASE("an image made after a Rewind in a ring that wrapped is the session's own") {
  const LoadedModel& model = DataModel("irregular");
  const std::vector<Token> tokens = Tokens(130, model.config().vocab_size);
  for (const Case& c : Cases()) {
    HeapSession session(model.model(), c.limits), other(model.model(), c.limits);
    RequireOk(session->Feed(std::span(tokens).first(101)));
    RequireOk(session->Rewind(4));
    std::vector<std::byte> image(session->image_bytes());
    session->Save(image);
    RequireOk(other->Restore(image));
    for (HeapSession* s : {&session, &other}) RequireOk((*s)->Feed(std::span(tokens).last(29)));
    CHECK(SameBits(session->Logits(), other->Logits()));
  }
}

TEST_CASE("every part of what Rewind needs is in the plan" * doctest::test_suite("starve")) {
  const LoadedModel& model = DataModel("irregular");
  for (const Case& c : Cases()) {
    const Result<SessionPlan> plan = Session::Plan(model.config(), c.limits, {});
    RequireOk(plan.error());
    CHECK(plan->history == kRewind * plan->state);
    const HeapBlock memory(plan->total());
    for (size_t bytes = 0; bytes < plan->total(); bytes += Arena::kAlign) {
      Session session;
      Arena arena(memory.span().first(bytes));
      const Error error = session.Bind(model.model(), c.limits, {}, arena);
      REQUIRE(error.status == Status::kTooSmall);
      REQUIRE(error.at == plan->total());
    }
  }
}

}  // namespace
}  // namespace thimble
