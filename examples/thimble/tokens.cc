// SPDX-License-Identifier: Apache-2.0
//
// thimble tokenize, thimble detokenize: text to token ids and back, for scripts.
#include <CLI/CLI.hpp>
#include <memory>

#include "commands.h"
#include "console.h"
#include "ids.h"
#include "runtime.h"

namespace thimble::program {
namespace {

int Tokenize(ModelOptions options) {
  options.threads = 1;  // nothing is computed
  Runtime runtime;
  if (const Error error = runtime.Open(options); !error.ok()) return Fail(error);
  std::string text;
  if (const Error error = ReadAll(&text); !error.ok()) return Fail(error);
  if (const Error error = runtime.BindVocabulary(text.size()); !error.ok()) return Fail(error);
  const Encoded ids(runtime.tokenizer(), text, Specials::kRecognise);
  if (!ids) return Fail(ids.error());
  std::string line;
  for (const Token id : *ids) line += (line.empty() ? "" : ",") + std::to_string(id);
  const Error error = PrintLine(line);
  return error.ok() ? kFine : Fail(error);
}

struct DetokenizeOptions : ModelOptions {
  std::string ids;
  bool has_ids = false;
};

int Detokenize(DetokenizeOptions options) {
  options.threads = 1;
  Runtime runtime;
  if (const Error error = runtime.Open(options); !error.ok()) return Fail(error);
  std::string list = options.ids;
  if (!options.has_ids) {
    if (const Error error = ReadAll(&list); !error.ok()) return Fail(error);
  }
  if (const Error error = runtime.BindVocabulary(0); !error.ok()) return Fail(error);
  std::vector<Token> ids;
  if (const Error error = ParseIds(list, runtime.tokenizer().size(), &ids); !error.ok()) return Fail(error);
  std::string text;
  std::vector<char> bytes(runtime.tokenizer().max_token_bytes());
  for (const Token id : ids) text.append(bytes.data(), runtime.tokenizer().Decode(id, bytes));
  const Error error = Print(text);
  return error.ok() ? kFine : Fail(error);
}

}  // namespace

void AddTokenize(CLI::App& app, int& code) {
  auto options = std::make_shared<ModelOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Standard input as token ids.");
  command->usage(
      "Usage: thimble tokenize MODEL\n\nPrints the ids of the text on standard input on one line, with commas "
      "between. Special tokens are recognised;\nnothing is added.");
  AddModel(*command, *options);
  command->callback([=, &code] { code = Tokenize(*options); });
}

void AddDetokenize(CLI::App& app, int& code) {
  auto options = std::make_shared<DetokenizeOptions>();
  CLI::App* command = app.add_subcommand("detokenize", "Token ids as text.");
  command->usage(
      "Usage: thimble detokenize MODEL [--ids 1,2,3]\n\nPrints the bytes of the tokens, special ones spelled out, "
      "and nothing else.");
  AddModel(*command, *options);
  auto* ids = command->add_option("--ids", options->ids, "the ids (default: standard input)")->option_text("1,2,3");
  command->callback([=, &code] {
    options->has_ids = ids->count() > 0;
    code = Detokenize(*options);
  });
}

}  // namespace thimble::program
