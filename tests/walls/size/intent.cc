// SPDX-License-Identifier: Apache-2.0
//
// What the firmware of an intent model does with its linked model and a sentence, without a board's start-up and serial
// line. Linked to be measured, never run.
#include "core/choices.h"
#include "io/linked_model.h"

namespace thimble {
namespace {

constexpr size_t kMaxText = 256;  // bytes
constexpr size_t kMaxTokens = 64;
constexpr size_t kMaxChoices = 160;

// Everything between a model in flash and an answer.
struct Program {
  Tokenizer tokenizer;
  Session session;
  Choices choices;
  Token tokens[kMaxTokens];
  std::span<const Token> answers[kMaxChoices];
  char text[kMaxText];
  char scratch[2 * kMaxText];
  float log_p[kMaxChoices];
};

Error Bind(Program& p, const Limits& limits, Arena& arena) {
  const Result<Tokenizer> tokenizer = Tokenizer::Bind(kLinkedModel.tokenizer, kMaxText, arena, kLatin);
  if (!tokenizer) return tokenizer.error();
  p.tokenizer = *tokenizer;
  if (const Error error = p.session.Bind(kLinkedModel.model, limits, Backend{}, arena); !error.ok()) return error;
  const size_t count = kLinkedModel.answers.size();
  if (count > kMaxChoices) return {Status::kTooLarge, "too many answers"};
  for (size_t i = 0; i < count; ++i) p.answers[i] = kLinkedModel.answers.subspan(i, 1);
  return p.choices.Bind(std::span(p.answers).first(count), -1, kLinkedModel.model.config.vocab_size, arena);
}

Error Classify(Program& p, std::string_view text, uint32_t& best) {
  if (text.size() > kMaxText) return {Status::kTooLarge, "the text is too long"};
  const Task& task = kLinkedModel.task;
  const std::string_view normal = {p.text, NormaliseText(task, text, p.text)};
  const Result<size_t> n = EncodePrompt(task.prompt, normal, p.tokenizer, p.scratch, p.tokens);
  if (!n) return n.error();
  p.session.Reset();
  if (const Error error = p.session.Feed(std::span(p.tokens).first(*n)); !error.ok()) return error;
  if (const Error error = p.choices.Score(p.session, std::span(p.log_p).first(p.choices.size())); !error.ok())
    return error;
  TopK(std::span(p.log_p).first(p.choices.size()), {&best, 1});
  return {};
}

}  // namespace

extern "C" const char* Start(Program& p, const Limits& limits, std::span<const std::byte> model,
                             std::span<std::byte> memory, std::string_view text, uint32_t& best) {
  if (const Error error = kLinkedModel.Check(model); !error.ok()) return error.what;
  Arena arena(memory);
  if (const Error error = Bind(p, limits, arena); !error.ok()) return error.what;
  const Error error = Classify(p, text, best);
  return error.what;
}

}  // namespace thimble
