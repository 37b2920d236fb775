// SPDX-License-Identifier: Apache-2.0
//
// The intent model of the firmware with the portable kernels, from its bytes: a hash of all the logits behind a fixed
// sequence of tokens, for several limits. A board must print what this machine prints (same_bits.sh). In each run the
// session is kept in an image half way, taken back from it, and must go on as before. The stack that all of this has
// used stands beside the hash.
#include <array>
#include <cstdint>
#include <span>

#include "core/session.h"
#include "io/gguf.h"
#include "io/load_qwen35.h"
#include "tests/target/check.h"
#include "tests/target/memory.h"

namespace thimble {
namespace {

struct Case {
  const char* name;
  Limits limits;
};

constexpr Case kCases[] = {
    {"least", {.context = 40, .batch = 2, .k = Type::kQ8_0, .v = Type::kQ8_0, .state = StateForm::kI16}},
    {"exact", {.context = 40, .batch = 16, .k = Type::kF32, .v = Type::kF32}},
    {"window", {.batch = 8, .window = 12, .sinks = 2}},
};

// How the tokens are fed: several at once, one alone. The image is taken behind the first kKept pieces.
constexpr size_t kPieces[] = {5, 1, 6, 1, 2, 9};
constexpr size_t kKept = 3;

class TokenSequence {
 public:
  explicit TokenSequence(uint32_t vocab) : vocab_(vocab) {}
  std::span<const Token> Next(size_t n) {
    for (size_t i = 0; i < n; ++i) {
      seed_ = seed_ * 1664525u + 1013904223u;
      tokens_[i] = static_cast<Token>((seed_ >> 8) % vocab_);
    }
    return std::span(tokens_).first(n);
  }

 private:
  uint32_t vocab_;
  uint32_t seed_ = 1;
  std::array<Token, 16> tokens_;
};

// FNV-1a.
uint64_t Hash(uint64_t hash, std::span<const std::byte> bytes) {
  for (const std::byte b : bytes) hash = (hash ^ static_cast<uint8_t>(b)) * 0x100000001b3;
  return hash;
}

struct Progress {
  TokenSequence tokens;
  uint64_t hash = 0xcbf29ce484222325;
};

bool FeedPieces(Session& session, size_t first, size_t last, Progress& progress) {
  for (size_t i = first; i < last; ++i) {
    if (!session.Feed(progress.tokens.Next(kPieces[i])).ok()) return false;
    progress.hash = Hash(progress.hash, std::as_bytes(session.Logits()));
  }
  return true;
}

// Whether there was room for it.
bool RunCase(const Case& run, const Model& model, std::span<std::byte> memory, Checks& checks) {
  const Result<SessionPlan> plan = Session::Plan(model.config, run.limits, {});
  CHECK(plan);
  const size_t image_most = sizeof(SnapshotHeader) + plan->state + plan->cache;
  Print(run.name);
  if (plan->total() + image_most > memory.size()) {
    Print(": no room, needs ");
    Print(plan->total() + image_most);
    Print(" bytes\n");
    return false;
  }
  Arena arena(memory);
  Session session;
  CHECK(session.Bind(model, run.limits, {}, arena).ok());
  Progress progress{TokenSequence(model.config.vocab_size)};
  const size_t stack = board_stack_paint();
  CHECK(FeedPieces(session, 0, kKept, progress));
  const std::span<std::byte> image = memory.subspan(arena.used()).first(session.image_bytes());
  session.Save(image);
  Progress restored = progress;
  CHECK(FeedPieces(session, kKept, std::size(kPieces), progress));
  session.Reset();
  CHECK(session.Restore(image).ok());
  CHECK(FeedPieces(session, kKept, std::size(kPieces), restored));
  CHECK(restored.hash == progress.hash);
  Print(": hash ");
  PrintHex(progress.hash);
  Print("\nstack of Feed: ");
  Print(board_stack_used() - stack);
  Print("\n");
  return true;
}

int Run() {
  Checks checks;
  Arena arena(FreeMemory());
  const Result<Model> model = LoadBoardModel(arena);
  CHECK(model);
  if (checks.Failed()) return checks.Failed();
  size_t ran = 0;
  for (const Case& run : kCases) {
    if (RunCase(run, *model, FreeMemory().subspan(arena.used()), checks)) ++ran;
  }
  return checks.Failed() != 0 ? 1 : ran == 0 ? kSkipped : 0;
}

}  // namespace
}  // namespace thimble

int main() { return thimble::Run(); }
