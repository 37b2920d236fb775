// SPDX-License-Identifier: Apache-2.0
//
// thimble bench: tokens per second of prefill and of decode, what a decoded token reads, and how fast this machine
// reads.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "commands.h"
#include "console.h"
#include "runtime.h"

namespace thimble::program {
namespace {

using Json = nlohmann::ordered_json;

struct BenchOptions : ModelOptions {
  uint32_t prefill = 0;  // tokens; 0: 512, or what the model was trained for
  uint32_t decode = 0;   // tokens; 0: 64, or as above
  bool json = false;
};

// Bytes of weights that one decoded token reads: everything but the embedding (a single row, unless it is the head too)
// and the MTP block.
uint64_t BytesPerToken(const Model& model) {
  const Config& c = model.config;
  uint64_t bytes = model.weights.output.bytes() + model.weights.token_embd.row_bytes();
  for (size_t i = 0; i < c.block_count; ++i) {
    const LayerWeights& l = model.weights.layers[i];
    bytes += l.ffn_gate.bytes() + l.ffn_up.bytes() + l.ffn_down.bytes();
    if (c.IsRecurrent(i)) {
      const DeltaNetWeights& w = l.deltanet;
      bytes += w.attn_qkv.bytes() + w.attn_gate.bytes() + w.ssm_beta.bytes() + w.ssm_alpha.bytes() + w.ssm_out.bytes();
    } else {
      const AttentionWeights& w = l.attention;
      bytes += w.attn_q.bytes() + w.attn_k.bytes() + w.attn_v.bytes() + w.attn_output.bytes();
    }
  }
  return bytes;
}

// GB/s that all workers together read from memory: sums over a buffer far larger than the caches, the best of three
// passes.
double ReadBandwidth(const Workers& workers) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), pages = static_cast<size_t>(sysconf(_SC_PHYS_PAGES));
  constexpr size_t kPieces = 256;
  const size_t megabytes = std::min<size_t>(384, pages / 4 * page >> 20);  // a quarter of a small board
  const size_t count = (megabytes << 20) / sizeof(uint64_t);               // of words
  const std::vector<uint64_t> words(count, 1);
  std::vector<uint64_t> sums(kPieces * 8);  // a cache line each
  double best = 0.0;
  for (int pass = 0; pass < 3; ++pass) {
    const Stopwatch watch;
    ParallelFor(workers, kPieces, [&](size_t piece, size_t) {
      uint64_t sum[4] = {};
      const uint64_t* at = words.data() + piece * (count / kPieces);
      for (size_t i = 0; i < count / kPieces; i += 4) {
        for (size_t lane = 0; lane < 4; ++lane) sum[lane] += at[i + lane];
      }
      sums[piece * 8] += sum[0] + sum[1] + sum[2] + sum[3];
    });
    best = std::max(best, static_cast<double>(count * 8) / watch.seconds() / 1e9);
  }
  uint64_t total = 0;
  for (const uint64_t sum : sums) total += sum;
  return total == 3 * count ? best : 0.0;  // the sums are used, so they cannot be left out
}

// Without wishes: 512 tokens in and 64 out, less where the model was trained for less.
void ChooseLengths(const Config& config, BenchOptions& options) {
  const uint32_t context = options.context != 0 ? options.context : config.context_length;
  if (options.decode == 0) options.decode = std::clamp(context / 8, 1u, 64u);
  if (options.prefill == 0) options.prefill = std::clamp(context - std::min(context, options.decode), 1u, 512u);
  if (options.context == 0) options.context = options.prefill + options.decode;
}

std::vector<Token> RandomTokens(size_t count, uint32_t vocab) {
  std::vector<Token> tokens(count);
  uint32_t random = 1;
  for (Token& token : tokens) {
    random = random * 1664525u + 1013904223u;
    token = static_cast<Token>((random >> 8) % vocab);
  }
  return tokens;
}

struct Times {
  double prefill_seconds = 0;
  double decode_seconds = 0;
};

