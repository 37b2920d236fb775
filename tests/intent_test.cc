// SPDX-License-Identifier: Apache-2.0
//
// The intent model that the project ships, as its user meets it: a sentence in, a label and a probability out, against
// what Hugging Face computes from the same file's decoded weights (tests/golden/intent.py).
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "core/choices.h"
#include "io/task.h"
#include "tests/load_model.h"

namespace thimble {
namespace {

struct Sample {
  std::string text;
  std::string label;
  double p;
};

std::vector<Sample> ReadSamples() {
  std::ifstream in(THIMBLE_SOURCE_DIR "/tests/data/intent/sample.tsv");
  std::vector<Sample> samples;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#")) continue;
    const size_t first = line.find('\t');
    const size_t second = line.find('\t', first + 1);
    REQUIRE(second != line.npos);
    samples.push_back(
        {line.substr(0, first), line.substr(first + 1, second - first - 1), std::stod(line.substr(second + 1))});
  }
  return samples;
}

// The model, its own question, and all that answering takes, in one arena.
class Classifier {
 public:
  Classifier() : loaded_(THIMBLE_SOURCE_DIR "/examples/intent/intent-q4_0.gguf") {
    const Result<Task> task = ReadTask(loaded_.file());
    RequireOk(task.error());
    task_ = *task;
    for (const std::string_view label : task_.labels) labels_.emplace_back(label);
    Arena measure;
    Layout(measure);
    memory_ = std::make_unique<HeapBlock>(measure.used());
    Arena arena(memory_->span());
    Layout(arena);
  }

  std::pair<std::string, double> Classify(const std::string& text) {
    std::vector<char> plain(text.size());
    std::vector<char> scratch(task_.prompt.size() + text.size());
    std::vector<Token> tokens(kLimits.context);
    const size_t length = NormaliseText(task_, text, plain);
    const Result<size_t> count = EncodePrompt(task_.prompt, {plain.data(), length}, tokenizer_, scratch, tokens);
    RequireOk(count.error());
    session_.Reset();
    RequireOk(session_.Feed({tokens.data(), *count}));
    std::vector<float> log_p(labels_.size());
    RequireOk(choices_.Score(session_, log_p));
    const size_t best = static_cast<size_t>(std::max_element(log_p.begin(), log_p.end()) - log_p.begin());
    return {labels_[best], std::exp(static_cast<double>(log_p[best]))};
  }

  const Task& task() const { return task_; }

 private:
  static constexpr Limits kLimits{.context = 128, .batch = 64, .k = Type::kF32, .v = Type::kF32};

  void Layout(Arena& arena) {
    const Result<Tokenizer> tokenizer = Tokenizer::Bind(loaded_.file(), 512, arena);
    RequireOk(tokenizer.error());
    tokenizer_ = *tokenizer;
    // Every choice is one special token, which the index finds only when it is bound: any other will do for measuring.
    std::vector<Token> tokens;
    for (const std::string_view choice : task_.choices) {
      if (arena.measuring()) {
        tokens.push_back(static_cast<Token>(tokens.size()));
        continue;
      }
      const Result<Token> token = tokenizer_.Find(choice);
      RequireOk(token.error());
      tokens.push_back(*token);
    }
    std::vector<std::span<const Token>> spans;
    for (const Token& token : tokens) spans.push_back({&token, 1});
    RequireOk(choices_.Bind(spans, -1, loaded_.config().vocab_size, arena));
    RequireOk(session_.Bind(loaded_.model(), kLimits, {}, arena));
  }

  LoadedModel loaded_;
  Task task_;
  std::vector<std::string> labels_;
  std::unique_ptr<HeapBlock> memory_;
  Tokenizer tokenizer_;
  Choices choices_;
  Session session_;
};

TEST_CASE("the shipped model gives Hugging Face's label and probability, however a sentence is typed") {
  Classifier classifier;
  CHECK(classifier.task().out_of_scope == "oos");
  const std::vector<Sample> samples = ReadSamples();
  REQUIRE(samples.size() >= 150);
  double worst = 0.0;
  for (const Sample& sample : samples) {
    CAPTURE(sample.text);
    const auto [label, p] = classifier.Classify(sample.text);
    CHECK(label == sample.label);
    worst = std::max(worst, std::fabs(p - sample.p));
  }
  CHECK(worst < 5e-6);  // 2.1e-6 over the 5,500 test queries
}

}  // namespace
}  // namespace thimble
