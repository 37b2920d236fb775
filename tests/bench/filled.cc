// SPDX-License-Identifier: Apache-2.0
//
// Contexts that are nearly full. `make` feeds TRUE tokens and keeps an image of TOKENS: where that is more, the rows of
// its cache are those of the tokens fed, again and again. Such rows are plausible, they are not what the model would
// have put there; memory and time do not know the difference. `go` takes an image back in a session of CONTEXT tokens
// and decodes N more, one after another, or with N = 0 feeds until the context is full and must then be refused.
// `check` does all of it in small with nothing repeated, and compares with a session that was truly fed.
//
//   filled make  MODEL IMAGE TOKENS TRUE CACHE THREADS     CACHE: f32, f16, q8, q4, or q4,q3: keys, values
//   filled go    MODEL IMAGE CONTEXT N CACHE THREADS       IMAGE `-`: nothing
//   filled check MODEL IMAGE                               IMAGE is written and taken away
//
// Prints JSON, an object for every step.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "arm/kernel_tables.h"
#include "arm/thread_pool.h"
#include "io/load_qwen35.h"
#include "io/mapped_file.h"
#include "io/snapshot_file.h"
#include "io/whole_file.h"
#include "tests/bench/need.h"

namespace {

using namespace thimble;

constexpr uint32_t kBatch = 64;
constexpr size_t kSteps = 32;  // of a filling, the last tokens, decoded one by one

Type TypeNamed(const std::string& name) {
  if (name == "f32") return Type::kF32;
  if (name == "f16") return Type::kF16;
  if (name == "q8") return Type::kQ8_0;
  if (name == "q3") return Type::kNL3;
  if (name != "q4") Fail({Status::kBadArgument, "no such cache", name});
  return Type::kIQ4_NL;
}

Limits LimitsOf(size_t context, const std::string& cache) {
  const size_t comma = cache.find(',');
  return {.context = static_cast<uint32_t>(context),
          .batch = static_cast<uint32_t>(std::min<size_t>(kBatch, context)),
          .k = TypeNamed(cache.substr(0, comma)),
          .v = TypeNamed(comma == std::string::npos ? cache : cache.substr(comma + 1))};
}

// Fresh pages from the system, which has none to spare for what is not touched.
Arena Memory(size_t bytes) {
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) Fail({Status::kTooLarge, "the machine does not have this many bytes", {}, {}, bytes});
  return Arena({static_cast<std::byte*>(base), bytes});
}

class Loaded {
 public:
  Loaded(const char* path, size_t threads) : pool_(threads) {
    Need(mapped_.Open(path));
    const Result<Gguf> file = Gguf::Open(mapped_.parts());
    Need(file.error());
    fingerprint_ = ModelFingerprint(*file, mapped_.parts());
    Arena measure;
    Need(LoadQwen35(*file, measure).error());
    Arena arena = Memory(measure.used());
    const Result<Model> model = LoadQwen35(*file, arena);
    Need(model.error());
    model_ = *model;
    backend_.kernels = &SelectKernels(DescribeCpu());
    backend_.workers = backend_.step_workers = pool_.workers();
  }

  void Bind(Session& session, const Limits& limits) const {
    const Result<SessionPlan> plan = Session::Plan(model_.config, limits, backend_);
    Need(plan.error());
    Arena arena = Memory(plan->total());
    Need(session.Bind(model_, limits, backend_, arena));
  }

  Conversed Of(Session& session) const { return {fingerprint_, &session}; }
  Token TokenAt(size_t i) const { return static_cast<Token>(i * 7919 % model_.config.vocab_size); }

 private:
  MappedModel mapped_;
  ThreadPool pool_;
  Model model_;
  Backend backend_;
  uint64_t fingerprint_ = 0;
};

class Watch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

// A line of what the process has taken so far, behind `what`.
void Show(const std::string& what) {
  std::string memory;
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    unsigned long long kilobytes;
    if ((word == "RssAnon:" || word == "RssFile:" || word == "VmHWM:") && status >> kilobytes) {
      memory += ", \"" + word.substr(0, word.size() - 1) + "_MB\": " + std::to_string(kilobytes * 1024 / 1000000);
    }
  }
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  std::printf("{%s%s, \"cpu_seconds\": %.1f, \"major_faults\": %ld}\n", what.c_str(), memory.c_str(),
              seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_majflt);
  std::fflush(stdout);
}

