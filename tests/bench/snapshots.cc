// SPDX-License-Identifier: Apache-2.0
//
// What snapshots cost on a real shape: bytes, saving to a file that is on the disk when it returns, restoring from one
// that lies in the page cache, in memory that was never touched and again, against feeding the tokens; a label behind
// the tokens, fed or restored: twelve more of a text, and the logits of ten answers; and the model's fingerprint, with
// its file in the page cache and without. Medians of nine, of five where all tokens are fed.
//
//   snapshots MODEL FILE [TOKENS]      FILE is written and taken away; 500 tokens by default
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "arm/kernel_tables.h"
#include "arm/thread_pool.h"
#include "io/load_qwen35.h"
#include "io/mapped_file.h"
#include "io/snapshot_file.h"
#include "tests/bench/need.h"

namespace {

using namespace thimble;

constexpr size_t kRounds = 9;
constexpr size_t kFeedRounds = 5;
constexpr size_t kText = 12;
constexpr size_t kAnswers = 10;

// Fresh pages from the system.
Arena Memory(size_t bytes) {
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) Need({Status::kSystem, "no memory"});
  return Arena({static_cast<std::byte*>(base), bytes});
}

template <class F>
double Milliseconds(F f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

template <class F>
double Median(F f, size_t rounds = kRounds) {
  std::vector<double> times(rounds);
  for (double& time : times) time = f();
  std::sort(times.begin(), times.end());
  return times[rounds / 2];
}

// Opens the model anew, so that no page is mapped yet.
double FingerprintTime(const char* path, bool cached) {
  if (!cached) {
    const int file = open(path, O_RDONLY);
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    close(file);
  }
  MappedModel mapped;
  Need(mapped.Open(path));
  const Result<Gguf> file = Gguf::Open(mapped.parts());
  Need(file.error());
  return Milliseconds([&] { ModelFingerprint(*file, mapped.parts()); });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: snapshots MODEL FILE [TOKENS]\n");
    return 2;
  }
  const size_t n = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 500;
  const double cold = FingerprintTime(argv[1], false);
  FingerprintTime(argv[1], true);
  const double warm = Median([&] { return FingerprintTime(argv[1], true); });

  MappedModel mapped;
  Need(mapped.Open(argv[1]));
  const Result<Gguf> file = Gguf::Open(mapped.parts());
  Need(file.error());
  Arena measure;
  Need(LoadQwen35(*file, measure).error());
  Arena tables = Memory(measure.used());
  const Result<Model> model = LoadQwen35(*file, tables);
  Need(model.error());
  const ThreadPool pool(2);
  Backend backend;
  backend.kernels = &SelectKernels(DescribeCpu());
  backend.workers = backend.step_workers = pool.workers();
  const Limits limits{.context = static_cast<uint32_t>(n + 64), .batch = 64, .k = Type::kF16, .v = Type::kF16};
  const size_t vocab = model->config.vocab_size;
  const Result<SessionPlan> plan = Session::Plan(model->config, limits, backend);
  Need(plan.error());
  Session kept;
  Arena arena = Memory(plan->total());
  Need(kept.Bind(*model, limits, backend, arena));
  std::vector<Token> tokens(n);
  for (size_t i = 0; i < n; ++i) tokens[i] = static_cast<Token>(i * 7919 % vocab);
  const double feed = Milliseconds([&] { Need(kept.Feed(tokens)); });
  const std::span<const float> logits = kept.Logits();

  const Conversed of = {ModelFingerprint(*file, mapped.parts()), &kept};
  std::vector<std::byte> copy(SnapshotBytes(of));
  const double copied = Median([&] { return Milliseconds([&] { Need(WriteSnapshot(of, copy)); }); });
  const double saved = Median([&] { return Milliseconds([&] { Need(SaveSnapshot(of, argv[2])); }); });
  const double proven = Median([&] { return Milliseconds([&] { Need(ExamineSnapshot(copy).error()); }); });
  const auto restore = [&](Session& session) {
    const Conversed into = {of.model, &session};
    const double time = Milliseconds([&] { Need(RestoreSnapshot(argv[2], into)); });
    const std::span<const float> again = session.Logits();
    if (std::memcmp(again.data(), logits.data(), logits.size_bytes()) != 0) Need({Status::kBadFile, "other logits"});
    return time;
  };
  Session sessions[kRounds];
  size_t next = 0;
  const double first = Median([&] {
    Session& session = sessions[next++];
    Arena fresh = Memory(plan->total());
    Need(session.Bind(*model, limits, backend, fresh));
    return restore(session);
  });
  const double again = Median([&] { return restore(sessions[0]); });

  // The question and the text are fed apart, as classify does behind a directory of snapshots.
  const std::span<const Token> text = std::span(tokens).first(kText), answers = std::span(tokens).last(kAnswers);
  const auto label = [&](Session& session, float* scores) {
    Need(session.Feed(text));
    session.Scores(answers, scores);
  };
  float of_fed[kAnswers], of_restored[kAnswers];
  const double fed = Median(
      [&] {
        kept.Reset();
        return Milliseconds([&] {
          Need(kept.Feed(tokens));
          label(kept, of_fed);
        });
      },
      kFeedRounds);
  next = 0;
  const double restored = Median([&] {
    Session& session = sessions[next++];
    Arena fresh = Memory(plan->total());
    Need(session.Bind(*model, limits, backend, fresh));
    const double time = Milliseconds([&] {
      Need(RestoreSnapshot(argv[2], {of.model, &session}));
      label(session, of_restored);
    });
    if (std::memcmp(of_fed, of_restored, sizeof of_fed) != 0) Need({Status::kBadFile, "other scores"});
    return time;
  });
  unlink(argv[2]);

  std::printf("tokens %zu, snapshot %.2f MB; feeding them %.0f ms\n", n, static_cast<double>(copy.size()) / 1e6, feed);
  std::printf("to memory %.2f ms, to a file on the disk %.2f ms\n", copied, saved);
  std::printf("restored from a file: %.2f ms, again %.2f ms, of which to prove it %.2f ms\n", first, again, proven);
  std::printf("label behind them: fed %.0f ms, restored %.1f ms: %.1f times less\n", fed, restored, fed / restored);
  std::printf("fingerprint of the model %.2f ms, out of the page cache %.2f ms\n", warm, cold);
  return 0;
}
