// SPDX-License-Identifier: Apache-2.0
//
// quality [--tokens N] [--text FILE] [--imatrix FILE] [--state i16] [--batch N] [--caches on] MODEL.gguf [FILE...]:
// what rounding costs. Packs MODEL by every recipe (with the importance matrix too, where one is given) into a
// temporary directory, feeds MODEL, the packs and the other files the same tokens (random ones, or those of a text, of
// which each line is a context of its own), and compares the logits behind every token with those of MODEL in floats.
// Every file computes with float activations, with 8-bit ones that have a scale for 32 values, as the kernels round
// them, and with one scale for a whole row, as XNNPACK's qd8 kernels take them; with --state i16, DeltaNet states are
// rounded once a batch, too. Prints a table in Markdown: mean KL divergence in nats, share of tokens with the same best
// logit, and "own", the KL to the same file with float activations: what the activations cost. With --caches on, the
// same of MODEL and every other file for the formats of the key/value cache, against one of F16, with float
// activations: as a session keeps it; not rotated; rotated, with queries in floats.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arm/kernel_tables.h"
#include "arm/thread_pool.h"
#include "core/rotate.h"
#include "core/session.h"
#include "io/gguf.h"
#include "io/imatrix.h"
#include "io/load_qwen35.h"
#include "io/mapped_file.h"
#include "io/pack_writer.h"
#include "io/tokenizer.h"
#include "io/whole_file.h"
#include "tests/bench/need.h"

namespace thimble {
namespace {

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
    Need(mapped.Open(path.c_str()));
    file = Take(Gguf::Open(mapped.parts()));
    memory = std::make_unique<Memory>([&](Arena& arena) { model = Take(LoadQwen35(file, arena)); });
  }
  MappedModel mapped;
  Gguf file;
  Model model;
  std::unique_ptr<Memory> memory;
};

using Texts = std::vector<std::vector<Token>>;  // each fed to a session that has seen nothing

Texts RandomTokens(size_t count, uint32_t vocab) {
  std::vector<Token> tokens(count);
  uint32_t random = 1;
  for (Token& token : tokens) {
    random = random * 1664525u + 1013904223u;
    token = static_cast<Token>((random >> 8) % vocab);
  }
  return {tokens};
}

// The lines of a text, up to `count` tokens in all.
Texts TextTokens(const Gguf& file, const std::string& path, size_t count) {
  constexpr size_t kLine = 65536;
  Tokenizer tokenizer;
  const Memory memory([&](Arena& arena) { tokenizer = Take(Tokenizer::Bind(file, kLine, arena)); });
  Texts texts;
  std::ifstream in(path, std::ios::binary);
  for (std::string line; count > 0 && std::getline(in, line);) {
    line.resize(std::min(line.size(), kLine));
    std::vector<Token> tokens(line.size() + 1);
    tokens.resize(std::min(count, Take(tokenizer.Encode(line, Specials::kRecognise, tokens))));
    count -= tokens.size();
    if (!tokens.empty()) texts.push_back(std::move(tokens));
  }
  if (texts.empty()) Fail({Status::kNotFound, "no tokens in this text", path});
  return texts;
}

size_t Count(const Texts& texts) {
  size_t count = 0;
  for (const auto& text : texts) count += text.size();
  return count;
}

// How activations are rounded.
enum class Rounding { kNone, kBlocks, kRows };

const Kernels* accelerated;

bool IsFloat(const Format& format) { return format.block_size == 1; }

// x as floats, each token rounded to 8 bits with one scale and one zero point, as XNNPACK converts f32 to qd8.
void RoundRows(const Activations& x, float* out) {
  for (size_t t = 0; t < x.tokens; ++t) {
    const float* values = x.x + t * x.cols;
    const auto [lowest, highest] = std::minmax_element(values, values + x.cols);
    const float low = std::min(*lowest, 0.0f), high = std::max(*highest, 0.0f);
    const float scale = high > low ? (high - low) / 255.0f : 1.0f;
    const float zero = std::clamp(std::nearbyint(-128.0f - low / scale), -128.0f, 127.0f);
    for (size_t i = 0; i < x.cols; ++i) {
      const float code = std::clamp(std::nearbyint(values[i] / scale) + zero, -128.0f, 127.0f);
      out[t * x.cols + i] = (code - zero) * scale;
    }
  }
}

