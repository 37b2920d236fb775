// SPDX-License-Identifier: Apache-2.0
//
// What stands in a pack against the source that it was made from, for every recipe.
#include "io/pack.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "io/hash.h"
#include "io/load_qwen35.h"
#include "io/pack_writer.h"
#include "io/tokenizer.h"
#include "quant/half.h"
#include "tests/make_pack.h"

namespace thimble::test {
namespace {

double RelativeError(const std::vector<float>& x, const std::vector<float>& y) {
  double error = 0, all = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += (static_cast<double>(x[i]) - static_cast<double>(y[i])) *
             (static_cast<double>(x[i]) - static_cast<double>(y[i]));
    all += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return std::sqrt(error / all);
}

Type TypeIn(const Gguf& file, std::string_view name) {
  const auto tensor = file.FindTensor(name);
  REQUIRE(tensor.has_value());
  return static_cast<Type>(tensor->type);
}

TEST_CASE("a pack is its source with other matrices: metadata byte for byte, in order, and all tensors") {
  const Source source(TinySource());
  const Bytes pack = MakePack(source.Order());
  const Result<Gguf> file = OpenBytes(pack);
  RequireOk(file.error());
  Arena nowhere;
  RequireOk(LoadQwen35(*file, nowhere).error());
  CHECK(file->Find("general.alignment")->AsUnsigned() == 64);
  CHECK(file->tensor_count() == source.file.tensor_count());

  // Up to the first key that is not taken over, the entries are the same bytes; behind them come the pack's own.
  size_t i = 0;
  for (const GgufValue& value : source.file.values()) {
    if (value.key == "general.alignment") continue;
    const GgufValue copy = file->values()[i++];
    CHECK(copy.key == value.key);
    CHECK(copy.type == value.type);
    CHECK(copy.element == value.element);
    CHECK(copy.count == value.count);
    if (const auto text = value.AsString()) CHECK(copy.AsString() == text);
    if (const auto strings = value.AsStrings()) {
      auto other = copy.AsStrings()->begin();
      for (const std::string_view text : *strings) {
        CHECK(*other == text);
        ++other;
      }
    } else if (value.type == GgufType::kArray) {
      for (uint64_t n = 0; n < value.count; ++n) CHECK(copy.NumberAt(n) == value.NumberAt(n));
    } else {
      CHECK(copy.AsNumber() == value.AsNumber());
    }
  }
  CHECK(file->values().size() == i + 1 + 2 + pack_keys::kCount);  // the alignment, the index of the tokens, the stamp
  auto tensor = file->tensors().begin();
  for (const GgufTensor& original : source.file.tensors()) {
    CHECK((*tensor).name == original.name);
    CHECK((*tensor).ne == original.ne);
    CHECK(((*tensor).data - pack.data()) % 64 == 0);
    ++tensor;
  }

  const Result<PackStamp> stamp = ReadPackStamp(*file, pack);
  RequireOk(stamp.error());
  CHECK(stamp->recipe == PackRecipe::kQ4);
  CHECK_FALSE(stamp->keep_exact);
  CHECK(stamp->source_bytes == source.parts[0].size());
  CHECK(stamp->imatrix_hash.empty());
  Hash hash;
  hash.Add(source.parts[0]);
  const auto hex = hash.hex();
  CHECK(stamp->source_hash == std::string_view(hex.data(), hex.size()));
}

TEST_CASE("a pack of any recipe has an index of its tokens, on a multiple of 4, if the tokenizer is known") {
  const auto index_of = [](const GgufWriter& writer, PackRecipe recipe) {
    const Bytes pack = MakePack(Source(writer.Write()).Order(recipe));
    const Result<Gguf> file = OpenBytes(pack);
    RequireOk(file.error());
    RequireOk(ReadPackStamp(*file, pack).error());
    const auto value = file->Find(TokenIndex::kKey);
    if (!value) return size_t{0};
    CHECK((value->data - pack.data()) % 4 == 0);
    Arena measure;
    CHECK(Tokenizer::BindIndexed(*file, 0, measure));
    return static_cast<size_t>(value->count);
  };
  GgufWriter writer = TinyQwen35();
  const size_t words = index_of(writer, PackRecipe::kExact);
  CHECK(words > 256);
  CHECK(index_of(writer, PackRecipe::kQ4) == words);
  CHECK(index_of(writer, PackRecipe::kQ3) == words);
  for (const char* text : {"", "1", "12", "123"}) {  // metadata of any length in front
    writer.Set("thimble.prompt", text);
    writer.SetArray(TokenIndex::kKey, std::vector<uint32_t>{1, 2, 3});  // a wrong one is not taken over
    CHECK(index_of(writer, PackRecipe::kExact) == words);
  }
  GgufWriter other = writer;
  other.Set("tokenizer.ggml.model", "llama");
  CHECK(index_of(other, PackRecipe::kExact) == 0);
  other.Unset("tokenizer.ggml.model");
  CHECK(index_of(other, PackRecipe::kExact) == 0);
  writer.SetArray("tokenizer.ggml.merges", std::vector<std::string>{"no merge at all"});
  const Source broken(writer.Write());
  PackWriter packer;
  const HeapBlock memory(size_t{8} << 20);
  CHECK(BindOn(packer, broken.Order(), 1, memory.span()).status == Status::kBadFile);
}

TEST_CASE("the checksum is XXH3 with 128 bits") {
  // Of nothing, from the specification of xxHash.
  const auto hex = Hash().hex();
  CHECK(std::string_view(hex.data(), hex.size()) == "99aa06d3014798d86001c324468d497f");
  CHECK(HashOf({}) == 0x6001c324468d497fu);
  const Bytes bytes = TinySource();
  Hash pieces;
  for (size_t at = 0, n = 1; at < bytes.size(); at += n, n = n * 3 + 1) {
    n = std::min(n, bytes.size() - at);
    pieces.Add(std::span(bytes).subspan(at, n));
  }
  CHECK(pieces.low64() == HashOf(bytes));
}

TEST_CASE("formats by recipe") {
  using enum Type;
  struct Line {
    PackRecipe recipe;
    Type ffn, mixer, gate, head;
  };
  const Source source(TinySource());
  const Line lines[] = {{PackRecipe::kQ4, kQB4, kQB4, kQ8_0, kQB4},
                        {PackRecipe::kQ4s, kQB4, kQ8_0, kQ8_0, kQB4},
                        {PackRecipe::kQ3, kQB3, kQB4, kQ8_0, kQB4},
                        {PackRecipe::kExact, kF32, kF32, kF32, kF32}};
  for (const Line& line : lines) {
    const Bytes pack = MakePack(source.Order(line.recipe));
    const Result<Gguf> file = OpenBytes(pack);
    RequireOk(file.error());
    for (const char* name : {"blk.0.ffn_gate.weight", "blk.3.ffn_up.weight", "blk.4.ffn_down.weight"}) {
      CHECK(TypeIn(*file, name) == line.ffn);
    }
    for (const char* name :
         {"blk.0.attn_qkv.weight", "blk.0.attn_gate.weight", "blk.1.ssm_out.weight", "blk.3.attn_q.weight",
          "blk.3.attn_k.weight", "blk.3.attn_v.weight", "blk.4.attn_output.weight"}) {
      CHECK(TypeIn(*file, name) == line.mixer);
    }
    for (const char* name : {"blk.0.ssm_alpha.weight", "blk.2.ssm_beta.weight"})
      CHECK(TypeIn(*file, name) == line.gate);
    for (const char* name : {"token_embd.weight", "output.weight", "blk.4.nextn.eh_proj.weight"}) {
      CHECK(TypeIn(*file, name) == line.head);
    }
    for (const char* name : {"blk.0.ssm_conv1d.weight", "blk.0.attn_norm.weight", "blk.0.ssm_dt.bias"}) {
      CHECK(TypeIn(*file, name) == kF32);
    }
    for (const GgufTensor& tensor : file->tensors()) {
      const GgufTensor original = *source.file.FindTensor(tensor.name);
      const double error = RelativeError(Values(original), Values(tensor));
      const auto type = static_cast<Type>(tensor.type);
      CAPTURE(std::string(tensor.name));
      // These weights are uniform, not Gaussian: 4 bits lose 1/16/sqrt(3) of the largest and less.
      CHECK(error <= (type == kF32 ? 0.0 : type == kQ8_0 ? 0.006 : type == kQB4 ? 0.075 : 0.15));
    }
  }
}

TEST_CASE("matrices that cannot or need not be packed stay as they are") {
  TinyOptions options;
  options.feed_forward = 80;  // no multiple of 32
  const Source odd((MakeTinyQwen35(options)));
  const Bytes pack = MakePack(odd.Order());
  const Result<Gguf> file = OpenBytes(pack);
  RequireOk(file.error());
  CHECK(TypeIn(*file, "blk.0.ffn_down.weight") == Type::kF32);
  CHECK(TypeIn(*file, "blk.0.ffn_up.weight") == Type::kQB4);  // rows of 64, 80 of them: five tiles

  struct Line {
    std::string name;
    PackRecipe recipe;
    bool keep;
    std::string tensor;
    Type type;
  };
  using enum Type;
  const Line lines[] = {
      {"q_q4_0", PackRecipe::kQ4, false, "blk.0.ffn_up.weight", kQB4},
      {"q_q4_0", PackRecipe::kQ4, true, "blk.0.ffn_up.weight", kQ4_0},
      {"q_q4_0", PackRecipe::kQ4s, false, "blk.0.ssm_out.weight", kQB4},
      {"q_q4_0", PackRecipe::kQ3, false, "blk.0.ffn_up.weight", kQB3},
      {"q_q4_0", PackRecipe::kExact, false, "blk.0.ffn_up.weight", kQ4_0},
      {"q_q8_0", PackRecipe::kQ4, false, "blk.0.ffn_up.weight", kQB4},
      {"q_q8_0", PackRecipe::kQ4s, false, "blk.0.ssm_out.weight", kQ8_0},
      {"q_q8_0", PackRecipe::kQ4, true, "blk.0.ffn_up.weight", kQ8_0},
      {"q_q6_k", PackRecipe::kQ4s, false, "blk.0.ssm_out.weight", kQ6_K},
      {"q_q4_k_m", PackRecipe::kQ4, false, "blk.0.ffn_up.weight", kQB4},
      {"q_iq4_xs", PackRecipe::kQ4, false, "blk.0.ffn_up.weight", kIQ4_XS},  // fewer bits than QB4
      {"q_q2_k", PackRecipe::kQ4, false, "blk.0.ffn_up.weight", kQ2_K},
      {"q_q2_k", PackRecipe::kQ3, false, "blk.0.ffn_up.weight", kQ2_K},
  };
  for (const Line& line : lines) {
    CAPTURE(line.name);
    CAPTURE(line.tensor);
    const Source source(ReadData("model/" + line.name + ".gguf"));
    PackOrder order = source.Order(line.recipe);
    order.keep_exact = line.keep;
    const GgufTensor tensor = *source.file.FindTensor(line.tensor);
    REQUIRE(PackFormatOf(order, tensor) != nullptr);
    CHECK(TypeName(static_cast<uint32_t>(PackFormatOf(order, tensor)->type)) ==
          TypeName(static_cast<uint32_t>(line.type)));
  }
}

TEST_CASE("Q4_0 keeps its codes; what is kept keeps its bytes") {
  const Source source(ReadData("model/q_q4_0.gguf"));
  {
    const Bytes pack = MakePack(source.Order());
    const Result<Gguf> file = OpenBytes(pack);
    RequireOk(file.error());
    size_t packed = 0;
    for (const GgufTensor& original : source.file.tensors()) {
      const GgufTensor tensor = *file->FindTensor(original.name);
      if (tensor.type == original.type) {
        CHECK(std::memcmp(tensor.data, original.data, static_cast<size_t>(tensor.bytes)) == 0);
      } else if (original.type == static_cast<uint32_t>(Type::kQ4_0)) {
        ++packed;
        CHECK(tensor.type == static_cast<uint32_t>(Type::kQB4));
        const std::vector<float> x = Values(original), y = Values(tensor);
        const auto cols = static_cast<size_t>(original.ne[0]);
        for (size_t i = 0; i < x.size(); ++i) {
          uint16_t d;
          std::memcpy(&d, original.data + i / cols * (cols / 32 * 18) + i % cols / 32 * 18, sizeof d);
          const float scale = F32FromF16(d), rounded = F32FromBF16(BF16FromF32(scale));
          REQUIRE(y[i] == x[i] / scale * rounded);
        }
      }
    }
    CHECK(packed > 5);
  }
  const Source k_quants(ReadData("model/q_q4_k_m.gguf"));
  PackOrder order = k_quants.Order();
  order.keep_exact = true;
  const Bytes pack = MakePack(order);
  const Result<Gguf> file = OpenBytes(pack);
  RequireOk(file.error());
  CHECK(StampOf(pack)->keep_exact);
  for (const GgufTensor& original : k_quants.file.tensors()) {
    const GgufTensor tensor = *file->FindTensor(original.name);
    REQUIRE(tensor.type == original.type);
    CHECK(std::memcmp(tensor.data, original.data, static_cast<size_t>(tensor.bytes)) == 0);
  }
}

TEST_CASE("the same bytes for any number of threads") {
  const Source source(ReadData("model/bf16.gguf"));
  for (const PackRecipe recipe : {PackRecipe::kQ4, PackRecipe::kQ4s, PackRecipe::kQ3}) {
    const Bytes pack = MakePack(source.Order(recipe));
    CHECK(MakePack(source.Order(recipe), 2) == pack);
    CHECK(MakePack(source.Order(recipe), 5) == pack);
  }
}

TEST_CASE("a split source gives the tensors of the whole one, and its own hash") {
  std::vector<Bytes> files;
  for (const char* part : {"1", "2", "3"}) {
    files.push_back(ReadData(std::string("model/split-0000") + part + "-of-00003.gguf"));
  }
  const Source split(std::move(files));
  const Bytes pack = MakePack(split.Order());
  const Result<Gguf> file = OpenBytes(pack);
  RequireOk(file.error());
  CHECK_FALSE(file->Find("split.count").has_value());
  Arena nowhere;
  RequireOk(LoadQwen35(*file, nowhere).error());
  Hash hash;
  uint64_t bytes = 0;
  for (const auto part : split.parts) {
    hash.Add(part);
    bytes += part.size();
  }
  const auto hex = hash.hex();
  const Result<PackStamp> stamp = ReadPackStamp(*file, pack);
  RequireOk(stamp.error());
  CHECK(stamp->source_hash == std::string_view(hex.data(), hex.size()));
  CHECK(stamp->source_bytes == bytes);

  // All metadata in a first part without tensors, as llama-gguf-split --no-tensor-first-split writes it.
  GgufWriter tiny = TinyQwen35();
  std::vector<Bytes> front = tiny.WriteSplit(1);
  GgufWriter head, tail;
  head.values = tiny.values;
  tail.tensors = tiny.tensors;
  for (GgufWriter* writer : {&head, &tail}) {
    writer->Set("split.no", static_cast<uint16_t>(writer == &head ? 0 : 1));
    writer->Set("split.count", uint16_t{2});
    writer->Set("split.tensors.count", static_cast<int32_t>(tiny.tensors.size()));
  }
  const Source bare({head.Write(), tail.Write()}), whole(tiny.Write());
  const Bytes one = MakePack(bare.Order()), other = MakePack(whole.Order());
  CHECK(one.size() == other.size());
  const Result<Gguf> a = OpenBytes(one), b = OpenBytes(other);
  for (const GgufTensor& tensor : a->tensors()) CHECK(Values(tensor) == Values(*b->FindTensor(tensor.name)));
  CHECK(a->values().size() == b->values().size());
}

// Mean KL of softmax(b) from softmax(a), over rows of `vocab` logits.
double MeanKl(const std::vector<float>& a, const std::vector<float>& b, size_t vocab) {
  double total = 0;
  for (size_t row = 0; row < a.size(); row += vocab) {
    const auto log_sum = [&](const std::vector<float>& x) {
      double most = -1e300, sum = 0;
      for (size_t i = 0; i < vocab; ++i) most = std::max(most, static_cast<double>(x[row + i]));
      for (size_t i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(x[row + i]) - most);
      return most + std::log(sum);
    };
    const double la = log_sum(a), lb = log_sum(b);
    for (size_t i = 0; i < vocab; ++i) {
      const double p = static_cast<double>(a[row + i]) - la, q = static_cast<double>(b[row + i]) - lb;
      total += std::exp(p) * (p - q);
    }
  }
  return total / static_cast<double>(a.size() / vocab);
}

std::vector<float> LogitsOf(const Bytes& bytes) {
  const Result<Gguf> file = OpenBytes(bytes);
  RequireOk(file.error());
  Arena measure;
  RequireOk(LoadQwen35(*file, measure).error());
  const HeapBlock tables(measure.used());
  Arena arena(tables.span());
  const Result<Model> model = LoadQwen35(*file, arena);
  RequireOk(model.error());
  Limits limits;
  limits.context = limits.batch = 48;
  HeapSession session(*model, limits);
  std::vector<Token> tokens;
  for (int32_t i = 0; i < 48; ++i) tokens.push_back((i * 37 + 11) % 256);
  std::vector<float> logits(tokens.size() * model->config.vocab_size);
  RequireOk(session->Feed(tokens, logits));
  return logits;
}

TEST_CASE("a pack computes nearly what its source does") {
  struct Bound {
    const char* model;
    PackRecipe recipe;
    double kl;
  };
  // Random weights, which suffer most. From Q4_0 only the scales are rounded, and its Q6_K head to 4 bits.
  const Bound bounds[] = {
      {"bf16", PackRecipe::kExact, 0},   {"bf16", PackRecipe::kQ4s, 0.0004}, {"bf16", PackRecipe::kQ4, 0.12},
      {"q_q8_0", PackRecipe::kQ3, 0.8},  {"grouped", PackRecipe::kQ4, 0.4},  {"q_q4_0", PackRecipe::kQ4, 0.1},
      {"q_q4_0", PackRecipe::kExact, 0}, {"yarn", PackRecipe::kQ4, 0.1},     {"q_q8_0", PackRecipe::kQ4, 0.22},
  };
  for (const Bound& bound : bounds) {
    const Bytes bytes = ReadData(std::string("model/") + bound.model + ".gguf");
    const Source source(bytes);
    const Bytes pack = MakePack(source.Order(bound.recipe));
    const std::vector<float> expected = LogitsOf(bytes), logits = LogitsOf(pack);
    const size_t vocab = logits.size() / 48;
    const double kl = MeanKl(expected, logits, vocab);
    MESSAGE(std::string(bound.model) << " " << std::string(kPackRecipes[static_cast<size_t>(bound.recipe)]) << ": KL "
                                     << kl);
    CHECK(kl <= bound.kl);
  }
}

}  // namespace
}  // namespace thimble::test
