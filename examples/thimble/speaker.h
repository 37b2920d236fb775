// SPDX-License-Identifier: Apache-2.0
//
// A model that answers: one conversation after its chat template, or plain text that it goes on with. It owns what an
// answer needs (session, sampler, decoder, stop strings); what is done with an answer is its caller's business.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/sampler.h"
#include "io/chat.h"
#include "io/stop_matcher.h"
#include "io/stream_decoder.h"
#include "prefixes.h"
#include "runtime.h"
#include "sampling.h"

namespace thimble::program {

struct SpeakerOptions : ModelOptions {
  SamplingOptions sampling;
  CacheOptions cache;
  std::string think;                   // "on", "off", or empty: what the template says
  std::string chat_template = "file";  // or "builtin"
  std::vector<std::string> stops;
  uint32_t tokens = 0;  // of an answer, at most; 0: as many as fit
  bool raw = false;     // no template
  bool ignore_eos = false;
  enum class Until { kAnswer, kPrompt, kSystem } until = Until::kAnswer;  // what to run: the rest is left
};

/// --think and --template.
void AddTemplate(CLI::App& command, SpeakerOptions& options);

struct Answer {
  std::string text;
  std::string stopped;  // "end", "length", "stop", "context", "interrupted"
  size_t prompt_tokens = 0;
  size_t reused_tokens = 0;  // of the prompt, which were not fed
  std::vector<Token> tokens;
  double prefill_seconds = 0;
  double decode_seconds = 0;
  size_t fed_tokens() const { return prompt_tokens - reused_tokens; }
};

class Speaker {
 public:
  /// Takes the text of an answer as it comes. An error ends the answer and is handed on.
  using Emit = std::function<Error(std::string_view)>;

  explicit Speaker(const SpeakerOptions& options) : options_(options) {}

  /// Opens the model and what the options say about answering.
  Error Open();

  /// The bytes of a conversation as text.
  Result<size_t> Measure(const Conversation& conversation) const;

  /// Takes all memory, for prompts of at most `max_bytes`. With `turns`, an answer can be followed by another question.
  Error Bind(size_t max_bytes, bool turns);

  /// Answers a conversation: a whole one, or, with after_answer, what comes behind the last answer.
  Error Reply(Conversation conversation, const Emit& emit, Answer* answer);

  /// Goes on with plain text, in which special tokens are recognised.
  Error Continue(std::string_view text, const Emit& emit, Answer* answer);

  /// Writes what the session was fed so far. Errors: those of SaveSnapshot.
  Error SaveTo(const std::string& path);

  Thinking thinking() const;
  uint64_t seed() const { return sampling_.seed; }
  const Runtime& runtime() const { return runtime_; }

 private:
  Result<bool> FeedPrompt(std::span<const Token> prompt, Answer* answer);
  Error Speak(size_t count, const Emit& emit, Answer* answer);
  Error Generate(const Emit& emit, Answer* answer);
  bool IsEnd(Token token) const;

  const SpeakerOptions& options_;
  Runtime runtime_;
  Prefixes prefixes_{runtime_};
  ChatTemplate chat_;
  Sampler sampler_;
  StreamDecoder decoder_;
  StopMatcher matcher_;
  SamplerOptions sampling_;
  std::vector<LogitBias> biases_;
  std::vector<std::string_view> stops_;
  std::vector<char> scratch_;
  std::vector<Token> tokens_;  // of the prompt
  std::vector<Token> unfed_;   // of the last answer: what the session has to see before the next turn
  std::vector<Token> fed_;     // all that the session has seen; only with prefixes_ open
  bool turns_ = false;
};

}  // namespace thimble::program
