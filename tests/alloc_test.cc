// SPDX-License-Identifier: Apache-2.0
//
// Nothing is taken after Bind: no heap call, no mapping, no growth of the address space, over tokenizing, prefill, 200
// decoded tokens with sampling and streaming, checkpoints, snapshots in memory and to a file, and classification with
// one and with several tokens a choice.
#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "arm/kernel_tables.h"
#include "arm/thread_pool.h"
#include "core/choices.h"
#include "core/sampler.h"
#include "io/chat.h"
#include "io/snapshot_file.h"
#include "io/stop_matcher.h"
#include "io/stream_decoder.h"
#include "io/task.h"
#include "io/tokenizer.h"
#include "tests/alloc_counter.h"
#include "tests/load_model.h"

namespace thimble {
namespace {

constexpr size_t kMaxText = 2048;

// All that a conversation and a classification need, in one arena.
struct Bound {
  Tokenizer tokenizer;
  StreamDecoder decoder;
  StopMatcher matcher;
  Sampler sampler;
  Choices choices;
  Session session;
};

#ifdef THIMBLE_ALLOC_COUNTER
TEST_CASE("after Bind nothing is taken, with one thread and with two") {
  const LoadedModel loaded(THIMBLE_SOURCE_DIR "/tests/data/model/tied.gguf");
  const size_t vocab = loaded.config().vocab_size;
  const std::string_view stops[] = {"never said", "neither"};
  const std::vector<Token> answers[] = {{1, 2}, {1, 3, 4}, {5}, {1}};
  const std::span<const Token> choices[] = {answers[0], answers[1], answers[2], answers[3]};
  const Limits plain{.context = 300, .batch = 16, .k = Type::kF16, .v = Type::kF16, .checkpoints = 2};
  Limits windowed = plain;
  windowed.window = 37;
  windowed.rewind = 3;
  for (const size_t threads : {size_t{1}, size_t{2}, size_t{3}}) {
    CAPTURE(threads);
    const Limits& limits = threads == 2 ? windowed : plain;
    const ThreadPool pool(threads);
    Backend backend;
    backend.kernels = &SelectKernels(DescribeCpu());
    backend.workers = backend.step_workers = pool.workers();
    ParallelFor(backend.workers, 64, [](size_t, size_t) {});  // the threads have started when this returns

    Bound bound;
    const auto layout = [&](Arena& arena) {
      const Result<Tokenizer> tokenizer = Tokenizer::Bind(loaded.file(), kMaxText, arena);
      RequireOk(tokenizer.error());
      bound.tokenizer = *tokenizer;
      const Result<StreamDecoder> decoder = StreamDecoder::Bind(bound.tokenizer, arena);
      RequireOk(decoder.error());
      bound.decoder = *decoder;
      RequireOk(bound.matcher.Bind(stops, arena));
      RequireOk(bound.sampler.Bind({.top_k = 20, .top_p = 0.9f, .presence_penalty = 1.0f, .seed = 1}, vocab, arena));
      RequireOk(bound.choices.Bind(choices, 0, vocab, arena));
      RequireOk(bound.session.Bind(loaded.model(), limits, backend, arena));
    };
    Arena measure;
    layout(measure);
    const HeapBlock memory(measure.used());
    Arena arena(memory.span());
    layout(arena);
    std::vector<char> scratch(kMaxText);
    std::vector<Token> tokens(limits.context);
    std::vector<float> log_p(bound.choices.size());
    const Conversed whole = {1, &bound.session, &bound.sampler};
    const std::string path = std::filesystem::temp_directory_path() / ("thimble-alloc." + std::to_string(getpid()));
    std::vector<std::byte> snapshot(size_t{1} << 20);

    const Allocations before = CountAllocations();
    const Message message{.content = "Which of these is a colour: red, two, or never? Say it in one word."};
    const Result<size_t> count =
        RenderTokens(BuiltinTemplate(), {.messages = {&message, 1}}, bound.tokenizer, scratch, tokens);
    bool fine = bool{count} && bound.session.Feed({tokens.data(), *count}).ok();
    bound.session.Keep(0);
    size_t generated = 0;
    size_t shown = 0;
    for (; fine && generated < 200 && bound.session.room() > 0; ++generated) {
      const Result<Token> next = bound.session.Next(bound.sampler);
      fine = bool{next};
      shown += bound.matcher.Push(bound.decoder.Push(*next)).piece.size();
    }
    fine = fine && bound.session.Rewind(bound.session.rewindable()).ok();
    fine = fine && SaveSnapshot(whole, path.c_str()).ok() && WriteSnapshot(whole, snapshot).ok() &&
           ReadSnapshot({snapshot.data(), SnapshotBytes(whole)}, whole).ok();
    bound.session.Recall(0);
    fine = fine && bound.choices.Score(bound.session, log_p, 1).ok();
    const Result<size_t> line =
        EncodePrompt("<|im_start|>{text}<|im_end|>", "an ordinary line", bound.tokenizer, scratch, tokens);
    bound.session.Reset();
    fine = fine && line && bound.session.Feed({tokens.data(), *line}).ok() &&
           bound.choices.Score(bound.session, log_p).ok();
    const Allocations after = CountAllocations();

    CHECK(fine);
    CHECK(std::filesystem::remove(path));
    CHECK(generated == 200);
    CHECK(shown > 0);
    CHECK(after.heap == before.heap);
    CHECK(after.mappings == before.mappings);
    CHECK(after.pages == before.pages);
  }
}
#endif

}  // namespace
}  // namespace thimble
