// SPDX-License-Identifier: Apache-2.0
//
// Files that lie. Whatever is done to the bytes of a GGUF, opening and loading it gives an error or a model all of
// whose views can be read; the sanitizers watch.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <vector>

#include "core/sampler.h"
#include "core/session.h"
#include "io/chat.h"
#include "io/error_text.h"
#include "io/load_qwen35.h"
#include "io/task.h"
#include "io/tokenizer.h"
#include "tests/gguf_writer.h"
#include "tests/load_model.h"
#include "tests/make_pack.h"
#include "tests/tiny_model.h"

namespace thimble::test {
namespace {

/// Reads the first and the last byte of everything that a view reaches.
class Toucher {
 public:
  void Touch(const void* data, size_t bytes) {
    if (bytes == 0) return;
    const auto* at = static_cast<const unsigned char*>(data);
    sum_ += at[0];
    sum_ += at[bytes - 1];
  }
  void Touch(const Matrix& matrix) {
    if (matrix.data != nullptr) Touch(matrix.data, matrix.bytes());
  }
  void Touch(const float* floats, size_t count) {
    if (floats != nullptr) Touch(static_cast<const void*>(floats), count * sizeof(float));
  }

  void Touch(const Gguf& file) {
    for (const GgufValue& value : file.values()) {
      Touch(value.key.data(), value.key.size());
      if (const auto text = value.AsString()) Touch(text->data(), text->size());
      const GgufStrings strings = value.AsStrings().value_or(GgufStrings());
      for (const std::string_view text : strings) Touch(text.data(), text.size());
      if (value.type == GgufType::kArray && value.count > 0) {
        sum_ += value.NumberAt(0).has_value();
        sum_ += value.NumberAt(value.count - 1).has_value();
      }
    }
    for (const GgufTensor& tensor : file.tensors()) {
      Touch(tensor.name.data(), tensor.name.size());
      Touch(tensor.data, static_cast<size_t>(tensor.bytes));
    }
  }

  void Touch(const LayerWeights& w, const Config& c) {
    for (const Matrix* matrix :
         {&w.attention.attn_q, &w.attention.attn_k, &w.attention.attn_v, &w.attention.attn_output, &w.deltanet.attn_qkv,
          &w.deltanet.attn_gate, &w.deltanet.ssm_beta, &w.deltanet.ssm_alpha, &w.deltanet.ssm_out, &w.ffn_gate,
          &w.ffn_up, &w.ffn_down}) {
      Touch(*matrix);
    }
    Touch(w.attn_norm, c.embedding_length);
    Touch(w.post_attention_norm, c.embedding_length);
    Touch(w.attention.attn_q_norm, c.key_length);
    Touch(w.attention.attn_k_norm, c.key_length);
    Touch(w.deltanet.ssm_conv1d, c.conv_channels() * c.conv_kernel);
    Touch(w.deltanet.ssm_dt, c.time_step_rank);
    Touch(w.deltanet.ssm_a, c.time_step_rank);
    Touch(w.deltanet.ssm_norm, c.value_size());
  }

  void Touch(const Model& model) {
    const Config& c = model.config;
    Touch(model.weights.token_embd);
    Touch(model.weights.output);
    Touch(model.weights.output_norm, c.embedding_length);
    for (size_t i = 0; i < c.block_count; ++i) Touch(model.weights.layers[i], c);
    if (model.weights.mtp != nullptr) {
      Touch(model.weights.mtp->block, c);
      Touch(model.weights.mtp->eh_proj);
      for (const float* norm :
           {model.weights.mtp->enorm, model.weights.mtp->hnorm, model.weights.mtp->shared_head_norm}) {
        Touch(norm, c.embedding_length);
      }
    }
  }
  uint64_t sum() const { return sum_; }

