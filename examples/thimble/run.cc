// SPDX-License-Identifier: Apache-2.0
//
// thimble run: one answer to -p TEXT or to a conversation in a file, or question after question from standard input.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console.h"
#include "messages.h"
#include "speaker.h"

namespace thimble::program {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxLine = 65536;  // bytes of one question from standard input

struct RunOptions : SpeakerOptions {
  std::string prompt;
  std::string messages;
  std::string system;
  bool has_prompt = false;
  bool json = false;
  bool quiet = false;
};

double Rate(size_t count, double seconds) { return seconds > 0 ? static_cast<double>(count) / seconds : 0.0; }

std::string JsonText(const Answer& answer, const Speaker& speaker) {
  const ProcessMemory memory = MeasureMemory();
  Json json;
  json["text"] = answer.text;
  json["stopped"] = answer.stopped;
  json["ids"] = answer.tokens;
  json["prompt_tokens"] = answer.prompt_tokens;
  json["reused_tokens"] = answer.reused_tokens;
  json["tokens"] = answer.tokens.size();
  json["prefill_tps"] = Rate(answer.fed_tokens(), answer.prefill_seconds);
  json["decode_tps"] = Rate(answer.tokens.size(), answer.decode_seconds);
  json["seed"] = speaker.seed();
  json["arena_bytes"] = speaker.runtime().arena_bytes();
  json["rss_anon_mb"] = memory.anonymous;
  json["rss_file_mb"] = memory.file;
  return JsonLine(json);
}

// Behind an answer: the end of its line, or the whole of it as JSON; then the figures.
Error Finish(const RunOptions& options, const Answer& answer, const Speaker& speaker) {
  const Error error = PrintLine(options.json ? JsonText(answer, speaker) : "");
  if (!error.ok() || options.quiet || answer.prompt_tokens == 0) return error;
  const std::string reused = answer.reused_tokens == 0 ? "" : " (" + std::to_string(answer.reused_tokens) + " reused)";
  std::fprintf(stderr, "prompt %zu tokens%s, %.1f/s; answer %zu tokens, %.1f/s (%s); %s\n", answer.prompt_tokens,
               reused.c_str(), Rate(answer.fed_tokens(), answer.prefill_seconds), answer.tokens.size(),
               Rate(answer.tokens.size(), answer.decode_seconds), answer.stopped.c_str(),
               MemoryText(speaker.runtime().arena_bytes()).c_str());
  return {};
}

Error EmitText(std::string_view text) { return Print(text); }
Error EmitNothing(std::string_view) { return {}; }

int AnswerOnce(Speaker& speaker, const RunOptions& options, const Conversation& conversation) {
  const Result<size_t> bytes = options.raw ? Result<size_t>(options.prompt.size()) : speaker.Measure(conversation);
  if (!bytes) return Fail(bytes.error());
  if (const Error error = speaker.Bind(*bytes, false); !error.ok()) return Fail(error);
  const Speaker::Emit emit = options.json ? EmitNothing : EmitText;
  Answer answer;
  const Error error =
      options.raw ? speaker.Continue(options.prompt, emit, &answer) : speaker.Reply(conversation, emit, &answer);
  if (!error.ok()) return Fail(error);
  if (const Error unfinished = Finish(options, answer, speaker); !unfinished.ok()) return Fail(unfinished);
  return answer.stopped == "interrupted" ? Fail("interrupted", "run") : kFine;
}

int AnswerFile(Speaker& speaker, const RunOptions& options) {
  std::string json;
  if (const Error error = ReadFile(options.messages, &json); !error.ok()) return Fail(error);
  Messages messages;
  if (const Error error = messages.Parse(json); !error.ok()) return Fail(error);
  return AnswerOnce(speaker, options, messages.conversation());
}

// The conversation with a person: the system prompt first, if there is one, then a question a turn.
int AnswerLines(Speaker& speaker, const RunOptions& options) {
  Message messages[] = {{.role = Role::kSystem, .content = options.system}, {.role = Role::kUser}};
  const auto conversation = [&](std::string_view question, bool first) {
    messages[1].content = question;
    const bool system = first && !options.system.empty();
    return Conversation{.messages = std::span(messages).subspan(system ? 0 : 1), .after_answer = !first};
  };
  const Result<size_t> bytes = speaker.Measure(conversation(std::string(kMaxLine, 'x'), true));
  if (!bytes) return Fail(bytes.error());
  if (const Error error = speaker.Bind(*bytes, true); !error.ok()) return Fail(error);
  const Speaker::Emit emit = options.json ? EmitNothing : EmitText;
  bool first = true;
  std::string line;
  while (ReadLine(&line)) {
    if (line.empty()) continue;
    if (line.size() > kMaxLine)
      return Fail("a question may not be longer than this many bytes", std::to_string(kMaxLine));
    Answer answer;
    if (const Error error = speaker.Reply(conversation(line, first), emit, &answer); !error.ok()) return Fail(error);
    if (answer.prompt_tokens > 0) first = false;
    if (const Error error = Finish(options, answer, speaker); !error.ok()) return Fail(error);
    ClearInterrupt();  // Ctrl-C ended the answer, not the conversation
  }
  const Error error = InputError();
  return error.ok() || Interrupted() ? kFine : Fail(error);  // Ctrl-C at the prompt: the person has left
}

int Run(const RunOptions& options) {
  if (options.raw && !options.has_prompt) return Misused("--raw needs a text to go on with", "-p TEXT");
  Speaker speaker(options);
  if (const Error error = speaker.Open(); !error.ok()) return Fail(error);
  if (!options.messages.empty()) return AnswerFile(speaker, options);
  if (!options.has_prompt) return AnswerLines(speaker, options);
  const Message messages[] = {{.role = Role::kSystem, .content = options.system},
                              {.role = Role::kUser, .content = options.prompt}};
  return AnswerOnce(speaker, options, {.messages = std::span(messages).subspan(options.system.empty() ? 1 : 0)});
}

void AddWhat(CLI::App& command, RunOptions& o) {
  auto* prompt = command.add_option("-p", o.prompt, "the question")->option_text("TEXT");
  auto* messages = command
                       .add_option("--messages", o.messages,
                                   "a conversation as JSON, with tools if wanted, as OpenAI's "
                                   "chat completions take it")
                       ->option_text("FILE");
  auto* system = command.add_option("--system", o.system, "the system prompt")->option_text("TEXT");
  auto* raw =
      command.add_flag("--raw", o.raw, "no chat template: goes on with the text, in which special tokens count");
  AddTemplate(command, o);
  messages->excludes(prompt)->excludes(system)->excludes(raw);
  raw->excludes(system)->option_text(" ");
}

}  // namespace

void AddRun(CLI::App& app, int& code) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Answers a question, or talks.");
  command->usage(
      "Usage: thimble run MODEL [options]\n\nWithout -p and --messages it talks: a question a line, an answer "
      "each, until the input ends. Ctrl-C ends an\nanswer, and at the prompt the conversation.");
  AddModel(*command, *options);
  AddWhat(*command, *options);
  command
      ->add_option("-n", options->tokens,
                   "tokens to generate at most (default: until the model ends or the context is full)")
      ->option_text("N")
      ->check(Between(1, UINT32_MAX));
  command->add_flag("--ignore-eos", options->ignore_eos, "never end before -n tokens");
  OneEach(command->add_option("--stop", options->stops, "text that ends the answer; may be given several times"))
      ->option_text("TEXT");
  command->add_flag("--json", options->json, "print one JSON object for each answer");
  command->add_flag("--quiet", options->quiet, "no closing line of figures");
  AddLimits(*command, *options);
  AddCache(*command, options->cache);
  AddWindow(*command, *options);
  AddSampling(*command, options->sampling);
  command->callback([=, &code] {
    options->has_prompt = command->count("-p") > 0;
    code = Run(*options);
  });
}

}  // namespace thimble::program
