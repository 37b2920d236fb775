// SPDX-License-Identifier: Apache-2.0
//
// See task.h.
#include "io/task.h"

#include <algorithm>

namespace thimble {
namespace {

constexpr std::string_view kPromptKey = "thimble.prompt";
constexpr std::string_view kChoicesKey = "thimble.choices";
constexpr std::string_view kLabelsKey = "thimble.labels";
constexpr std::string_view kNormalizeKey = "thimble.normalize";
constexpr std::string_view kThresholdKey = "thimble.threshold";
constexpr std::string_view kOutOfScopeKey = "thimble.out_of_scope";

Error WrongKind(std::string_view key, std::string_view wanted) {
  return {Status::kBadFile, "this key has the wrong kind of value; it must be", key, wanted};
}

// The array of strings under `key`; empty when there is none.
Result<GgufStrings> Strings(const Gguf& file, std::string_view key) {
  const auto value = file.Find(key);
  if (!value) return GgufStrings{};
  const auto strings = value->AsStrings();
  if (!strings) return WrongKind(key, "an array of strings");
  return *strings;
}

Error ReadSteps(const Gguf& file, Task* task) {
  const Result<GgufStrings> steps = Strings(file, kNormalizeKey);
  if (!steps) return steps.error();
  for (const std::string_view step : *steps) {
    if (step == "lowercase-ascii") {
      task->lowercase_ascii = true;
    } else if (step == "strip-closing-marks") {
      task->strip_closing_marks = true;
    } else {
      return {Status::kUnsupported, "the model wants its texts prepared in a way that this version does not know",
              kNormalizeKey, step};
    }
  }
  return {};
}

bool IsWhiteSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool IsClosing(char c) { return IsWhiteSpace(c) || c == '.' || c == '?' || c == '!'; }

}  // namespace

Result<Task> ReadTask(const Gguf& file) {
  Task task;
  const auto prompt = file.Find(kPromptKey);
  if (!prompt) {
    return Error{Status::kNotFound, "the model does not say how it classifies; give --choices and --prompt",
                 kPromptKey};
  }
  if (!prompt->AsString()) return WrongKind(kPromptKey, "a string");
  task.prompt = *prompt->AsString();

  const Result<GgufStrings> choices = Strings(file, kChoicesKey);
  if (!choices) return choices.error();
  task.choices = *choices;
  const Result<GgufStrings> labels = Strings(file, kLabelsKey);
  if (!labels) return labels.error();
  if (labels->size() != 0 && labels->size() != choices->size()) {
    return Error{Status::kBadFile, "there must be as many labels as choices", kLabelsKey, {}, labels->size()};
  }
  task.labels = *labels;

  if (const Error error = ReadSteps(file, &task); !error.ok()) return error;
  if (const auto threshold = file.Find(kThresholdKey)) {
    const auto number = threshold->AsNumber();
    if (!number || !(*number >= 0.0 && *number <= 1.0)) return WrongKind(kThresholdKey, "a number from 0 to 1");
    task.threshold = static_cast<float>(*number);
  }
  if (const auto label = file.Find(kOutOfScopeKey)) {
    if (!label->AsString()) return WrongKind(kOutOfScopeKey, "a string");
    task.out_of_scope = *label->AsString();
  }
  return task;
}

std::string_view AnswerName(const Task& task, size_t i) {
  const GgufStrings& names = task.labels.size() != 0 ? task.labels : task.choices;
  if (i >= names.size()) return {};
  auto name = names.begin();
  for (; i > 0; --i) ++name;
  return *name;
}

Result<size_t> FindAnswers(const Task& task, const Tokenizer& tokenizer, std::span<Token> tokens) {
  if (task.choices.size() > tokens.size()) {
    return Error{Status::kTooSmall, "the model has more answers than there is room for; it has", task.choices.size()};
  }
  size_t n = 0;
  for (const std::string_view choice : task.choices) {
    const Result<Token> token = tokenizer.Find(choice);
    if (!token) return Error{Status::kUnsupported, "only answers that are special tokens are taken here", choice};
    tokens[n++] = *token;
  }
  return n;
}

size_t NormaliseText(const Task& task, std::string_view text, std::span<char> out) {
  if (task.strip_closing_marks) {
    while (!text.empty() && IsWhiteSpace(text.front())) text.remove_prefix(1);
    while (!text.empty() && IsClosing(text.back())) text.remove_suffix(1);
  }
  for (size_t i = 0; i < text.size(); ++i) {
    const bool upper = task.lowercase_ascii && text[i] >= 'A' && text[i] <= 'Z';
    out[i] = upper ? static_cast<char>(text[i] - 'A' + 'a') : text[i];
  }
  return text.size();
}

Result<size_t> EncodePrompt(std::string_view prompt, std::string_view text, Tokenizer& tokenizer,
                            std::span<char> scratch, std::span<Token> out) {
  const size_t mark = prompt.find(Task::kTextMark);
  if (mark == prompt.npos || prompt.find(Task::kTextMark, mark + 1) != prompt.npos) {
    return Error{Status::kBadArgument, "a prompt must hold {text} exactly once", prompt};
  }
  // The text is one stretch with what stands around it, up to the nearest special tokens: merges may cross its borders.
  const std::string_view before = {prompt.data(), mark};
  std::string_view after = prompt;
  after.remove_prefix(mark + Task::kTextMark.size());
  std::string_view near = before;  // behind the last special token
  for (;;) {
    const Tokenizer::Special special = tokenizer.NextSpecial(near);
    if (special.bytes == 0) break;
    near.remove_prefix(special.at + special.bytes);
  }
  const Tokenizer::Special next = tokenizer.NextSpecial(after);
  const size_t tail = next.bytes == 0 ? after.size() : next.at;

  size_t count = 0;
  const auto encode = [&](std::string_view piece, Specials specials) -> Error {
    const Result<size_t> n = tokenizer.Encode(piece, specials, out.subspan(count));
    if (!n) return n.error();
    count += *n;
    return {};
  };
  char* end = std::copy(near.begin(), near.end(), scratch.data());
  end = std::copy(text.begin(), text.end(), end);
  end = std::copy(after.begin(), after.begin() + static_cast<ptrdiff_t>(tail), end);
  const std::string_view head = {before.data(), before.size() - near.size()};
  const std::string_view middle = {scratch.data(), static_cast<size_t>(end - scratch.data())};
  after.remove_prefix(tail);
  if (const Error error = encode(head, Specials::kRecognise); !error.ok()) return error;
  if (const Error error = encode(middle, Specials::kText); !error.ok()) return error;
  if (const Error error = encode(after, Specials::kRecognise); !error.ok()) return error;
  return count;
}

}  // namespace thimble
