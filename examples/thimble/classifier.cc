// SPDX-License-Identifier: Apache-2.0
//
// See classifier.h.
#include "classifier.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <sstream>

#include "console.h"
#include "ids.h"

namespace thimble::program {
namespace {

constexpr size_t kBytesPerToken = 8;   // of the longest line of ordinary text that can fill the context
constexpr size_t kTemplateRoom = 256;  // bytes that a chat template adds to a single question
constexpr size_t kMaxCheckpoints = 4;  // of the tree of choices; each is a whole state of the DeltaNet layers

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

size_t SharedTokens(std::span<const Token> a, std::span<const Token> b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace

// A file has a choice a line, exactly as it is, and perhaps a tab and its label; in a list blanks around do not count.
Error Classifier::ReadChoices(const std::string& option) {
  std::error_code none;
  const bool is_file = std::filesystem::exists(option, none) && !std::filesystem::is_directory(option, none);
  if (!is_file && option.find(',') == option.npos) {
    return {Status::kBadArgument, "--choices takes a list with commas, A,B,C, or a file that can be read", option};
  }
  std::string text = option;
  if (is_file) {
    text.clear();
    if (const Error error = ReadFile(option, &text); !error.ok()) return error;
  }
  std::istringstream in(text);
  std::string line;
  while (std::getline(in, line, is_file ? '\n' : ',')) {
    if (is_file && !line.empty() && line.back() == '\r') line.pop_back();
    if (!is_file) line = std::string(Trim(line));
    if (line.empty()) continue;
    const size_t tab = is_file ? line.find('\t') : line.npos;
    choices_.push_back(tab == line.npos ? Choice{line, line} : Choice{line.substr(0, tab), line.substr(tab + 1)});
  }
  if (choices_.empty()) return {Status::kBadArgument, "there must be at least one choice", option};
  return {};
}

Error Classifier::ReadQuestion(const ClassifierOptions& options) {
  const Result<Task> task = ReadTask(runtime_.file());
  if (!task && task.error().status != Status::kNotFound) return task.error();
  if (task) task_ = *task;
  if (options.choices.empty() && task_.choices.size() == 0) {
    return {Status::kNotFound, "the model does not say what to choose from; give --choices", "thimble.choices"};
  }
  if (!options.choices.empty()) {
    if (const Error error = ReadChoices(options.choices); !error.ok()) return error;
  } else {
    for (const std::string_view choice : task_.choices) choices_.push_back({std::string(choice), std::string(choice)});
    size_t i = 0;
    for (const std::string_view label : task_.labels) choices_[i++].label = label;
  }
  prompt_ = !options.prompt.empty() ? options.prompt : std::string(task_.prompt);
  if (!prompt_.empty()) {
    const size_t mark = prompt_.find(Task::kTextMark);
    if (mark != prompt_.npos && prompt_.find(Task::kTextMark, mark + 1) == prompt_.npos) return {};
    return {Status::kBadArgument, "a prompt must hold {text} exactly once", prompt_};
  }
  const Result<ChatTemplate> chat = DetectTemplate(runtime_.file());
  if (!chat) {
    return {Status::kNotFound,
            "the model has neither a prompt of its own nor a chat template known here; give --prompt",
            "thimble.prompt"};
  }
  chat_ = *chat;
  instruction_ = "Which of these fits the text below best? Answer with one of them and nothing else:";
  for (const Choice& choice : choices_) instruction_ += "\n- " + choice.text;
  instruction_ += "\n\nText: ";
  return {};
}

Error Classifier::BindChoices() {
  std::vector<std::vector<Token>> encoded;
  for (const Choice& choice : choices_) {
    const Encoded tokens(runtime_.tokenizer(), choice.text, Specials::kRecognise);
    if (!tokens) return tokens.error();
    encoded.push_back(*tokens);
  }
  const std::vector<std::span<const Token>> spans(encoded.begin(), encoded.end());
  const auto ends = runtime_.tokenizer().end_tokens();
  const Token end = ends.empty() ? -1 : ends[0];
  Error error =
      runtime_.Place([&](Arena& arena) { return tree_.Bind(spans, end, runtime_.model().config.vocab_size, arena); });
  if (error.status == Status::kBadArgument && error.at < choices_.size()) {
    problem_ = choices_[error.at].text;
    error.name = problem_;
    error.at = 0;
  }
  return error;
}

Error Classifier::Open(const ClassifierOptions& options, size_t longest, bool many) {
  if (const Error error = runtime_.Open(options); !error.ok()) return error;
  if (const Error error = ReadQuestion(options); !error.ok()) return error;
  Result<Limits> limits = runtime_.LimitsOf(options);
  if (!limits) return limits.error();
  if (longest == 0) longest = kBytesPerToken * limits->context;
  longest = std::max(longest, options.content_free.size());
  size_t room = prompt_.size() + instruction_.size() + longest + kTemplateRoom;
  for (const Choice& choice : choices_) room = std::max(room, choice.text.size());
  if (const Error error = runtime_.BindVocabulary(room); !error.ok()) return error;
  if (const Error error = BindChoices(); !error.ok()) return error;
  keeps_ = many || !options.content_free.empty();
  limits->checkpoints = static_cast<uint32_t>(std::min(tree_.checkpoints_wanted(), kMaxCheckpoints)) + (keeps_ ? 1 : 0);
  if (const Error error = runtime_.BindSession(*limits); !error.ok()) return error;
  normal_.resize(longest);
  scratch_.resize(room);
  tokens_.resize(runtime_.tokenizer().MaxTokens(room));
  log_p_.resize(choices_.size());
  if (const Error error = prefixes_.Open(options.cache); !error.ok()) return error;
  if (prefixes_.open()) {
    if (const Error error = FindBeginning(); !error.ok()) return error;
  } else if (keeps_) {  // already the first prompt has something in common with one before it: the question
    const Result<size_t> question = Encode("-");
    if (!question) return question.error();
    before_.assign(tokens_.begin(), tokens_.begin() + static_cast<ptrdiff_t>(*question));
  }
  if (options.content_free.empty()) return {};
  std::vector<float> log_p(choices_.size());
  Verdict verdict;
  const Error error = Score(options.content_free, log_p, &verdict);
  content_free_ = std::move(log_p);
  return error;
}

Result<size_t> Classifier::Encode(std::string_view text) {
  if (!prompt_.empty()) return EncodePrompt(prompt_, text, runtime_.tokenizer(), scratch_, tokens_);
  const std::string content = instruction_ + std::string(text);
  const Message message{.role = Role::kUser, .content = content};
  const Conversation conversation{.messages = {&message, 1}, .thinking = Thinking::kOff};
  return RenderTokens(chat_, conversation, runtime_.tokenizer(), scratch_, tokens_);
}

// What all prompts begin with: whatever two texts that begin differently leave of it.
Error Classifier::FindBeginning() {
  for (const std::string_view text : {"-", "a"}) {
    const Result<size_t> count = Encode(text);
    if (!count) return count.error();
    const std::span<const Token> prompt(tokens_.data(), *count);
    if (text == "-") beginning_.assign(prompt.begin(), prompt.end());
    beginning_.resize(SharedTokens(beginning_, prompt));
  }
  return {};
}

// The checkpoint holds what this prompt and the one before have in common; only whole batches of it, for then the
// batches are the same as without it, and so is every bit of the result. With a directory for beginnings it holds the
// question, behind which a batch ends anyway.
Error Classifier::Feed(std::span<const Token> prompt, size_t* reused) {
  Session& session = runtime_.session();
  size_t shared = 0;
  if (prefixes_.open()) {
    shared = SharedTokens(prompt, beginning_);
    if (kept_ != shared) kept_ = 0;
  } else if (keeps_) {
    const size_t batch = session.limits().batch;
    shared = std::min(SharedTokens(prompt, before_), prompt.size() - 1) / batch * batch;
    if (shared < kept_) kept_ = 0;
    before_.assign(prompt.begin(), prompt.end());
  }
  if (kept_ > 0) {
    session.Recall(0);
  } else if (prefixes_.open()) {
    prefixes_.Restore(prompt, shared);
  } else {
    session.Reset();
  }
  *reused = session.length();
  for (const size_t end : {shared, prompt.size()}) {
    if (end > session.length()) {
      const std::span<const Token> tokens = prompt.first(end);
      const size_t more = prompt.size() - end;
      const Result<bool> fed = prefixes_.open() ? prefixes_.Feed(tokens, {&shared, 1}, more)
                                                : runtime_.Feed(tokens.subspan(session.length()), more);
      if (!fed) return fed.error();
      if (!*fed) return {Status::kSystem, "interrupted", "classify"};
    }
    if (end != shared || !keeps_ || kept_ == shared) continue;
    session.Keep(0);
    kept_ = shared;
  }
  return {};
}

Error Classifier::Score(std::string_view text, std::span<float> log_p, Verdict* verdict) {
  const size_t length = NormaliseText(task_, text, normal_);
  const Result<size_t> count = Encode({normal_.data(), length});
  if (!count) return count.error();
  if (*count == 0) return {Status::kBadArgument, "the prompt has no tokens", "--prompt"};
  verdict->tokens = *count;
  if (const Error error = Feed({tokens_.data(), *count}, &verdict->reused); !error.ok()) return error;
  const Error error = tree_.Score(runtime_.session(), log_p, keeps_ ? 1 : 0);
  if (error.status != Status::kFull) return error;
  return {Status::kFull,
          "the prompt and its longest choice do not fit in the context; raise --ctx, which is",
          {},
          {},
          runtime_.session().limits().context};
}

Error Classifier::Classify(std::string_view text, Verdict* verdict) {
  if (text.size() > normal_.size()) {
    return {Status::kTooLarge,
            "a text is longer than the context allows for; raise --ctx, or cut it to this many bytes",
            {},
            {},
            normal_.size()};
  }
  if (const Error error = Score(text, log_p_, verdict); !error.ok()) return error;
  if (!content_free_.empty()) Calibrate(log_p_, content_free_, log_p_);
  verdict->p.resize(log_p_.size());
  std::transform(log_p_.begin(), log_p_.end(), verdict->p.begin(), [](float x) { return std::exp(x); });
  verdict->order.resize(log_p_.size());
  TopK(log_p_, verdict->order);
  return {};
}

}  // namespace thimble::program
