// SPDX-License-Identifier: Apache-2.0
//
// thimble bench: how fast a model is on this machine and what it takes, for every combination of sizes that was asked
// for.
#include <CLI/CLI.hpp>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <memory>
#include <vector>

#include "bench_measure.h"
#include "bench_plot.h"
#include "bench_report.h"
#include "commands.h"

namespace thimble::program {
namespace {

struct BenchOptions : ModelOptions {
  std::string prefill, decode, depth;  // numbers, separated by commas; empty: the default
  uint32_t repetitions = 3;
  bool json = false;
  bool csv = false;
  std::string plot;
};

// False when `text` is not a list of whole numbers up to INT32_MAX.
bool ParseList(const std::string& text, std::vector<uint32_t>* list) {
  const char* at = text.data();
  const char* const end = at + text.size();
  for (;; ++at) {
    uint32_t number = 0;
    const auto [next, problem] = std::from_chars(at, end, number);
    if (problem != std::errc{} || number > INT32_MAX) return false;
    list->push_back(number);
    at = next;
    if (at == end) return true;
    if (*at != ',') return false;
  }
}

CLI::Validator Counts() {
  const auto check = [](const std::string& text) -> std::string {
    std::vector<uint32_t> list;
    return ParseList(text, &list) ? "" : "must be numbers of tokens, separated by commas";
  };
  return CLI::Validator(check, "");
}

// One request for every combination; depth changes fastest.
std::vector<BenchRequest> Requests(const BenchOptions& options) {
  const auto list = [](const std::string& text) {
    std::vector<uint32_t> numbers;
    if (text.empty()) return std::vector<uint32_t>{0};
    ParseList(text, &numbers);
    return numbers;
  };
  std::vector<BenchRequest> requests;
  for (const uint32_t prefill : list(options.prefill)) {
    for (const uint32_t decode : list(options.decode)) {
      for (const uint32_t depth : list(options.depth)) {
        requests.push_back({.model = options,
                            .sizes = {.prefill = prefill, .decode = decode, .depth = depth},
                            .prefill_given = !options.prefill.empty(),
                            .decode_given = !options.decode.empty(),
                            .repetitions = options.repetitions});
      }
    }
  }
  return requests;
}

Error WritePlot(const std::string& path, const std::string& model, std::span<const BenchFigures> rows) {
  const std::string name = model.substr(model.find_last_of('/') + 1);
  const size_t prefill = rows[0].prefill_threads, decode = rows[0].decode_threads;
  std::string threads = std::to_string(prefill);
  if (decode != prefill) threads += " and " + std::to_string(decode);
  const std::string title = name + ", " + rows[0].kernels + ", " + threads + (threads == "1" ? " thread" : " threads");
  errno = 0;
  std::ofstream out(path, std::ios::binary);
  out << BenchSvg(title, rows);
  out.close();
  if (out) return {};
  return {Status::kSystem, "this cannot be written", path, {}, static_cast<uint64_t>(errno)};
}

int Bench(const BenchOptions& options) {
  const std::vector<BenchRequest> requests = Requests(options);
  for (const BenchRequest& request : requests) {
    const bool none =
        request.prefill_given && request.decode_given && request.sizes.prefill + request.sizes.decode == 0;
    if (none) return Misused("there is nothing to measure", "--pp 0 --tg 0");
    const BenchSizes &first = requests[0].sizes, &own = request.sizes;
    const bool same = own.prefill == first.prefill && own.decode == first.decode;
    if (!options.plot.empty() && !same)
      return Misused("--plot takes one --pp and one --tg", "see thimble bench --help");
  }
  std::vector<BenchFigures> rows;
  for (const BenchRequest& request : requests) {
    rows.emplace_back();
    const auto runtime = std::make_unique<Runtime>();
    const Result<bool> done = MeasureBench(request, *runtime, &rows.back());
    if (!done) return Fail(done.error());
    if (!*done) return Fail("interrupted", "bench");
  }
  const std::string text = options.json  ? BenchJson(options.model, rows)
                           : options.csv ? BenchCsv(options.model, rows)
                                         : BenchText(rows);
  if (!options.plot.empty()) {
    if (const Error error = WritePlot(options.plot, options.model, rows); !error.ok()) return Fail(error);
  }
  const Error error = PrintLine(text);
  return error.ok() ? kFine : Fail(error);
}

}  // namespace

void AddBench(CLI::App& app, int& code) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand("bench", "Speed and memory of a model on this machine.");
  AddModel(*command, *options);
  command->usage(
      "Usage: thimble bench MODEL [options]\n\nFeeds random tokens, then generates, each from the same depth: tokens "
      "per second of both up to the choice of the\nnext token, the weights that a token reads and how fast the "
      "same threads only read them, memory at most, time by part.\nN may be several numbers, separated by commas: a "
      "row for "
      "every combination. Rates are medians.");
  const auto add = [&](const char* name, std::string& value, const char* what) {
    command->add_option(name, value, what)->option_text("N")->check(Counts());
  };
  add("--pp", options->prefill, "prompt tokens, 0 for none (default: 512, or what the model was trained for)");
  add("--tg", options->decode, "generated tokens, 0 for none (default: 64, or as above)");
  add("--depth", options->depth, "tokens that are in the context before each of the two (default: 0)");
  command->add_option("--reps", options->repetitions, "repetitions (default: 3)")
      ->option_text("N")
      ->check(Between(1, 1000));
  auto* json = command->add_flag("--json", options->json, "print one JSON object, of several rows an array");
  auto* csv = command->add_flag("--csv", options->csv, "print comma-separated values");
  csv->excludes(json)->option_text(" ");
  json->option_text(" ");
  command
      ->add_option("--plot", options->plot, "draw speed and memory against depth into this file; one --pp and one --tg")
      ->option_text("OUT.svg");
  AddLimits(*command, *options);
  command->callback([=, &code] { code = Bench(*options); });
}

}  // namespace thimble::program