std::string Field(const char* name, double value, int digits = 1) {
  char text[100];
  std::snprintf(text, sizeof text, "\"%s\": %.*f", name, digits, value);
  return text;
}

// Feeds until `length` tokens are in the session.
void FeedTo(const Loaded& loaded, Session& session, size_t length) {
  std::vector<Token> tokens;
  while (session.length() < length) {
    tokens.clear();
    for (size_t i = session.length(); i < length && tokens.size() < kBatch; ++i) tokens.push_back(loaded.TokenAt(i));
    Need(session.Feed(tokens));
  }
}

// Feeds up to `count` tokens one by one and computes the best token behind each. Tokens per second of all but the
// first, which finds out how fast nothing is.
double Decode(const Loaded& loaded, Session& session, size_t count) {
  std::optional<Watch> watch;
  for (size_t i = 0; i < count; ++i) {
    const Token token = loaded.TokenAt(session.length());
    Need(session.Feed({&token, 1}));
    if (session.Best() < 0) Fail({Status::kBadFile, "a logit is no number"});
    if (!watch) watch.emplace();
  }
  return static_cast<double>(count - 1) / watch->seconds();
}

// An image of `tokens` tokens from a session that was fed fewer, or as many. The state begins with their number, the
// position that follows and their chain.
void WriteImage(const Loaded& loaded, const Conversed& of, size_t tokens, const char* path) {
  SnapshotHeader header = of.session->Describe();
  const auto fed = static_cast<size_t>(header.length);
  header.length = header.rows = tokens;
  header.chain = 0;
  for (size_t i = 0; i < tokens; ++i) header.chain = Session::NextChain(header.chain, loaded.TokenAt(i % fed));
  SnapshotFront front = FrontOf(of);
  front.session_bytes = sizeof header + header.state_bytes + header.rows * header.token_bytes;
  const std::byte zeros[SnapshotFront::kAlign] = {};
  const size_t fill = static_cast<size_t>(-front.session_bytes % SnapshotFront::kAlign);
  front.bytes = sizeof front + front.session_bytes + fill + sizeof(Hash().digest());

  WholeFile file;
  Need(file.Create(path, front.bytes));
  Hash hash;
  uint64_t at = 0;
  const auto write = [&](std::span<const std::byte> bytes) {
    Need(file.WriteAt(bytes, at));
    at += bytes.size();
  };
  const auto add = [&](std::span<const std::byte> bytes) {
    hash.Add(bytes);
    write(bytes);
  };
  add(std::as_bytes(std::span(&front, 1)));
  add(std::as_bytes(std::span(&header, 1)));
  bool state = true;
  of.session->ForEachPiece([&](std::span<const std::byte> piece) {
    if (state) {
      const uint64_t own[] = {fed, fed, of.session->chain()}, other[] = {tokens, tokens, header.chain};
      if (std::memcmp(piece.data(), own, sizeof own) != 0) Fail({Status::kUnsupported, "the state begins otherwise"});
      add(std::as_bytes(std::span(other)));
      add(piece.subspan(sizeof other));
      state = false;
      return;
    }
    const size_t row = piece.size() / fed;
    for (size_t done = 0; done < tokens; done += fed) add(piece.first(std::min(fed, tokens - done) * row));
  });
  add(std::span(zeros).first(fill));
  const std::array<uint64_t, 2> sum = hash.digest();
  write(std::as_bytes(std::span(sum)));
  Need(file.Commit());
}

int Make(char** argv) {
  const size_t tokens = std::strtoul(argv[4], nullptr, 10), fed = std::strtoul(argv[5], nullptr, 10);
  if (fed == 0 || fed > tokens) Fail({Status::kBadArgument, "TRUE must be between 1 and TOKENS"});
  const Loaded loaded(argv[2], std::strtoul(argv[7], nullptr, 10));
  Session session;
  loaded.Bind(session, LimitsOf(fed, argv[6]));
  const Watch watch;
  FeedTo(loaded, session, fed);
  Show(Field("fed", static_cast<double>(fed), 0) + ", " + Field("seconds", watch.seconds()));
  WriteImage(loaded, loaded.Of(session), tokens, argv[3]);
  Show(Field("kept", static_cast<double>(tokens), 0));
  return 0;
}

