// SPDX-License-Identifier: Apache-2.0
//
// thimble plan: the memory of a firmware that chooses with a model's own question, as a table or as a header that the
// firmware's own arena is checked against when it is compiled; and what is in the model's file, as source that it
// links.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "commands.h"
#include "console.h"
#include "core/choices.h"
#include "io/linked_model.h"
#include "io/task.h"
#include "linked_source.h"
#include "runtime.h"

namespace thimble::program {
namespace {

using Json = nlohmann::ordered_json;

struct PlanOptions : ModelOptions {
  size_t text = 256;
  bool header = false;
  bool source = false;
  bool json = false;
};

// What a firmware takes from its arena, in this order.
struct Sections {
  size_t tokenizer, choices;
  SessionPlan session;
  size_t total() const { return tokenizer + choices + session.total(); }
};

// `text` counts the question around it.
Result<Sections> Measure(const Runtime& runtime, const ProvenFile& proven, const Limits& limits, size_t text) {
  Sections sections = {};
  Arena arena;
  const Result<Tokenizer> tokenizer = Tokenizer::Bind(proven.tokenizer, text, arena, kLatin);
  if (!tokenizer) return tokenizer.error();
  sections.tokenizer = arena.used();
  Choices choices;
  const size_t count = proven.answers.size();
  if (const Error error = choices.Place(count, count, 1, arena); !error.ok()) return error;
  sections.choices = arena.used() - sections.tokenizer;
  const Result<SessionPlan> session = Session::Plan(runtime.model().config, limits, {});
  if (!session) return session.error();
  sections.session = *session;
  return sections;
}

// All that a firmware would otherwise have to find for itself; the answers' tokens are put into `answers`.
Result<ProvenFile> Prove(Runtime& runtime, const Task& task, std::vector<Token>* answers) {
  const Result<TokenizerView> tokenizer = TokenizerView::Read(runtime.file());
  if (!tokenizer) return tokenizer.error();
  if (const Error error = runtime.BindVocabulary(0); !error.ok()) return error;
  answers->resize(task.choices.size());
  const Result<size_t> count = FindAnswers(task, runtime.tokenizer(), *answers);
  if (!count) return count.error();
  return ProvenFile{runtime.parts()[0], runtime.model(), *tokenizer, task, *answers};
}

Error PrintHeader(const PlanOptions& options, const Task& task, const Limits& limits, const Sections& sections,
                  size_t model_bytes) {
  std::string text =
      "/* Written by `thimble plan MODEL --header`: what a firmware takes that chooses with this model. */\n"
      "/* clang-format off */\n"
      "#pragma once\n\n";
  const auto define = [&text](const char* name, uint64_t value, const char* remark) {
    char line[160];
    std::snprintf(line, sizeof line, "#define THIMBLE_PLAN_%-12s %8llu  /* %s */\n", name,
                  static_cast<unsigned long long>(value), remark);
    text += line;
  };
  define("MODEL_BYTES", model_bytes, "of the file");
  define("TEXT", options.text, "bytes of the longest text");
  define("PROMPT", task.prompt.size(), "bytes of the question around it");
  define("CHOICES", task.choices.size(), "answers");
  define("CONTEXT", limits.context, "tokens");
  define("BATCH", limits.batch, "tokens");
  define("K", static_cast<uint32_t>(limits.k), TypeName(static_cast<uint32_t>(limits.k)));
  define("V", static_cast<uint32_t>(limits.v), TypeName(static_cast<uint32_t>(limits.v)));
  define("STATE", static_cast<uint32_t>(limits.state), limits.state == StateForm::kF32 ? "float32" : "16 bits");
  define("WINDOW", limits.window, "tokens; 0: the whole context");
  define("SINKS", limits.sinks, "tokens, with a window");
  define("BYTES", sections.total(), "of the arena, at most: pointers of 32 bits take less");
  return Print(text);
}

Error PrintTable(const PlanOptions& options, const Sections& sections, size_t model_bytes) {
  const Json rows = {{"tokenizer", sections.tokenizer},
                     {"choices", sections.choices},
                     {"state", sections.session.state},
                     {"cache", sections.session.cache},
                     {"work", sections.session.work},
                     {"arena", sections.total()},
                     {"model", model_bytes}};
  if (options.json) return PrintLine(JsonLine(rows));
  std::string text;
  for (const auto& [name, bytes] : rows.items()) {
    char line[80];
    std::snprintf(line, sizeof line, "%-10s %9zu bytes\n", name.c_str(), bytes.get<size_t>());
    text += line;
  }
  return Print(text);
}

int Plan(PlanOptions options) {
  options.threads = options.decode_threads = 1;
  Runtime runtime;
  if (const Error error = runtime.Open(options); !error.ok()) return Fail(error);
  if (runtime.parts().size() != 1) return Fail("a firmware's model is one file; make a pack of it", options.model);
  const Result<Limits> limits = runtime.LimitsOf(options);
  if (!limits) return Fail(limits.error());
  const Result<Task> task = ReadTask(runtime.file());
  if (!task) return Fail(task.error());
  std::vector<Token> answers;
  const Result<ProvenFile> proven = Prove(runtime, *task, &answers);
  if (!proven) return Fail(proven.error());
  const Result<Sections> sections = Measure(runtime, *proven, *limits, options.text + task->prompt.size());
  if (!sections) return Fail(sections.error());
  const Error error = options.header   ? PrintHeader(options, *task, *limits, *sections, runtime.file_bytes())
                      : options.source ? Print(LinkedSource(*proven, limits->k, limits->v))
                                       : PrintTable(options, *sections, runtime.file_bytes());
  return error.ok() ? kFine : Fail(error);
}

}  // namespace

void AddPlan(CLI::App& app, int& code) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command = app.add_subcommand("plan", "The memory of a firmware that chooses with a model.");
  command->usage(
      "Usage: thimble plan MODEL [options]\n\nEvery byte that a firmware takes from its arena to answer the question "
      "of the model file with one of its choices,\non one core with the kernels of a microcontroller. MODEL is a pack: "
      "the index of its tokenizer is read in flash.");
  AddModel(*command, *options);
  AddLimits(*command, *options);
  AddWindow(*command, *options);
  command->add_option("--text", options->text, "bytes of the longest text (default: 256)")
      ->option_text("N")
      ->check(Between(1, 1 << 20));
  command->add_flag("--header", options->header, "print a C header that the firmware's arena is checked against");
  command->add_flag("--source", options->source, "print C++ source that has the file's contents as constants")
      ->excludes("--header");
  command->add_flag("--json", options->json, "print one JSON object")->excludes("--header")->excludes("--source");
  command->callback([=, &code] { code = Plan(*options); });
}

}  // namespace thimble::program