// Float matrices are otherwise multiplied with the floats: here with what the codes stand for.
void RoundBlocks(const Activations& x, float* out) {
  for (size_t i = 0; i < x.tokens * x.cols; ++i) {
    out[i] = static_cast<float>(x.codes[i]) * x.scales[i / Activations::kBlock];
  }
}

template <void (*round)(const Activations& x, float* out)>
void MatmulRounded(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                   std::byte* scratch) {
  thread_local std::vector<float> floats;
  floats.resize(x.tokens * x.cols);
  Activations rounded = x;
  round(x, floats.data());
  rounded.x = floats.data();
  rounded.codes = nullptr;
  accelerated->matmul(w, begin, end, rounded, y, y_stride, scratch);
}

void MatmulBlocks(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                  std::byte* scratch) {
  const auto matmul = IsFloat(*w.format) && x.codes != nullptr ? MatmulRounded<RoundBlocks> : accelerated->matmul;
  matmul(w, begin, end, x, y, y_stride, scratch);
}

Kernels TableFor(Rounding rounding) {
  Kernels kernels = *accelerated;
  if (rounding != Rounding::kBlocks) kernels.quantise = nullptr;
  if (rounding == Rounding::kBlocks) kernels.matmul = MatmulBlocks;
  if (rounding == Rounding::kRows) kernels.matmul = MatmulRounded<RoundRows>;
  return kernels;
}

using Logits = std::vector<float>;  // [tokens][vocab]

