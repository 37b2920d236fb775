// SPDX-License-Identifier: Apache-2.0
//
// thimble classify: the probability of each of a closed set of answers to a text, exactly.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "classifier.h"
#include "commands.h"
#include "console.h"

namespace thimble::program {
namespace {

using Json = nlohmann::ordered_json;

struct ClassifyOptions : ClassifierOptions {
  std::vector<std::string> texts;
  float threshold = -1.0f;  // below 0: the model's own
  size_t top_k = 5;
  bool json = false;
  bool quiet = false;
};

class Listing {
 public:
  Listing(const ClassifyOptions& options, Classifier& classifier) : options_(options), classifier_(classifier) {}

  /// Classifies one text and prints its line.
  Error Add(const std::string& text) {
    Classifier::Verdict verdict;
    const Stopwatch watch;
    if (const Error error = classifier_.Classify(text, &verdict); !error.ok()) return error;
    const double seconds = watch.seconds();
    seconds_ += seconds;
    tokens_ += verdict.tokens;
    ++count_;
    return PrintLine(options_.json ? JsonText(text, verdict, seconds) : Row(text, verdict, seconds));
  }

  size_t count() const { return count_; }

  void PrintFigures() const {
    if (options_.quiet || count_ == 0) return;
    std::fprintf(stderr, "%zu %s, %.2f ms each, %.0f tokens/s; %s\n", count_, count_ == 1 ? "text" : "texts",
                 seconds_ * 1000 / static_cast<double>(count_), static_cast<double>(tokens_) / seconds_,
                 MemoryText(classifier_.arena_bytes()).c_str());
  }

 private:
  bool IsUncertain(const Classifier::Verdict& verdict) const {
    const float threshold = options_.threshold >= 0.0f ? options_.threshold : classifier_.task().threshold;
    return verdict.p[verdict.order[0]] < threshold;
  }

  std::string JsonText(const std::string& text, const Classifier::Verdict& verdict, double seconds) const {
    const auto label = [&](uint32_t i) { return classifier_.choices()[i].label; };
    const uint32_t best = verdict.order[0];
    Json json;
    json["text"] = text;
    json["label"] = label(best);
    json["p"] = verdict.p[best];
    json["uncertain"] = IsUncertain(verdict);
    if (const std::string_view none = classifier_.task().out_of_scope; !none.empty()) {
      json["out_of_scope"] = IsUncertain(verdict) || label(best) == none;
    }
    json["choices"] = Json::array();
    for (size_t i = 0; i < std::min(options_.top_k, verdict.order.size()); ++i) {
      json["choices"].push_back({{"label", label(verdict.order[i])}, {"p", verdict.p[verdict.order[i]]}});
    }
    json["tokens"] = verdict.tokens;
    json["reused_tokens"] = verdict.reused;
    json["ms"] = seconds * 1000;
    return JsonLine(json);
  }

  // A row of the table, under its head if it is the first.
  std::string Row(const std::string& text, const Classifier::Verdict& verdict, double seconds) const {
    const uint32_t best = verdict.order[0];
    const std::string label = classifier_.choices()[best].label + (IsUncertain(verdict) ? " (uncertain)" : "");
    char columns[512];
    std::snprintf(columns, sizeof columns, "%-32s %6.3f %8.2f  ", label.c_str(), static_cast<double>(verdict.p[best]),
                  seconds * 1000);
    std::string row = count_ == 1 ? "label                                 p       ms  text\n" : "";
    row += columns;
    for (const char c : text) row += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    return row;
  }

  const ClassifyOptions& options_;
  Classifier& classifier_;
  size_t count_ = 0;
  size_t tokens_ = 0;
  double seconds_ = 0;
};

int Classify(const ClassifyOptions& options) {
  size_t longest = 0;
  for (const std::string& text : options.texts) longest = std::max(longest, text.size());
  Classifier classifier;
  if (const Error error =
          classifier.Open(options, options.texts.empty() ? 0 : std::max<size_t>(longest, 1), options.texts.size() != 1);
      !error.ok()) {
    return Fail(error);
  }
  Listing listing(options, classifier);
  for (const std::string& text : options.texts) {
    if (const Error error = listing.Add(text); !error.ok()) return Fail(error);
  }
  std::string line;
  while (options.texts.empty() && ReadLine(&line)) {
    if (line.empty()) continue;
    if (const Error error = listing.Add(line); !error.ok()) return Fail(error);
  }
  listing.PrintFigures();
  if (!Interrupted()) {
    const Error error = options.texts.empty() ? InputError() : Error{};
    return error.ok() ? kFine : Fail(error);
  }
  return Fail("interrupted", "after " + std::to_string(listing.count()) + (listing.count() == 1 ? " text" : " texts"));
}

}  // namespace

void AddClassify(CLI::App& app, int& code) {
  constexpr int kAnyNumber = 1 << 28;
  auto options = std::make_shared<ClassifyOptions>();
  CLI::App* command = app.add_subcommand("classify", "The most probable of a closed set of answers, for each text.");
  command->usage(
      "Usage: thimble classify MODEL [options] [TEXT...]\n\nThe probabilities are exact and sum to 1 over the "
      "answers. A model may bring its own question and answers.");
  AddModel(*command, *options);
  OneEach(command->add_option("TEXT", options->texts,
                              "the texts (default: standard input, one a line; empty lines are "
                              "passed over)"))
      ->expected(kAnyNumber)
      ->option_text("...");
  command
      ->add_option("--choices", options->choices,
                   "the answers: A,B,C, or a file with one a line (and behind a tab its "
                   "label)")
      ->option_text("A,B|FILE");
  command
      ->add_option("--prompt", options->prompt,
                   "the question, with {text} where the text goes and special tokens "
                   "spelled out")
      ->option_text("TEXT");
  command->add_option("--top-k", options->top_k, "answers that --json lists (default: 5)")
      ->option_text("N")
      ->check(Between(1, UINT32_MAX));
  command
      ->add_option("--threshold", options->threshold,
                   "answers below this probability are uncertain (default: the "
                   "model's own)")
      ->option_text("P")
      ->check(Between(0, 1));
  command->add_flag("--calibrate", options->content_free,
                    "divide by the probabilities for a text that says nothing: N/A, or "
                    "--calibrate=TEXT");
  command->add_flag("--json", options->json, "print one JSON object a line");
  command->add_flag("--quiet", options->quiet, "no closing line of figures");
  AddLimits(*command, *options);
  AddCache(*command, options->cache);
  command->callback([=, &code] {
    if (options->content_free == "true") options->content_free = "N/A";  // how CLI11 says that there was no =TEXT
    code = Classify(*options);
  });
}

}  // namespace thimble::program
