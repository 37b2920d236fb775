// SPDX-License-Identifier: Apache-2.0
//
// Tokens without end through a window of attention: the memory of the first hundred is the memory of the millionth. The
// first line of the console is how many to feed; what is fed is a fixed pattern. RAM that nobody owns is painted, and
// must still be so at every report.
#include <algorithm>
#include <cstdint>

#include "arm/board_kernels.h"
#include "core/session.h"
#include "examples/firmware/console.h"
#include "io/linked_model.h"

namespace thimble {
namespace {

constexpr Limits kLimits{
    .batch = 1, .k = Type::kQ8_0, .v = Type::kQ8_0, .state = StateForm::kI16, .window = 64, .sinks = 4};
constexpr std::byte kPaint{0xa5};
constexpr size_t kInterruptBytes = 128;  // of stack; one may come later where the stack is deeper than it was before

// Arena and session share all the RAM that stack and variables leave.
class Stream {
 public:
  Error Open() {
    if (const Error error = kLinkedModel.Check(BoardModel()); !error.ok()) return error;
    size_t room = 0;
    std::byte* memory = reinterpret_cast<std::byte*>(board_memory(&room));
    Arena arena({memory, room});
    const Backend backend{.kernels = &BoardKernels()};
    if (const Error error = session_.Bind(kLinkedModel.model, kLimits, backend, arena); !error.ok()) return error;
    free_ = {memory + arena.used(), room - arena.used()};
    std::fill(free_.begin(), free_.end(), kPaint);
    used_ = arena.used();
    return {};
  }

  Error Feed(uint64_t tokens) {
    const uint32_t vocab = kLinkedModel.model.config.vocab_size;
    for (uint64_t i = 0; i < tokens; ++i) {
      seed_ = seed_ * 1664525u + 1013904223u;
      const Token token = static_cast<Token>((seed_ >> 8) % vocab);
      if (const Error error = session_.Feed({&token, 1}); !error.ok()) return error;
    }
    return {};
  }

  bool Untouched() const {
    return std::all_of(free_.begin(), free_.end(), [](std::byte b) { return b == kPaint; });
  }
  uint64_t length() const { return session_.length(); }
  size_t used() const { return used_; }
  size_t left() const { return free_.size(); }

 private:
  Session session_;
  std::span<std::byte> free_;
  size_t used_ = 0;
  uint32_t seed_ = 1;
};

uint64_t ReadCount() {
  char line[24];
  const long length = board_read(line, sizeof line);
  uint64_t count = 0;
  for (long i = 0; i < length && line[i] >= '0' && line[i] <= '9'; ++i) {
    count = 10 * count + static_cast<uint64_t>(line[i] - '0');
  }
  return count;
}

int Run() {
  Stream stream;
  if (const Error error = stream.Open(); !error.ok()) {
    Print(error);
    return 1;
  }
  Print("arena ");
  Print(uint64_t{stream.used()});
  Print(" bytes, free ");
  Print(uint64_t{stream.left()});
  Print("\ntokens\tstack\tticks a token\n");
  const uint64_t count = std::max<uint64_t>(ReadCount(), 1000);
  const uint64_t step = count / 10;
  size_t settled = 0;
  for (uint64_t done = 0; done < count; done += step) {
    const uint64_t start = board_ticks();
    if (const Error error = stream.Feed(std::min(step, count - done)); !error.ok()) {
      Print(error);
      return 1;
    }
    const uint64_t ticks = board_ticks() - start;
    Print(stream.length());
    Print("\t");
    Print(uint64_t{board_stack_used()});
    Print("\t");
    Print(ticks / std::min(step, count - done));
    Print("\n");
    if (settled == 0) settled = board_stack_used();
    if (!stream.Untouched() || board_stack_used() > settled + kInterruptBytes) {
      Print("! memory was touched that nobody owned before\n");
      return 1;
    }
  }
  Print("memory unchanged\n");
  return 0;
}

}  // namespace
}  // namespace thimble

int main() { return thimble::Run(); }