 private:
  uint64_t sum_ = 0;
};

struct Counts {
  size_t refused = 0;
  size_t opened = 0;  // as GGUF
  size_t loaded = 0;  // as a model
};

/// A model that was loaded can run: nothing behind the door checks a shape again.
Error RunModel(const Model& model) {
  const Limits limits{.context = 8, .batch = 6, .k = Type::kF16, .v = Type::kF16};
  if (const Result<SessionPlan> plan = Session::Plan(model.config, limits, {}); !plan) return plan.error();
  HeapSession session(model, limits);
  const Token tokens[] = {0, 1, static_cast<Token>(model.config.vocab_size - 1), 2, 3, 4, 5};
  const Error fed = session->Feed(tokens);
  if (fed.ok()) session->Logits();
  return fed;
}

/// What else io reads from a file: its tokenizer, its chat template, its task.
Error ReadText(const Gguf& file) {
  const Error errors[] = {DetectTemplate(file).error(), ReadTask(file).error()};
  Arena measuring;
  if (const Error error = Tokenizer::Bind(file, 64, measuring).error(); !error.ok()) return error;
  const HeapBlock memory(measuring.used());
  Arena arena(memory.span());
  Result<Tokenizer> tokenizer = Tokenizer::Bind(file, 64, arena);
  if (!tokenizer) return tokenizer.error();
  std::vector<Token> tokens(tokenizer->MaxTokens(64));
  const Result<size_t> count = tokenizer->Encode("then in the <|im_end|> 12\n\xff", Specials::kRecognise, tokens);
  std::vector<char> out(tokenizer->max_token_bytes());
  for (size_t i = 0; count && i < *count; ++i) tokenizer->Decode(tokens[i], out);
  return count ? errors[0].ok() ? errors[1] : errors[0] : count.error();
}

/// A conversation needs both: every token of the file is one that the model and the sampler can take.
Error Generate(const Gguf& file, const Model& model) {
  Arena measuring;
  Sampler sampler;
  if (Error error = Tokenizer::Bind(file, 64, measuring).error(); !error.ok()) return error;
  if (Error error = sampler.Bind({.top_k = 4}, model.config.vocab_size, measuring); !error.ok()) return error;
  const HeapBlock memory(measuring.used());
  Arena arena(memory.span());
  const Result<Tokenizer> tokenizer = Tokenizer::Bind(file, 64, arena);
  if (!tokenizer) return tokenizer.error();
  RequireOk(sampler.Bind({.top_k = 4}, model.config.vocab_size, arena));
  for (const Token token : tokenizer->end_tokens()) sampler.Ban(token);
  for (size_t i = 0; i < model.config.vocab_size; ++i) {
    if (tokenizer->IsUnused(static_cast<Token>(i))) sampler.Ban(static_cast<Token>(i));
  }
  const Limits limits{.context = 3, .batch = 2, .k = Type::kF16, .v = Type::kF16};
  if (const Result<SessionPlan> plan = Session::Plan(model.config, limits, {}); !plan) return plan.error();
  HeapSession session(model, limits);
  const Token first[] = {0, 1};
  RequireOk(session->Feed(first));
  return session->Next(sampler).error();
}

/// Opens, loads and runs one file; everything it gives is read.
void TryFile(std::span<const std::byte> bytes, Counts& counts) {
  Toucher toucher;
  const auto read = [&](const Error& error) {
    char text[400];
    const std::string_view line = ErrorText(error, text);
    toucher.Touch(line.data(), line.size());
    CHECK(line.empty() == error.ok());
  };
  const Result<Gguf> file = Gguf::Open({&bytes, 1});
  if (!file) {
    ++counts.refused;
    return read(file.error());
  }
  ++counts.opened;
  toucher.Touch(*file);
  Arena measuring;
  const Result<Model> planned = LoadQwen35(*file, measuring);
  if (!planned) return read(planned.error());
  std::vector<std::byte> memory(measuring.used() + Arena::kAlign);
  void* base = memory.data();
  size_t room = memory.size();
  std::align(Arena::kAlign, measuring.used(), base, room);
  Arena arena({static_cast<std::byte*>(base), measuring.used()});
  const Result<Model> model = LoadQwen35(*file, arena);
  REQUIRE(model);
  ++counts.loaded;
  toucher.Touch(*model);
  CHECK(toucher.sum() > 0);
  read(RunModel(*model));
  read(ReadText(*file));
  read(Generate(*file, *model));
}

/// Where the numbers of a sound file's header stand: every count, length, type, dimension and offset.
struct Field {
  size_t at;
  size_t size;
};

class HeaderWalk {
 public:
  explicit HeaderWalk(const Bytes& bytes) : bytes_(bytes) {
    at_ = 4;
    Number(4);
    const uint64_t tensors = Number(8);
    const uint64_t values = Number(8);
    for (uint64_t i = 0; i < values; ++i) {
      Text();
      WalkValue();
    }
    for (uint64_t i = 0; i < tensors; ++i) {
      Text();
      const uint64_t dimensions = Number(4);
      for (uint64_t d = 0; d < dimensions; ++d) Number(8);
      Number(4);
      Number(8);
    }
  }
  const std::vector<Field>& fields() const { return fields_; }
  size_t end() const { return at_; }

