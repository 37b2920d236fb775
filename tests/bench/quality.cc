// SPDX-License-Identifier: Apache-2.0
//
// quality [--tokens N] [--text FILE] REFERENCE [MODEL...]: what rounding costs. Feeds the same tokens (random ones, or
// a text's) to every file, with float activations and with 8-bit ones in each of their forms, and compares the logits
// behind every token: with REFERENCE in floats (all that was lost) and with the same file in floats (what the
// activations lost). Prints a table in Markdown: mean KL divergence in nats, share of tokens with the same best logit.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "arm/kernel_tables.h"
#include "arm/thread_pool.h"
#include "core/session.h"
#include "io/error_text.h"
#include "io/gguf.h"
#include "io/load_qwen35.h"
#include "io/mapped_file.h"
#include "io/tokenizer.h"

namespace thimble {
namespace {

[[noreturn]] void Fail(const Error& error) {
  std::fprintf(stderr, "quality: %s: %.*s\n", error.what, static_cast<int>(error.name.size()), error.name.data());
  std::exit(1);
}

template <class T>
T Take(const Result<T>& result) {
  if (!result) Fail(result.error());
  return *result;
}

// Runs `layout` on an arena that measures and then on one of that size.
class Memory {
 public:
  template <class F>
  explicit Memory(const F& layout) {
    Arena measure;
    layout(measure);
    bytes_.resize(measure.used() + Arena::kAlign);
    void* begin = bytes_.data();
    size_t room = bytes_.size();
    std::align(Arena::kAlign, measure.used(), begin, room);
    Arena arena({static_cast<std::byte*>(begin), measure.used()});
    layout(arena);
  }

