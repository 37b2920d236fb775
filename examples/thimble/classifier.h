// SPDX-License-Identifier: Apache-2.0
//
// A closed-set question to a model: which of the answers fits a text. It owns how the question is put (the model's own
// prompt, the caller's, or the chat template) and what of one prompt is kept for the next.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/choices.h"
#include "io/chat.h"
#include "io/task.h"
#include "prefixes.h"
#include "runtime.h"

namespace thimble::program {

struct ClassifierOptions : ModelOptions {
  std::string choices;       // A,B,C or the name of a file; empty: the model's own
  std::string prompt;        // with {text}; empty: the model's own, or the chat template
  std::string content_free;  // text to calibrate with; empty: no calibration
  CacheOptions cache;
};

/// One answer: what the model would say, and its name for people.
struct Choice {
  std::string text;
  std::string label;
};

class Classifier {
 public:
  struct Verdict {
    std::vector<float> p;         // of each choice; their sum is 1
    std::vector<uint32_t> order;  // indices of the choices, the most probable first
    size_t tokens = 0;            // of the prompt
    size_t reused = 0;            // of them, kept from another run
  };

  /// Opens the model, reads the question, and takes all memory: for texts of at most `longest` bytes, or of as many as
  /// the context may hold when that is 0. With `many`, what consecutive prompts have in common is computed once.
  Error Open(const ClassifierOptions& options, size_t longest, bool many);

  /// Never depends on the texts before. kTooLarge for a text that is longer than Open was told; kSystem without an
  /// errno when interrupted.
  Error Classify(std::string_view text, Verdict* verdict);

  const std::vector<Choice>& choices() const { return choices_; }
  const Task& task() const { return task_; }  // the model's own
  size_t arena_bytes() const { return runtime_.arena_bytes(); }

 private:
  Error ReadQuestion(const ClassifierOptions& options);
  Error ReadChoices(const std::string& option);
  Error BindChoices();
  Result<size_t> Encode(std::string_view text);
  Error FindBeginning();
  Error Feed(std::span<const Token> prompt, size_t* reused);
  Error Score(std::string_view text, std::span<float> log_p, Verdict* verdict);

  Runtime runtime_;
  Prefixes prefixes_{runtime_};
  Task task_;
  std::string prompt_;  // empty: chat_ and instruction_
  ChatTemplate chat_;
  std::string instruction_;
  std::vector<Choice> choices_;
  Choices tree_;
  std::string problem_;  // of an error, the choice that it is about
  std::vector<char> normal_, scratch_;
  std::vector<Token> tokens_, before_;  // the prompt, and the one before it
  std::vector<Token> beginning_;        // of every prompt: the question; only with prefixes_ open
  size_t kept_ = 0;                     // tokens that checkpoint 0 holds; all prompts since began with them
  bool keeps_ = false;
  std::vector<float> log_p_, content_free_;
};

}  // namespace thimble::program
