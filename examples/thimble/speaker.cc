// SPDX-License-Identifier: Apache-2.0
//
// See speaker.h.
#include "speaker.h"

#include <algorithm>

#include "console.h"
#include "io/snapshot_file.h"

namespace thimble::program {

void AddTemplate(CLI::App& command, SpeakerOptions& options) {
  command.add_option("--think", options.think, "think before the answer (default: what the chat template says)")
      ->option_text("on|off")
      ->check(CLI::IsMember({"on", "off"}));
  command.add_option("--template", options.chat_template, "the file's own chat template (default) or Qwen3.5's")
      ->option_text("file|builtin")
      ->check(CLI::IsMember({"file", "builtin"}));
}

Thinking Speaker::thinking() const {
  if (options_.think.empty()) return Thinking::kTemplate;
  return options_.think == "on" ? Thinking::kOn : Thinking::kOff;
}

Error Speaker::Open() {
  if (const Error error = runtime_.Open(options_); !error.ok()) return error;
  chat_ = BuiltinTemplate();
  if (!options_.raw && options_.chat_template == "file") {
    const Result<ChatTemplate> chat = DetectTemplate(runtime_.file());
    if (!chat) return chat.error();
    chat_ = *chat;
  }
  const bool thinks =
      thinking() == Thinking::kOn || (thinking() == Thinking::kTemplate && chat_.start == AnswerStart::kThinkOpen);
  return ReadSampling(options_.sampling, runtime_.file(), runtime_.model().config, thinks, &biases_, &sampling_);
}

Result<size_t> Speaker::Measure(const Conversation& conversation) const {
  const Result<size_t> bytes = RenderText(chat_, conversation, {});
  return bytes || bytes.error().status != Status::kTooSmall ? bytes : Result<size_t>(bytes.error().at);
}

Error Speaker::Bind(size_t max_bytes, bool turns) {
  Result<Limits> limits = runtime_.LimitsOf(options_);
  if (!limits) return limits.error();
  turns_ = turns;
  limits->checkpoints = turns ? 1 : 0;
  if (const Error error = runtime_.BindVocabulary(max_bytes); !error.ok()) return error;
  const size_t vocab = runtime_.model().config.vocab_size;
  stops_.assign(options_.stops.begin(), options_.stops.end());
  const Error placed = runtime_.Place([&](Arena& arena) -> Error {
    const Result<StreamDecoder> decoder = StreamDecoder::Bind(runtime_.tokenizer(), arena);
    if (!decoder) return decoder.error();
    decoder_ = *decoder;
    if (const Error error = matcher_.Bind(stops_, arena); !error.ok()) return error;
    return sampler_.Bind(sampling_, vocab, arena);
  });
  if (!placed.ok()) return placed;
  for (size_t token = 0; token < vocab; ++token) {
    if (runtime_.tokenizer().IsUnused(static_cast<Token>(token))) sampler_.Ban(static_cast<Token>(token));
  }
  if (options_.ignore_eos) {
    for (const Token token : runtime_.tokenizer().end_tokens()) sampler_.Ban(token);
  }
  scratch_.resize(max_bytes);
  tokens_.resize(runtime_.tokenizer().MaxTokens(max_bytes) + 2);  // and what unfed_ holds
  if (const Error error = runtime_.BindSession(*limits); !error.ok()) return error;
  return prefixes_.Open(options_.cache);
}

Error Speaker::Reply(Conversation conversation, const Emit& emit, Answer* answer) {
  conversation.thinking = thinking();
  size_t count = 0;
  if (conversation.after_answer) {
    const Result<Token> end = runtime_.tokenizer().Find("<|im_end|>");
    if (!end) return end.error();
    for (const Token token : unfed_) tokens_[count++] = token;
    tokens_[count++] = *end;
  }
  const Result<size_t> rendered =
      RenderTokens(chat_, conversation, runtime_.tokenizer(), scratch_, std::span(tokens_).subspan(count));
  if (!rendered) return rendered.error();
  return Speak(count + *rendered, emit, answer);
}

Error Speaker::Continue(std::string_view text, const Emit& emit, Answer* answer) {
  const Result<size_t> count = runtime_.tokenizer().Encode(text, Specials::kRecognise, tokens_);
  if (!count) return count.error();
  if (*count == 0) return {Status::kBadArgument, "there is no text to go on with", "-p"};
  return Speak(*count, emit, answer);
}

// Feeds what of the prompt is not kept from another run, and keeps what others may share with it.
Result<bool> Speaker::FeedPrompt(std::span<const Token> prompt, Answer* answer) {
  // The last token of an answer need not be fed.
  const size_t promised = options_.ignore_eos && options_.tokens > 0 ? options_.tokens - 1 : 0;
  if (!prefixes_.open()) return runtime_.Feed(prompt, promised);
  const bool first = fed_.empty();
  fed_.insert(fed_.end(), prompt.begin(), prompt.end());
  if (first) answer->reused_tokens = prefixes_.Restore(fed_, fed_.size());
  const Result<bool> fed = prefixes_.Feed(fed_, prefixes_.PlacesOf(fed_), promised);
  if (!fed) fed_.resize(fed_.size() - prompt.size());
  return fed;
}

// Feeds the first `count` of tokens_ and answers. Ctrl-C before the answer leaves everything as it was, unless a
// window has moved too far for that.
Error Speaker::Speak(size_t count, const Emit& emit, Answer* answer) {
  std::span<const Token> prompt(tokens_.data(), count);
  if (options_.until == SpeakerOptions::Until::kSystem) {
    const std::vector<size_t> turns = prefixes_.TurnsOf(prompt);
    if (!turns.empty()) prompt = prompt.first(turns[0]);
  }
  const Stopwatch watch;
  Session& session = runtime_.session();
  const size_t before = session.length();
  if (turns_) session.Keep(0);
  const Result<bool> fed = FeedPrompt(prompt, answer);
  if (!fed) return fed.error();
  if (!*fed) {
    const size_t done = session.length() - before;
    if (turns_ && done > session.recall_reach()) {  // a window has moved on: there is no way back, so the rest follows
      if (const Error error = session.Feed(prompt.subspan(done)); !error.ok()) return error;
    } else {
      if (turns_) session.Recall(0);
      if (prefixes_.open()) fed_.resize(fed_.size() - prompt.size());
      answer->stopped = "interrupted";
      return {};
    }
  }
  answer->prompt_tokens = prompt.size();
  answer->prefill_seconds = watch.seconds();
  sampler_.AcceptPrompt(prompt);
  if (options_.until != SpeakerOptions::Until::kAnswer) return {};
  const Error error = Generate(emit, answer);
  if (prefixes_.open() && error.ok()) prefixes_.Keep(fed_, true);
  return error;
}

Error Speaker::SaveTo(const std::string& path) {
  return SaveSnapshot({.model = runtime_.fingerprint(), .session = &runtime_.session()}, path.c_str());
}

bool Speaker::IsEnd(Token token) const {
  const auto ends = runtime_.tokenizer().end_tokens();
  return std::find(ends.begin(), ends.end(), token) != ends.end();
}

Error Speaker::Generate(const Emit& emit, Answer* answer) {
  Session& session = runtime_.session();
  Error failed;
  const auto give = [&](std::string_view text) {
    answer->text += text;
    if (failed.ok() && !text.empty()) failed = emit(text);
  };
  const auto push = [&](std::string_view text) {
    const StopMatcher::Output out = matcher_.Push(text);
    give(out.held);
    give(out.piece);
    return out.stopped;
  };
  const Stopwatch watch;
  matcher_.Reset();
  unfed_.clear();
  while (answer->stopped.empty() && failed.ok()) {
    const Result<Token> token = session.Choose(sampler_);
    if (!token) return token.error();
    if (IsEnd(*token)) {
      answer->stopped = "end";
      break;
    }
    answer->tokens.push_back(*token);
    sampler_.Accept(*token);
    const bool stopped = !runtime_.tokenizer().IsControl(*token) && push(decoder_.Push(*token));
    if (session.room() == 0) answer->stopped = "context";
    if (answer->tokens.size() == options_.tokens) answer->stopped = "length";
    if (stopped) answer->stopped = "stop";
    if (Interrupted()) answer->stopped = "interrupted";
    if (!answer->stopped.empty()) {
      unfed_.push_back(*token);
    } else if (const Error error = session.Feed({&*token, 1}); !error.ok()) {
      return error;
    } else if (prefixes_.open()) {
      fed_.push_back(*token);
    }
  }
  answer->decode_seconds = watch.seconds();
  const std::string_view rest = decoder_.Finish();
  if (answer->stopped != "stop" && !push(rest)) give(matcher_.Finish());
  return failed;
}

}  // namespace thimble::program
