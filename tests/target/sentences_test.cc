// SPDX-License-Identifier: Apache-2.0
//
// Lines of tests/data/intent/s_sentences.tsv from the console: a sentence, and the label and probability that Hugging
// Face computes from the same file's decoded weights. The firmware's linked model must say the same.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "core/choices.h"
#include "core/math.h"
#include "core/session.h"
#include "io/linked_model.h"
#include "tests/target/check.h"
#include "tests/target/memory.h"

namespace thimble {
namespace {

constexpr Limits kLimits{.context = 64, .batch = 2, .k = Type::kF32, .v = Type::kF32};
constexpr size_t kMaxText = 256;
constexpr size_t kMaxChoices = 256;

// Digits, a point, digits.
double ReadNumber(std::string_view text) {
  double number = 0.0;
  double unit = 0.0;
  for (const char c : text) {
    if (c == '.') {
      unit = 1.0;
    } else {
      number = number * 10.0 + (c - '0');
      unit *= 10.0;
    }
  }
  return unit == 0.0 ? number : number / unit;
}

// The model, its question, and what answering takes.
class Classifier {
 public:
  Error Bind() {
    if (const Error error = kLinkedModel.Check(BoardModel()); !error.ok()) return error;
    Arena arena(FreeMemory());
    const Result<Tokenizer> tokenizer = Tokenizer::Bind(kLinkedModel.tokenizer, kMaxText, arena);
    if (!tokenizer) return tokenizer.error();
    tokenizer_ = *tokenizer;
    if (const Error error = BindChoices(arena); !error.ok()) return error;
    return session_.Bind(kLinkedModel.model, kLimits, {}, arena);
  }

  // log_p of the choices.
  std::span<const float> Classify(std::string_view text) {
    std::array<char, kMaxText> plain;
    std::array<char, 2 * kMaxText> scratch;
    std::array<Token, kLimits.context> tokens;
    const Task& task = kLinkedModel.task;
    const size_t length = NormaliseText(task, text, plain);
    const Result<size_t> count = EncodePrompt(task.prompt, {plain.data(), length}, tokenizer_, scratch, tokens);
    if (!count) return {};
    session_.Reset();
    const std::span<float> log_p = std::span(log_p_).first(choices_.size());
    if (!session_.Feed({tokens.data(), *count}).ok() || !choices_.Score(session_, log_p).ok()) return {};
    return log_p;
  }

 private:
  Error BindChoices(Arena& arena) {
    const std::span<const Token> answers = kLinkedModel.answers;
    std::array<std::span<const Token>, kMaxChoices> spans;
    if (answers.size() > spans.size()) return {Status::kTooLarge, "more answers than this test has room for"};
    for (size_t i = 0; i < answers.size(); ++i) spans[i] = answers.subspan(i, 1);
    return choices_.Bind(std::span(spans).first(answers.size()), -1, kLinkedModel.model.config.vocab_size, arena);
  }

  Tokenizer tokenizer_;
  Choices choices_;
  Session session_;
  std::array<float, kMaxChoices> log_p_;
};

int Run() {
  Checks checks;
  Classifier classifier;
  const Error error = classifier.Bind();
  if (error.status == Status::kTooSmall) {
    Print("no room, needs more than ");
    Print(error.at);
    Print(" bytes\n");
    return kSkipped;
  }
  CHECK(error.ok());
  if (!error.ok()) return 1;
  char line[kMaxText];
  uint64_t sentences = 0;
  const uint64_t start = board_ticks();
  for (long length; (length = board_read(line, sizeof(line))) >= 0;) {
    const std::string_view row(line, static_cast<size_t>(length));
    const size_t first = row.find('\t');
    const size_t second = row.find('\t', first + 1);
    if (second == row.npos) continue;
    const std::span<const float> log_p = classifier.Classify(row.substr(0, first));
    CHECK(!log_p.empty());
    if (log_p.empty()) return 1;
    const size_t best = static_cast<size_t>(std::max_element(log_p.begin(), log_p.end()) - log_p.begin());
    CHECK(AnswerName(kLinkedModel.task, best) == row.substr(first + 1, second - first - 1));
    const double off = ExpDouble(static_cast<double>(log_p[best])) - ReadNumber(row.substr(second + 1));
    CHECK(off < 5e-6 && off > -5e-6);
    ++sentences;
  }
  CHECK(sentences != 0);
  Print(sentences);
  Print(" sentences, ticks for each: ");
  Print(sentences == 0 ? 0 : (board_ticks() - start) / sentences);
  Print("\n");
  return checks.Failed();
}

}  // namespace
}  // namespace thimble

int main() { return thimble::Run(); }
