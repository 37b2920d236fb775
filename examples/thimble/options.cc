// SPDX-License-Identifier: Apache-2.0
//
// See options.h.
#include "options.h"

#include <charconv>
#include <cmath>
#include <vector>

#include "arm/kernel_tables.h"

namespace thimble::program {
namespace {

std::string Short(double number) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, number).ptr;
  return {text, end};
}

}  // namespace

void AddModel(CLI::App& command, ModelOptions& options) {
  command.add_option("MODEL", options.model, "a Qwen3.5 text model in GGUF; of a split one, the first part")
      ->required()
      ->option_text(" ");
}

void AddLimits(CLI::App& command, ModelOptions& options) {
  command
      .add_option("--ctx", options.context, "tokens that the context holds (default: the model's own, at most 4096)")
      ->option_text("N")
      ->check(Between(1, INT32_MAX));
  command.add_option("--batch", options.batch, "prompt tokens that go through the model together (default: 64)")
      ->option_text("N")
      ->check(Between(1, INT32_MAX));
  command.add_option("--threads", options.threads, "threads that compute (default: all cores, one for a tiny model)")
      ->option_text("N")
      ->check(Between(1, 256));
  command
      .add_option("--decode-threads", options.decode_threads,
                  "of them, for one token at a time (default: as --threads, or as many as memory can feed)")
      ->option_text("N")
      ->check(Between(1, 256));
  command.add_option("--kv", options.kv, "numbers of the key/value cache (default: " + options.kv + ")")
      ->option_text("f16|f32|q8|q4")
      ->check(CLI::IsMember({"f16", "f32", "q8", "q4"}));
  command.add_option("--v", options.v, "numbers of its values, which never have more bits than its keys")
      ->option_text("f16|f32|q8|q4|q3")
      ->check(CLI::IsMember({"f16", "f32", "q8", "q4", "q3"}));
  command.add_option("--state", options.state, "numbers of the DeltaNet states (default: " + options.state + ")")
      ->option_text("f32|i16")
      ->check(CLI::IsMember({"f32", "i16"}));
  AddRope(command, options);
  command.add_flag("--lock", options.lock, "take all memory at the start and keep it and the weights out of swap");
  std::vector<std::string> names = {"auto", kPortableKernels.name};
  for (const KernelTable& table : KernelTables()) names.emplace_back(table.kernels->name);
  command.add_option("--backend", options.backend, "kernels that compute (default: the best for this processor)")
      ->option_text("NAME")
      ->check(CLI::IsMember(names));
}

void AddRope(CLI::App& command, ModelOptions& options) {
  command
      .add_option("--rope-scale", options.rope_scale,
                  "stretch the context so many times, by YaRN (default: the file's)")
      ->option_text("X")
      ->check(Between(1, 1024));
  command
      .add_option("--rope-ctx", options.rope_context,
                  "tokens that are stretched (default: the file's, or those it was trained for)")
      ->option_text("N")
      ->check(Between(1, 1 << 24));
}

void AddCache(CLI::App& command, CacheOptions& options) {
  CLI::Option* directory =
      command.add_option("--cache-dir", options.directory, "keep beginnings of prompts here, and reuse those kept")
          ->option_text("DIR");
  command.add_option("--cache-bytes", options.bytes, "of all that is kept; the least recently used goes (default: 1G)")
      ->option_text("SIZE")
      ->transform(CLI::AsSizeValue(false))
      ->needs(directory);
  command.add_flag("--verbose", options.verbose, "say what was reused, and when nothing was, why not")
      ->needs(directory);
}

void AddWindow(CLI::App& command, ModelOptions& options) {
  command
      .add_option("--window", options.window,
                  "attend to the last tokens only, and go on without end (default: the whole context)")
      ->option_text("N")
      ->check(Between(1, 1 << 30));
  command
      .add_option("--sinks", options.sinks,
                  "with --window: first tokens that stay in sight (default: " + std::to_string(options.sinks) + ")")
      ->option_text("N")
      ->check(Between(0, 1 << 30));
}

CLI::Validator Between(double low, double high) {
  const auto check = [=](const std::string& text) -> std::string {
    double number = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool is_number = problem == std::errc{} && end == text.data() + text.size();
    if (is_number && number >= low && number <= high) return {};
    if (std::isinf(high)) return "must be a number from " + Short(low) + " on";
    return "must be a number from " + Short(low) + " to " + Short(high);
  };
  return CLI::Validator(check, "");
}

CLI::Option* OneEach(CLI::Option* option) {
  return option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->expected(1)->allow_extra_args(false);
}

}  // namespace thimble::program