 private:
  std::vector<std::byte> bytes_;
};

struct LoadedFile {
  explicit LoadedFile(const std::string& path) {
    if (const Error error = mapped.Open(path.c_str()); !error.ok()) Fail(error);
    file = Take(Gguf::Open(mapped.parts()));
    memory = std::make_unique<Memory>([&](Arena& arena) { model = Take(LoadQwen35(file, arena)); });
  }
  MappedModel mapped;
  Gguf file;
  Model model;
  std::unique_ptr<Memory> memory;
};

std::vector<Token> RandomTokens(size_t count, uint32_t vocab) {
  std::vector<Token> tokens(count);
  uint32_t random = 1;
  for (Token& token : tokens) {
    random = random * 1664525u + 1013904223u;
    token = static_cast<Token>((random >> 8) % vocab);
  }
  return tokens;
}

std::vector<Token> TextTokens(const Gguf& file, const std::string& path, size_t count) {
  std::ifstream in(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  std::vector<Token> tokens(text.size() + 1);
  Tokenizer tokenizer;
  const Memory memory([&](Arena& arena) { tokenizer = Take(Tokenizer::Bind(file, text.size(), arena)); });
  tokens.resize(std::min(count, Take(tokenizer.Encode(text, Specials::kRecognise, tokens))));
  return tokens;
}

// How activations are rounded.
enum class Rounding { kNone, kBlocks, kRows };

const Kernels* accelerated;

// One scale for all of a token's values, as XNNPACK's kernels take them.
void QuantiseRow(const Activations& x, size_t t) {
  const float* values = x.x + t * x.cols;
  float largest = 0.0f;
  for (size_t i = 0; i < x.cols; ++i) largest = std::max(largest, std::fabs(values[i]));
  const float scale = largest / 127.0f;
  for (size_t b = 0; b < x.cols / Activations::kBlock; ++b) {
    const size_t block = t * x.cols / Activations::kBlock + b;
    x.scales[block] = scale;
    x.sums[block] = 0;
    for (size_t i = b * Activations::kBlock; i < (b + 1) * Activations::kBlock; ++i) {
      const int code = largest > 0.0f ? static_cast<int>(std::lrint(values[i] / scale)) : 0;
      x.codes[t * x.cols + i] = static_cast<int8_t>(code);
      x.sums[block] += code;
    }
  }
}

Kernels TableFor(Rounding rounding) {
  Kernels kernels = *accelerated;
  if (rounding == Rounding::kNone) kernels.quantise = nullptr;
  if (rounding == Rounding::kRows) kernels.quantise = QuantiseRow;
  return kernels;
}

using Logits = std::vector<float>;  // [tokens][vocab]

Logits Run(const Model& model, const Kernels& kernels, const Workers& workers, const std::vector<Token>& tokens) {
  Backend backend;
  backend.kernels = &kernels;
  backend.workers = backend.step_workers = workers;
  Limits limits;
  limits.context = static_cast<uint32_t>(tokens.size());
  limits.kv = Type::kF32;
  Session session;
  const Memory memory([&](Arena& arena) {
    if (const Error error = session.Bind(model, limits, backend, arena); !error.ok()) Fail(error);
  });
  Logits logits(tokens.size() * model.config.vocab_size);
  if (const Error error = session.Feed(tokens, logits); !error.ok()) Fail(error);
  return logits;
}

struct Distance {
  double kl = 0.0;
  double same = 0.0;  // share of tokens
};

double LogSum(const float* x, size_t n) {
  const double top = static_cast<double>(*std::max_element(x, x + n));
  double sum = 0.0;
  for (size_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[i]) - top);
  return top + std::log(sum);
}

Distance Compare(const Logits& reference, const Logits& other, size_t vocab) {
  Distance distance;
  const size_t tokens = reference.size() / vocab;
  for (size_t t = 0; t < tokens; ++t) {
    const float* p = &reference[t * vocab];
    const float* q = &other[t * vocab];
    const double p_sum = LogSum(p, vocab), q_sum = LogSum(q, vocab);
    for (size_t i = 0; i < vocab; ++i) {
      const double log_p = static_cast<double>(p[i]) - p_sum, log_q = static_cast<double>(q[i]) - q_sum;
      distance.kl += std::exp(log_p) * (log_p - log_q);
    }
    distance.same += std::max_element(p, p + vocab) - p == std::max_element(q, q + vocab) - q ? 1.0 : 0.0;
  }
  return {distance.kl / static_cast<double>(tokens), distance.same / static_cast<double>(tokens)};
}

int Main(std::vector<std::string> arguments) {
  size_t count = 128;
  std::string text;
  while (arguments.size() > 2 && arguments[0].starts_with("--")) {
    if (arguments[0] == "--tokens") count = std::strtoul(arguments[1].c_str(), nullptr, 10);
    if (arguments[0] == "--text") text = arguments[1];
    arguments.erase(arguments.begin(), arguments.begin() + 2);
  }
  if (arguments.empty() || arguments[0].starts_with("--") || count == 0) {
    std::fprintf(stderr, "usage: quality [--tokens N] [--text FILE] REFERENCE [MODEL...]\n");
    return 2;
  }
  const ThreadPool pool(0);
  accelerated = &SelectKernels(DescribeCpu());
  if (accelerated->quantise == nullptr) {
    std::fprintf(stderr, "quality: this processor has no kernels that round\n");
    return 1;
  }
  const LoadedFile reference(arguments[0]);
  const size_t vocab = reference.model.config.vocab_size;
  const std::vector<Token> tokens =
      text.empty() ? RandomTokens(count, static_cast<uint32_t>(vocab)) : TextTokens(reference.file, text, count);
  const Logits exact = Run(reference.model, TableFor(Rounding::kNone), pool.workers(), tokens);

  std::printf("%zu tokens, kernels %s\n\n", tokens.size(), accelerated->name);
  std::printf("| file | activations | KL to the reference | same best | KL to floats, same file | same best |\n");
  std::printf("|---|---|--:|--:|--:|--:|\n");
  for (const std::string& path : arguments) {
    const LoadedFile file(path);
    const std::string name = path.substr(path.rfind('/') + 1);
    const Logits floats = Run(file.model, TableFor(Rounding::kNone), pool.workers(), tokens);
    for (const auto& [rounding, what] :
         {std::pair{Rounding::kNone, "float"}, std::pair{Rounding::kBlocks, "8 bits, a scale for 32"},
          std::pair{Rounding::kRows, "8 bits, a scale for a row"}}) {
      const Logits logits =
          rounding == Rounding::kNone ? floats : Run(file.model, TableFor(rounding), pool.workers(), tokens);
      const Distance all = Compare(exact, logits, vocab), own = Compare(floats, logits, vocab);
      std::printf("| %s | %s | %.5f | %.1f %% | %.5f | %.1f %% |\n", name.c_str(), what, all.kl, 100 * all.same, own.kl,
                  100 * own.same);
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace
}  // namespace thimble

int main(int argc, char** argv) { return thimble::Main({argv + 1, argv + argc}); }
