// SPDX-License-Identifier: Apache-2.0
//
// Intents on a microcontroller: the model is read where it lies in flash, everything else is in one static arena. A
// line from the console is a sentence; the answer is its label, its probability, and what it cost.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "arm/board_kernels.h"
#include "core/choices.h"
#include "core/math.h"
#include "core/session.h"
#include "examples/firmware/console.h"
#include "examples/firmware/intent_plan.h"
#include "io/linked_model.h"

namespace thimble {
namespace {

constexpr size_t kArenaBytes = 53 * 1024;
static_assert(THIMBLE_PLAN_BYTES <= kArenaBytes, "raise kArenaBytes to what intent_plan.h says");
alignas(Arena::kAlign) std::byte arena_bytes[kArenaBytes];

constexpr size_t kPromptBytes = THIMBLE_PLAN_TEXT + THIMBLE_PLAN_PROMPT;
constexpr Limits kLimits{.context = THIMBLE_PLAN_CONTEXT,
                         .batch = THIMBLE_PLAN_BATCH,
                         .k = static_cast<Type>(THIMBLE_PLAN_K),
                         .v = static_cast<Type>(THIMBLE_PLAN_V),
                         .state = static_cast<StateForm>(THIMBLE_PLAN_STATE)};

class Intent {
 public:
  Error Open(std::span<const std::byte> bytes) {
    if (const Error error = kLinkedModel.Check(bytes); !error.ok()) return error;
    if (bytes.size() != THIMBLE_PLAN_MODEL_BYTES) {
      return {Status::kBadFile, "intent_plan.h was written for another model than intent_model.cc"};
    }
    Arena arena(arena_bytes);
    const Result<Tokenizer> tokenizer = Tokenizer::Bind(kLinkedModel.tokenizer, kPromptBytes, arena, kLatin);
    if (!tokenizer) return tokenizer.error();
    tokenizer_ = *tokenizer;
    if (const Error error = BindAnswers(choices_, arena); !error.ok()) return error;
    const Backend backend{.kernels = &BoardKernels()};
    if (const Error error = session_.Bind(kLinkedModel.model, kLimits, backend, arena); !error.ok()) return error;
    used_ = arena.used();
    return {};
  }

  // The best label and its probability; `text` is changed on the way.
  struct Answer {
    std::string_view label;
    float p;
    size_t tokens;
  };
  Result<Answer> Ask(std::span<char> text) {
    if (text.size() > THIMBLE_PLAN_TEXT) {
      return Error{Status::kTooLarge, "a sentence may have no more bytes than", {}, {}, THIMBLE_PLAN_TEXT};
    }
    const Task& task = kLinkedModel.task;
    const std::string_view plain = {text.data(), NormaliseText(task, {text.data(), text.size()}, text)};
    const Result<size_t> count = EncodePrompt(task.prompt, plain, tokenizer_, scratch_, tokens_);
    if (!count) return count.error();
    session_.Reset();
    if (const Error error = session_.Feed({tokens_.data(), *count}); !error.ok()) return error;
    if (const Error error = choices_.Score(session_, log_p_); !error.ok()) return error;
    const auto best = std::max_element(log_p_.begin(), log_p_.end());
    return Answer{AnswerName(task, static_cast<size_t>(best - log_p_.begin())), Exp(*best), *count};
  }

  size_t used() const { return used_; }

 private:
  static Error BindAnswers(Choices& choices, Arena& arena) {
    const std::span<const Token> answers = kLinkedModel.answers;
    std::array<std::span<const Token>, THIMBLE_PLAN_CHOICES> spans;
    for (size_t i = 0; i < spans.size(); ++i) spans[i] = answers.subspan(i, 1);
    return choices.Bind(spans, -1, kLinkedModel.model.config.vocab_size, arena);
  }

  Tokenizer tokenizer_;
  Choices choices_;
  Session session_;
  size_t used_ = 0;
  std::array<char, kPromptBytes> scratch_;
  std::array<Token, THIMBLE_PLAN_CONTEXT> tokens_;
  std::array<float, THIMBLE_PLAN_CHOICES> log_p_;
};

int Run() {
  alignas(Intent) static std::byte memory[sizeof(Intent)];
  Intent& intent = *new (memory) Intent;
  if (const Error error = intent.Open(BoardModel()); !error.ok()) {
    Print(error);
    return 1;
  }
  char line[THIMBLE_PLAN_TEXT + 1];
  uint64_t sentences = 0;
  uint64_t tokens = 0;
  uint64_t ticks = 0;
  for (long length; (length = board_read(line, sizeof line)) >= 0;) {
    const uint64_t start = board_ticks();
    const Result<Intent::Answer> answer = intent.Ask({line, static_cast<size_t>(length)});
    const uint64_t cost = board_ticks() - start;
    if (!answer) {
      Print(answer.error());
      continue;
    }
    Print(answer->label);
    Print("\t");
    PrintProbability(answer->p);
    Print("\t");
    Print(cost);
    Print("\n");
    ++sentences;
    tokens += answer->tokens;
    ticks += cost;
  }
  Print("# sentences ");
  Print(sentences);
  Print(", tokens ");
  Print(tokens);
  Print(", ticks ");
  Print(ticks);
  Print(", arena ");
  Print(uint64_t{intent.used()});
  Print(", static ");
  Print(uint64_t{sizeof(Intent)});
  Print(", stack ");
  Print(uint64_t{board_stack_used()});
  Print("\n");
  return 0;
}

}  // namespace
}  // namespace thimble

int main() { return thimble::Run(); }