// False when interrupted.
Result<bool> Measure(Runtime& runtime, const BenchOptions& options, Times* times) {
  const std::vector<Token> prompt = RandomTokens(options.prefill, runtime.model().config.vocab_size);
  Session& session = runtime.session();
  if (const Error error = session.Feed({prompt.data(), 1}); !error.ok()) return error;
  session.Reset();  // the first token only brought the pages in

  Stopwatch watch;
  const Result<bool> fed = runtime.Feed(prompt, options.decode);
  if (!fed || !*fed) return fed;
  times->prefill_seconds = watch.seconds();
  Progress progress("decode", "tokens", options.decode);
  watch.Restart();
  for (uint32_t i = 0; i < options.decode && !Interrupted(); ++i) {
    const std::span<const float> logits = session.Logits();
    const Token next = static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    if (const Error error = session.Feed({&next, 1}); !error.ok()) return error;
    progress.Show(i + 1);
  }
  times->decode_seconds = watch.seconds();
  return !Interrupted();
}

Json Figures(const Runtime& runtime, const BenchOptions& options, const Times& times) {
  const ProcessMemory memory = MeasureMemory();
  const uint64_t bytes = BytesPerToken(runtime.model());
  Json json;
  json["model"] = options.model;
  json["threads"] = runtime.backend().workers.count;
  json["kernels"] = runtime.backend().kernels->name;
  json["prefill_tokens"] = options.prefill;
  json["decode_tokens"] = options.decode;
  json["prefill_tps"] = options.prefill / times.prefill_seconds;
  json["decode_tps"] = options.decode / times.decode_seconds;
  json["bytes_per_token"] = bytes;
  json["weights_gbps"] = static_cast<double>(bytes) * options.decode / times.decode_seconds / 1e9;
  json["read_gbps"] = ReadBandwidth(runtime.backend().workers);
  json["arena_bytes"] = runtime.arena_bytes();
  json["rss_anon_mb"] = memory.anonymous;
  json["rss_file_mb"] = memory.file;
  return json;
}

int Bench(BenchOptions options) {
  Runtime runtime;
  if (const Error error = runtime.Open(options); !error.ok()) return Fail(error);
  ChooseLengths(runtime.model().config, options);
  const Result<Limits> limits = runtime.LimitsOf(options);
  if (!limits) return Fail(limits.error());
  if (const Error error = runtime.BindVocabulary(0); !error.ok()) return Fail(error);
  if (const Error error = runtime.BindSession(*limits); !error.ok()) return Fail(error);
  Times times;
  const Result<bool> done = Measure(runtime, options, &times);
  if (!done) return Fail(done.error());
  if (!*done) return Fail("interrupted", "bench");

  const Json json = Figures(runtime, options, times);
  if (options.json) {
    const Error error = PrintLine(json.dump(-1, ' ', false, Json::error_handler_t::replace));
    return error.ok() ? kFine : Fail(error);
  }
  const auto number = [&](const char* key) { return json[key].get<double>(); };
  std::printf("kernels  %s, %zu %s\n", runtime.backend().kernels->name, runtime.backend().workers.count,
              runtime.backend().workers.count == 1 ? "thread" : "threads");
  std::printf("prefill  %10.2f tokens/s  (%u tokens)\n", number("prefill_tps"), options.prefill);
  std::printf("decode   %10.2f tokens/s  (%u tokens)\n", number("decode_tps"), options.decode);
  std::printf("weights  %10.2f GB/s      (%.2f MB a token; this machine reads %.2f GB/s)\n", number("weights_gbps"),
              number("bytes_per_token") / 1e6, number("read_gbps"));
  std::printf("memory   %10.2f MiB       arena; resident %.1f MiB anonymous, %.1f MiB of files\n",
              number("arena_bytes") / (1024 * 1024), number("rss_anon_mb"), number("rss_file_mb"));
  return kFine;
}

}  // namespace

void AddBench(CLI::App& app, int& code) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand("bench", "Speed and memory of a model on this machine.");
  AddModel(*command, *options);
  command->usage(
      "Usage: thimble bench MODEL [options]\n\nFeeds random tokens, then generates: tokens per second of both, the "
      "weights that a token reads, and how fast\nthis machine reads memory.");
  command->add_option("--pp", options->prefill, "prompt tokens (default: 512, or what the model was trained for)")
      ->option_text("N")
      ->check(Between(1, INT32_MAX));
  command->add_option("--tg", options->decode, "generated tokens (default: 64, or as above)")
      ->option_text("N")
      ->check(Between(1, INT32_MAX));
  command->add_flag("--json", options->json, "print one JSON object");
  AddLimits(*command, *options);
  command->callback([=, &code] { code = Bench(*options); });
}

}  // namespace thimble::program
