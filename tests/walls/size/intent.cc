// SPDX-License-Identifier: Apache-2.0
//
// What the firmware of an intent model does with its file and a sentence, without a board's start-up and serial line.
// Linked to be measured, never run.
#include "core/choices.h"
#include "io/load_qwen35.h"
#include "io/task.h"

namespace thimble {
namespace {

constexpr size_t kMaxText = 256;  // bytes
constexpr size_t kMaxTokens = 512;
constexpr size_t kMaxChoices = 160;

// Everything between a file in flash and an answer.
struct Program {
  Gguf file;
  Model model;
  Task task;
  Tokenizer tokenizer;
  Session session;
  Choices choices;
  Token tokens[kMaxTokens];
  Token answer_tokens[kMaxTokens];
  std::span<const Token> answers[kMaxChoices];
  char text[kMaxText];
  char scratch[2 * kMaxText];
  float log_p[kMaxChoices];
};

Error Load(Program& p, std::span<const std::byte> bytes) {
  const Result<Gguf> file = Gguf::Open({&bytes, 1});
  if (!file) return file.error();
  p.file = *file;
  const Result<Task> task = ReadTask(p.file);
  if (!task) return task.error();
  p.task = *task;
  return {};
}

Error Answers(Program& p, Arena& arena) {
  size_t used = 0, count = 0;
  for (const std::string_view text : p.task.choices) {
    const std::span<Token> room = std::span(p.answer_tokens).subspan(used);
    const Result<size_t> n = p.tokenizer.Encode(text, Specials::kRecognise, room);
    if (!n) return n.error();
    if (count == kMaxChoices) return {Status::kTooLarge, "too many answers"};
    p.answers[count++] = room.first(*n);
    used += *n;
  }
  return p.choices.Bind(std::span(p.answers).first(count), p.tokenizer.end_tokens()[0], p.model.config.vocab_size,
                        arena);
}

Error Bind(Program& p, const Limits& limits, Arena& arena) {
  const Result<Model> model = LoadQwen35(p.file, arena);
  if (!model) return model.error();
  p.model = *model;
  const Result<Tokenizer> tokenizer = Tokenizer::BindIndexed(p.file, kMaxText, arena, kLatin);
  if (!tokenizer) return tokenizer.error();
  p.tokenizer = *tokenizer;
  if (const Error error = p.session.Bind(p.model, limits, Backend{}, arena); !error.ok()) return error;
  return Answers(p, arena);
}

Error Classify(Program& p, std::string_view text, uint32_t& best) {
  if (text.size() > kMaxText) return {Status::kTooLarge, "the text is too long"};
  const std::string_view normal = {p.text, NormaliseText(p.task, text, p.text)};
  const Result<size_t> n = EncodePrompt(p.task.prompt, normal, p.tokenizer, p.scratch, p.tokens);
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
  if (const Error error = Load(p, model); !error.ok()) return error.what;
  Arena arena(memory);
  if (const Error error = Bind(p, limits, arena); !error.ok()) return error.what;
  const Error error = Classify(p, text, best);
  return error.what;
}

}  // namespace thimble