 private:
  uint64_t Number(size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, bytes_.data() + at_, size);
    fields_.push_back({at_, size});
    at_ += size;
    return value;
  }
  void Text() {
    const uint64_t length = Number(8);
    at_ += length;
  }
  void WalkValue() {
    uint64_t type = Number(4);
    uint64_t count = 1;
    if (type == 9) {
      type = Number(4);
      count = Number(8);
    }
    constexpr size_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    for (uint64_t i = 0; i < count; ++i) {
      if (type == 8) {
        Text();
      } else if (count == 1) {
        Number(kSizes[type]);
      } else {
        at_ += kSizes[type];
      }
    }
  }

  const Bytes& bytes_;
  size_t at_ = 0;
  std::vector<Field> fields_;
};

/// A file with everything in it, small so that thousands of variants take seconds.
Bytes Fixture(Type type) {
  TinyOptions o;
  o.own_head = true;
  o.mtp = true;
  o.embedding = 32;
  o.feed_forward = 32;
  o.heads = 2;
  o.heads_kv = 1;
  o.key_length = 16;
  o.value_heads = 4;
  o.state_size = 8;
  o.value_size = 8;
  o.type = type;
  GgufWriter out = TinyQwen35(o);
  out.Set("general.alignment", uint32_t{32});
  return out.Write();
}

Bytes ReadFixture(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return Bytes(data, data + text.size());
}

/// Every GGUF of this repository: whole models, parts of a split one, vocabularies, the intent model.
std::vector<std::filesystem::path> Fixtures() {
  std::vector<std::filesystem::path> paths;
  for (const char* folder : {"tests/data", "examples/intent"}) {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(std::string(THIMBLE_SOURCE_DIR "/") + folder)) {
      if (entry.path().extension() == ".gguf") paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

TEST_CASE("hostile: every file of this repository cut at a thousand places") {
  const auto paths = Fixtures();
  REQUIRE(paths.size() > 20);
  for (const auto& path : paths) {
    CAPTURE(path.string());
    const Bytes good = ReadFixture(path);
    const size_t header = HeaderWalk(good).end();
    Counts counts;
    for (size_t i = 0; i < 1000; ++i) {
      const size_t data = good.size() - header;
      const size_t size = i < 500 ? header * i / 500 : header + data * (i - 500) / 500;
      TryFile(Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(size)), counts);
    }
    // A file of metadata alone is whole where its header ends.
    CHECK(counts.refused + counts.opened == 1000);
    CHECK(counts.refused >= 500);
    CHECK(counts.loaded == 0);
  }
}

TEST_CASE("hostile: a file cut at a thousand places") {
  for (const Type type : {Type::kF32, Type::kF16}) {
    const Bytes good = Fixture(type);
    Counts sound;
    TryFile(good, sound);
    REQUIRE(sound.loaded == 1);
    const size_t header = HeaderWalk(good).end();
    Counts counts;
    for (size_t i = 0; i < 1000; ++i) {
      // Half of the places in the header, half in the data. A copy of its own, so that nothing stands behind the end.
      const size_t size = i < 500 ? header * i / 500 : header + (good.size() - header) * (i - 500) / 500;
      TryFile(Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(size)), counts);
    }
    CHECK(counts.refused == 1000);
  }
}

/// Every `stride`th field replaced by values that lie.
Counts ReplaceFields(Bytes bytes, size_t stride) {
  const HeaderWalk walk(bytes);
  Counts counts;
  for (size_t i = 0; i < walk.fields().size(); i += stride) {
    const Field& field = walk.fields()[i];
    uint64_t original = 0;
    std::memcpy(&original, bytes.data() + field.at, field.size);
    for (const uint64_t value :
         {uint64_t{0}, uint64_t{1}, original + 1, original - 1, original << 1, uint64_t{0x7f}, uint64_t{0xffff},
          uint64_t{0x7fffffff}, uint64_t{0xffffffff}, uint64_t{1} << 33, uint64_t{1} << 60, uint64_t{INT64_MAX},
          uint64_t{INT64_MAX} + 1, UINT64_MAX - 7, UINT64_MAX}) {
      std::memcpy(bytes.data() + field.at, &value, field.size);
      TryFile(bytes, counts);
    }
    std::memcpy(bytes.data() + field.at, &original, field.size);
  }
  return counts;
}

TEST_CASE("hostile: every count, length, type, dimension and offset of the header replaced") {
  const Bytes bytes = Fixture(Type::kF32);
  const size_t fields = HeaderWalk(bytes).fields().size();
  CHECK(fields > 700);
  const Counts counts = ReplaceFields(bytes, 1);
  CHECK(counts.refused > fields);
  CHECK(counts.loaded > 0);
}

TEST_CASE("hostile: fields of real files replaced") {  // most fields are lengths of tokens: not all of those
  for (const char* name : {"examples/intent/intent-q4_0.gguf", "tests/data/chat/small.gguf",
                           "tests/data/model/split-00001-of-00003.gguf", "tests/data/model/q_q4_k_m.gguf"}) {
    CAPTURE(name);
    const Bytes bytes = ReadFixture(std::string(THIMBLE_SOURCE_DIR "/") + name);
    const size_t fields = HeaderWalk(bytes).fields().size();
    const Counts counts = ReplaceFields(bytes, 1 + fields / 200);
    CHECK(counts.refused > 0);
    CHECK(counts.refused + counts.opened > 1000);
  }
}

TEST_CASE("hostile: random bytes changed") {
  Bytes bytes = Fixture(Type::kF16);
  const size_t header = HeaderWalk(bytes).end();
  std::mt19937 random(20240229);
  Counts counts;
  for (size_t i = 0; i < 3000; ++i) {
    std::vector<std::pair<size_t, std::byte>> undo;
    const size_t changes = 1 + random() % 4;
    for (size_t n = 0; n < changes; ++n) {
      const size_t at = random() % header;
      undo.emplace_back(at, bytes[at]);
      bytes[at] ^= static_cast<std::byte>(1u << random() % 8);
    }
    TryFile(bytes, counts);
    for (auto at = undo.rbegin(); at != undo.rend(); ++at) bytes[at->first] = at->second;
  }
  CHECK(counts.refused + counts.opened == 3000);
  CHECK(counts.loaded > 0);
}

TEST_CASE("hostile: random bytes changed in the header of a pack, the index of its tokens too") {
  Bytes bytes = MakePack(Source(Fixture(Type::kF32)).Order());
  const size_t header = HeaderWalk(bytes).end();
  std::mt19937 random(7);
  Counts counts;
  for (size_t i = 0; i < 3000; ++i) {
    const size_t at = random() % header;
    const std::byte original = bytes[at];
    bytes[at] ^= static_cast<std::byte>(1 + random() % 255);
    TryFile(bytes, counts);
    bytes[at] = original;
  }
  CHECK(counts.refused + counts.opened == 3000);
  CHECK(counts.loaded > 1000);
}

TEST_CASE("hostile: the largest counts that are allowed do not take long") {
  GgufWriter out;
  for (size_t i = 0; i < Gguf::kMaxTensors; ++i) {
    std::string name = std::to_string(i);
    name.insert(0, Gguf::kMaxTensorName - name.size(), 'x');  // alike up to the last bytes
    out.AddF32(name, {1}, {1});
  }
  for (size_t i = 0; i < GgufValues::kMax; ++i) out.Set(std::string(60000, 'k') + std::to_string(i), uint8_t{1});
  const Bytes bytes = out.Write();
  const auto begin = std::chrono::steady_clock::now();
  CHECK(OpenBytes(bytes));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  MESSAGE("4096 tensors and 256 keys with names alike: ", seconds.count(), " s");
  CHECK(seconds.count() < 20);
}

}  // namespace
}  // namespace thimble::test