Logits Run(const Model& model, const Kernels& kernels, const Workers& workers, const Texts& texts, Limits limits) {
  Backend backend;
  backend.kernels = &kernels;
  backend.workers = backend.step_workers = workers;
  limits.context = 1;
  for (const auto& text : texts) limits.context = std::max(limits.context, static_cast<uint32_t>(text.size()));
  Session session;
  const Memory memory([&](Arena& arena) { Need(session.Bind(model, limits, backend, arena)); });
  const size_t vocab = model.config.vocab_size;
  Logits logits(Count(texts) * vocab);
  float* at = logits.data();
  for (const auto& text : texts) {
    session.Reset();
    Need(session.Feed(text, {at, text.size() * vocab}));
    at += text.size() * vocab;
  }
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

// A cache of floats, of which every row goes through another format once before attention reads it.
class RoundedCache {
 public:
  RoundedCache(const Format& k, const Format& v, bool rotated) : k_(k), v_(v), rotated_(rotated) {}

  void Forget() { rows_.clear(); }

  void Attend(const AttentionHead& head, float* scratch) {
    AttentionHead rounded = head;
    rounded.k = Rounded(k_, head, head.k);
    rounded.v = Rounded(v_, head, head.v);
    accelerated->attend(rounded, scratch);
  }

 private:
  CacheRows Rounded(const Format& format, const AttentionHead& head, const CacheRows& floats) {
    const std::lock_guard lock(mutex_);
    auto& rows = rows_[floats.first];
    rows.reserve(kMostTokens * head.head_dim);
    const size_t d = head.head_dim;
    std::vector<std::byte> bytes(d / format.block_size * format.block_bytes);
    for (size_t r = rows.size() / d; r < head.rows + head.tokens - 1; ++r) {
      const auto* row = reinterpret_cast<const float*>(floats.Row(r));
      std::vector<float> x(row, row + d);
      if (rotated_ && IsRotated(format)) Rotate(x.data(), d);
      format.encode(x.data(), d / format.block_size, bytes.data());
      format.decode(bytes.data(), d / format.block_size, x.data());
      if (rotated_ && IsRotated(format)) Rotate(x.data(), d);
      rows.insert(rows.end(), x.begin(), x.end());
    }
    return {&FormatOf(Type::kF32), reinterpret_cast<const std::byte*>(rows.data()), d * sizeof(float)};
  }

  static constexpr size_t kMostTokens = 16384;  // rows stay where they are while others read them
  const Format& k_;
  const Format& v_;
  bool rotated_;
  std::mutex mutex_;
  std::map<const std::byte*, std::vector<float>> rows_;
};

RoundedCache* rounded_cache;

// Every text anew, through a RoundedCache.
Logits RunRounded(const Model& model, Type k, Type v, bool rotated, const Workers& workers, const Texts& texts,
                  const Limits& limits) {
  const auto cache = std::make_unique<RoundedCache>(FormatOf(k), FormatOf(v), rotated);
  rounded_cache = cache.get();
  Kernels kernels = TableFor(Rounding::kNone);
  kernels.attend = [](const AttentionHead& head, float* scratch) { rounded_cache->Attend(head, scratch); };
  Limits floats = limits;
  floats.k = floats.v = Type::kF32;
  Logits logits;
  for (const auto& text : texts) {
    cache->Forget();
    const Logits some = Run(model, kernels, workers, {text}, floats);
    logits.insert(logits.end(), some.begin(), some.end());
  }
  return logits;
}

// The table of the cache's formats.
void CompareCaches(const std::string& path, const Texts& texts, const Workers& workers, Limits limits) {
  struct Pair {
    Type k, v;
  };
  constexpr Pair kPairs[] = {{Type::kF32, Type::kF32},
                             {Type::kQ8_0, Type::kQ8_0},
                             {Type::kQ8_0, Type::kIQ4_NL},
                             {Type::kIQ4_NL, Type::kIQ4_NL},
                             {Type::kIQ4_NL, Type::kNL3}};
  const LoadedFile file(path);
  const Config& c = file.model.config;
  const Kernels kernels = TableFor(Rounding::kNone);
  limits.k = limits.v = Type::kF16;
  const Logits reference = Run(file.model, kernels, workers, texts, limits);
  std::printf("%s, head_dim %u: %zu tokens, kernels %s\n\n", path.substr(path.rfind('/') + 1).c_str(), c.key_length,
              Count(texts), accelerated->name);
  std::printf(
      "| keys | values | bits | KL | same best | not rotated: KL | same best | float queries: KL | same best |\n"
      "|---|---|--:|--:|--:|--:|--:|--:|--:|\n");
  for (const Pair& pair : kPairs) {
    const Format& k = FormatOf(limits.k = pair.k);
    const Format& v = FormatOf(limits.v = pair.v);
    if (c.key_length % k.block_size != 0 || c.key_length % v.block_size != 0) continue;
    std::printf(
        "| %s | %s | %.2f", k.name, v.name,
        4.0 * (static_cast<double>(k.block_bytes) / k.block_size + static_cast<double>(v.block_bytes) / v.block_size));
    const auto print = [&](const Logits& logits) {
      const Distance distance = Compare(reference, logits, c.vocab_size);
      std::printf(" | %.6f | %.2f %%", distance.kl, 100 * distance.same);
    };
    print(Run(file.model, kernels, workers, texts, limits));
    print(RunRounded(file.model, pair.k, pair.v, false, workers, texts, limits));
    print(RunRounded(file.model, pair.k, pair.v, true, workers, texts, limits));
    std::printf(" |\n");
    std::fflush(stdout);
  }
  std::printf("\n");
}

// A directory that goes when the program ends well.
struct Directory {
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "quality-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) Fail({Status::kSystem, "no temporary directory", name});
    path = name;
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path path;
};

void WritePack(const PackOrder& order, const Workers& workers, const std::string& path) {
  const auto writer = std::make_unique<PackWriter>();
  const Memory memory([&](Arena& arena) { Need(writer->Bind(order, workers.count, arena)); });
  WholeFile file;
  Error error = file.Create(path.c_str(), writer->bytes());
  uint64_t at = writer->header_bytes();
  while (error.ok()) {
    const auto piece = Take(writer->Next(workers));
    if (piece.bytes.empty()) break;
    error = file.WriteAt(piece.bytes, at);
    at += piece.bytes.size();
  }
  if (error.ok()) error = file.WriteAt(writer->Header(), 0);
  if (error.ok()) error = file.Commit();
  Need(error);
}

// What every file is compared with, and the table of all.
class Table {
 public:
  Table(const Model& model, const Texts& texts, const Workers& workers, const Limits& limits)
      : texts_(texts),
        workers_(workers),
        limits_(limits),
        exact_(Run(model, TableFor(Rounding::kNone), workers, texts,
                   {.batch = limits.batch, .k = Type::kF32, .v = Type::kF32})) {
    std::printf("%zu tokens, kernels %s\n\n", Count(texts), accelerated->name);
    std::printf(
        "| weights | MB | floats: KL | same best | a scale for 32: KL | same best | own | "
        "a scale for a row: KL | same best | own |\n|---|");
    for (int i = 0; i < 9; ++i) std::printf("--:|");
    std::printf("\n");
  }

  void Add(const std::string& name, const std::string& path) const {
    const LoadedFile file(path);
    const Logits floats = Run(file.model, TableFor(Rounding::kNone), workers_, texts_, limits_);
    const size_t vocab = file.model.config.vocab_size;
    const Distance all = Compare(exact_, floats, vocab);
    std::printf("| %s | %.1f | %.5f | %.1f %%", name.c_str(),
                static_cast<double>(std::filesystem::file_size(path)) / 1e6, all.kl, 100 * all.same);
    for (const Rounding rounding : {Rounding::kBlocks, Rounding::kRows}) {
      const Logits logits = Run(file.model, TableFor(rounding), workers_, texts_, limits_);
      const Distance rounded = Compare(exact_, logits, vocab);
      std::printf(" | %.5f | %.1f %% | %.5f", rounded.kl, 100 * rounded.same, Compare(floats, logits, vocab).kl);
    }
    std::printf(" |\n");
    std::fflush(stdout);
  }

 private:
  const Texts& texts_;
  Workers workers_;
  Limits limits_;
  Logits exact_;
};

// The packs of every recipe, and with an importance matrix, where that is given.
void AddPacks(const Table& table, const LoadedFile& source, const std::string& imatrix_path, const Workers& workers) {
  MappedFile imatrix_file;
  const auto imatrix = std::make_unique<Imatrix>();
  if (!imatrix_path.empty()) {
    Need(imatrix_file.Open(imatrix_path.c_str()));
    Need(imatrix->Open(imatrix_file.bytes()));
  }
  const Directory directory;
  for (const PackRecipe recipe : {PackRecipe::kExact, PackRecipe::kQ4s, PackRecipe::kQ4, PackRecipe::kQ3}) {
    for (const bool weighed : {false, true}) {
      if (weighed && (imatrix_path.empty() || recipe == PackRecipe::kExact)) continue;
      PackOrder order;
      order.source = &source.file;
      order.parts = source.mapped.parts();
      order.recipe = recipe;
      order.imatrix = weighed ? imatrix.get() : nullptr;
      if (weighed) order.imatrix_bytes = imatrix_file.bytes();
      const std::string path = (directory.path / "pack.thimble").string();
      WritePack(order, workers, path);
      const std::string name(kPackRecipes[static_cast<size_t>(recipe)]);
      table.Add("pack `" + name + "`" + (weighed ? ", imatrix" : ""), path);
    }
  }
}

int Main(std::vector<std::string> arguments) {
  size_t count = 128;
  std::string text, imatrix;
  bool caches = false;
  Limits limits;
  limits.k = limits.v = Type::kF32;
  while (arguments.size() > 2 && arguments[0].starts_with("--")) {
    const char* value = arguments[1].c_str();
    if (arguments[0] == "--tokens") count = std::strtoul(value, nullptr, 10);
    if (arguments[0] == "--text") text = value;
    if (arguments[0] == "--imatrix") imatrix = value;
    if (arguments[0] == "--state" && arguments[1] == "i16") limits.state = StateForm::kI16;
    if (arguments[0] == "--caches") caches = arguments[1] == "on";
    if (arguments[0] == "--batch") limits.batch = static_cast<uint32_t>(std::strtoul(value, nullptr, 10));
    arguments.erase(arguments.begin(), arguments.begin() + 2);
  }
  if (arguments.empty() || arguments[0].starts_with("--") || count == 0 || limits.batch == 0) {
    std::fprintf(stderr,
                 "usage: quality [--tokens N] [--text FILE] [--imatrix FILE] [--state i16] [--batch N] [--caches on] "
                 "MODEL.gguf [FILE...]\n");
    return 2;
  }
  const ThreadPool pool(0);
  accelerated = &SelectKernels(DescribeCpu());
  if (accelerated->quantise == nullptr) {
    std::fprintf(stderr, "quality: this processor has no kernels that round\n");
    return 1;
  }
  const LoadedFile model(arguments[0]);
  const Texts texts =
      text.empty() ? RandomTokens(count, model.model.config.vocab_size) : TextTokens(model.file, text, count);
  if (caches) {
    for (const std::string& path : arguments) CompareCaches(path, texts, pool.workers(), limits);
    return 0;
  }
  const Table table(model.model, texts, pool.workers(), limits);
  for (size_t i = 0; i < arguments.size(); ++i) {
    table.Add(arguments[i].substr(arguments[i].rfind('/') + 1), arguments[i]);
    if (i == 0) AddPacks(table, model, imatrix, pool.workers());
  }
  return 0;
}

}  // namespace
}  // namespace thimble

int main(int argc, char** argv) { return thimble::Main({argv + 1, argv + argc}); }