// What is read once, from a file that was just taken back, need not stay in the page cache.
void Forget(const char* path) {
  const int file = open(path, O_RDONLY);
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  close(file);
}

void NeedFull(const Loaded& loaded, Session& session) {
  const Token token = loaded.TokenAt(session.length());
  const Error error = session.Feed({&token, 1});
  if (error.status != Status::kFull || error.at != session.limits().context || session.room() != 0) {
    Fail({Status::kBadArgument, "the context should be full"});
  }
  for (const float logit : session.Logits()) {
    if (!std::isfinite(logit)) Fail({Status::kBadFile, "a logit is no number"});
  }
}

int Go(char** argv) {
  const size_t context = std::strtoul(argv[4], nullptr, 10), count = std::strtoul(argv[5], nullptr, 10);
  const Loaded loaded(argv[2], std::strtoul(argv[7], nullptr, 10));
  Session session;
  loaded.Bind(session, LimitsOf(context, argv[6]));
  if (std::strcmp(argv[3], "-") != 0) {
    const Watch watch;
    Need(RestoreSnapshot(argv[3], loaded.Of(session)));
    const double seconds = watch.seconds();
    Forget(argv[3]);
    Show(Field("restored", static_cast<double>(session.length()), 0) + ", " + Field("ms", 1e3 * seconds));
  }
  const Token token = loaded.TokenAt(session.length());
  Need(session.Feed({&token, 1}));
  session.Best();
  Show(Field("one_token_later", static_cast<double>(session.length()), 0));  // all weights have been read
  if (count == 0) FeedTo(loaded, session, context - std::min(context, kSteps));
  const size_t depth = session.length();
  const double rate = Decode(loaded, session, count == 0 ? session.room() : count);
  if (count == 0) NeedFull(loaded, session);
  Show(Field("depth", static_cast<double>(depth), 0) + ", " +
       Field("tokens", static_cast<double>(session.length()), 0) + ", \"full\": " + (count == 0 ? "true" : "false") +
       ", " + Field("decode_tps", rate, 3));
  return 0;
}

int Check(char** argv) {
  constexpr size_t kContext = 600, kKept = 519;
  const Loaded loaded(argv[2], 1);
  for (const char* cache : {"f16", "q8", "q4", "q4,q3"}) {
    Session fed, restored;
    loaded.Bind(fed, LimitsOf(kContext, cache));
    loaded.Bind(restored, LimitsOf(kContext, cache));
    FeedTo(loaded, fed, kKept);
    WriteImage(loaded, loaded.Of(fed), kKept, argv[3]);
    Need(RestoreSnapshot(argv[3], loaded.Of(restored)));
    unlink(argv[3]);
    while (fed.room() != 0) {
      const size_t next = fed.length() + (fed.length() < kContext - kSteps ? kBatch / 2 : 1);
      FeedTo(loaded, fed, std::min(next, kContext));
      FeedTo(loaded, restored, std::min(next, kContext));
      const std::span<const float> ours = fed.Logits(), theirs = restored.Logits();
      if (std::memcmp(ours.data(), theirs.data(), ours.size_bytes()) != 0) {
        Fail({Status::kBadFile, "other logits than those of a session that was truly fed", cache, {}, fed.length()});
      }
    }
    NeedFull(loaded, restored);
  }
  std::printf("the same bits to the last token\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  if (verb == "make" && argc == 8) return Make(argv);
  if (verb == "go" && argc == 8) return Go(argv);
  if (verb == "check" && argc == 4) return Check(argv);
  std::fprintf(stderr,
               "filled make MODEL IMAGE TOKENS TRUE CACHE THREADS\nfilled go MODEL IMAGE CONTEXT N CACHE THREADS\n"
               "filled check MODEL IMAGE\n");
  return 2;
}
