// SPDX-License-Identifier: Apache-2.0
//
// io/load_qwen35 on tiny models: every view is the tensor of its name, and whatever does not fit is refused by name.
#include "io/load_qwen35.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/gguf_writer.h"
#include "tests/tiny_model.h"

namespace thimble::test {
namespace {

/// A model in memory with what its views look into.
struct Loaded {
  explicit Loaded(const GgufWriter& writer, const RopeConfig* rope = nullptr) : bytes(writer.Write()) {
    const Result<Gguf> opened = OpenBytes(bytes);
    REQUIRE(opened);
    file = *opened;
    Arena measuring;
    const Result<Model> planned = LoadQwen35(file, measuring, rope);
    memory.resize(measuring.used() + Arena::kAlign);
    void* base = memory.data();
    size_t room = memory.size();
    std::align(Arena::kAlign, measuring.used(), base, room);
    Arena arena({static_cast<std::byte*>(base), measuring.used()});
    const Result<Model> result = LoadQwen35(file, arena, rope);
    CHECK(arena.used() == measuring.used());
    CHECK(planned.error().what == std::string(result.error().what));  // measuring proves the same
    CHECK(planned.error().name == result.error().name);
    if (planned) CHECK(planned->weights.layers == nullptr);
    if (planned) CHECK(planned->weights.rope_frequencies == nullptr);
    error = result.error();
    model = *result;
  }

  Bytes bytes;
  Gguf file;
  std::vector<std::byte> memory;
  Error error;
  Model model;
};

Told Refused(const GgufWriter& writer) {
  const Loaded loaded(writer);
  CHECK_FALSE(loaded.error.ok());
  return Told(loaded.error);
}

/// Refused after `change`.
template <class Change>
Told RefusedAfter(Change change, const TinyOptions& options = {}) {
  GgufWriter writer = TinyQwen35(options);
  change(writer);
  return Refused(writer);
}

void CheckMatrix(const Loaded& m, const Matrix& matrix, const std::string& name, Type type) {
  CAPTURE(name);
  const std::optional<GgufTensor> tensor = m.file.FindTensor(name);
  REQUIRE(tensor);
  CHECK(matrix.data == tensor->data);
  CHECK(matrix.cols == tensor->ne[0]);
  CHECK(matrix.rows == tensor->ne[1]);
  REQUIRE(matrix.format != nullptr);
  CHECK(matrix.format->type == type);
  CHECK(matrix.bytes() == tensor->bytes);
}

void CheckFloats(const Loaded& m, const float* floats, const std::string& name) {
  CAPTURE(name);
  const std::optional<GgufTensor> tensor = m.file.FindTensor(name);
  REQUIRE(tensor);
  CHECK(reinterpret_cast<const std::byte*>(floats) == tensor->data);
}

void CheckBlock(const Loaded& m, const LayerWeights& layer, uint32_t i, bool recurrent, Type type) {
  const std::string p = "blk." + std::to_string(i) + ".";
  CheckFloats(m, layer.attn_norm, p + "attn_norm.weight");
  CheckFloats(m, layer.post_attention_norm, p + "post_attention_norm.weight");
  CheckMatrix(m, layer.ffn_gate, p + "ffn_gate.weight", type);
  CheckMatrix(m, layer.ffn_up, p + "ffn_up.weight", type);
  CheckMatrix(m, layer.ffn_down, p + "ffn_down.weight", type);
  if (recurrent) {
    const DeltaNetWeights& w = layer.deltanet;
    CheckMatrix(m, w.attn_qkv, p + "attn_qkv.weight", type);
    CheckMatrix(m, w.attn_gate, p + "attn_gate.weight", type);
    CheckMatrix(m, w.ssm_beta, p + "ssm_beta.weight", type);
    CheckMatrix(m, w.ssm_alpha, p + "ssm_alpha.weight", type);
    CheckMatrix(m, w.ssm_out, p + "ssm_out.weight", type);
    CheckFloats(m, w.ssm_conv1d, p + "ssm_conv1d.weight");
    CheckFloats(m, w.ssm_dt, p + "ssm_dt.bias");
    CheckFloats(m, w.ssm_a, p + "ssm_a");
    CheckFloats(m, w.ssm_norm, p + "ssm_norm.weight");
    CHECK(layer.attention.attn_q.data == nullptr);
  } else {
    const AttentionWeights& w = layer.attention;
    CheckMatrix(m, w.attn_q, p + "attn_q.weight", type);
    CheckMatrix(m, w.attn_k, p + "attn_k.weight", type);
    CheckMatrix(m, w.attn_v, p + "attn_v.weight", type);
    CheckMatrix(m, w.attn_output, p + "attn_output.weight", type);
    CheckFloats(m, w.attn_q_norm, p + "attn_q_norm.weight");
    CheckFloats(m, w.attn_k_norm, p + "attn_k_norm.weight");
    CHECK(layer.deltanet.attn_qkv.data == nullptr);
  }
}

TEST_CASE("qwen35: config and views of every variant") {
  TinyOptions mtp;
  mtp.mtp = true;
  TinyOptions headed;
  headed.own_head = true;
  headed.value_heads = 6;
  headed.layers = 8;
  TinyOptions listed;
  listed.recurrent = {false, true, false, true, true};
  listed.layers = 5;
  listed.mtp = true;
  TinyOptions half;
  half.type = Type::kF16;
  TinyOptions interval;
  interval.interval = 2;
  for (const TinyOptions& o : {TinyOptions(), mtp, headed, listed, half, interval}) {
    const Loaded m(TinyQwen35(o));
    REQUIRE(m.error.ok());
    const Config& c = m.model.config;
    CHECK(c.block_count == o.layers);
    CHECK(c.nextn_predict_layers == (o.mtp ? 1 : 0));
    CHECK(c.vocab_size == MakeTinyVocabulary().tokens.size());
    CHECK(c.context_length == o.context);
    CHECK(c.embedding_length == o.embedding);
    CHECK(c.feed_forward_length == o.feed_forward);
    CHECK(c.layer_norm_rms_epsilon == 1e-6f);
    CHECK(c.head_count == o.heads);
    CHECK(c.head_count_kv == o.heads_kv);
    CHECK(c.key_length == o.key_length);
    CHECK(c.rope.freq_base == 1e7f);
    CHECK(c.rope.dimension_count == o.rope_dimensions);
    CHECK(c.rope.dimension_sections == std::array<uint32_t, 3>{2, 1, 1});
    CHECK(c.rope.scaling_factor == 1);
    CHECK(c.conv_kernel == o.conv_kernel);
    CHECK(c.state_size == o.state_size);
    CHECK(c.group_count == o.key_heads);
    CHECK(c.time_step_rank == o.value_heads);
    CHECK(c.value_size() == o.value_size);

    const Weights& w = m.model.weights;
    CheckMatrix(m, w.token_embd, "token_embd.weight", o.type);
    CheckMatrix(m, w.output, o.own_head ? "output.weight" : "token_embd.weight", o.type);
    CheckFloats(m, w.output_norm, "output_norm.weight");
    for (uint32_t i = 0; i < o.layers; ++i) {
      const bool recurrent = o.recurrent.empty() ? (i + 1) % o.interval != 0 : static_cast<bool>(o.recurrent[i]);
      CHECK(c.IsRecurrent(i) == recurrent);
      CheckBlock(m, w.layers[i], i, recurrent, o.type);
    }
    CHECK((w.mtp != nullptr) == o.mtp);
    if (w.mtp == nullptr) continue;
    CheckBlock(m, w.mtp->block, o.layers, false, o.type);
    const std::string p = "blk." + std::to_string(o.layers) + ".nextn.";
    CheckMatrix(m, w.mtp->eh_proj, p + "eh_proj.weight", o.type);
    CheckFloats(m, w.mtp->enorm, p + "enorm.weight");
    CheckFloats(m, w.mtp->hnorm, p + "hnorm.weight");
    CheckFloats(m, w.mtp->shared_head_norm, p + "shared_head_norm.weight");
  }
}

TEST_CASE("qwen35: keys with a default, and lists in other shapes") {
  GgufWriter writer = TinyQwen35();
  writer.Unset("qwen35.full_attention_interval");
  writer.Unset("qwen35.rope.dimension_sections");
  writer.Unset("general.type");
  const Loaded m(writer);
  REQUIRE(m.error.ok());
  CHECK(m.model.config.recurrent_count() == 3);
  CHECK(m.model.config.rope.dimension_sections == std::array<uint32_t, 3>{4, 0, 0});

  TinyOptions mtp;
  mtp.mtp = true;
  GgufWriter listed = TinyQwen35(mtp);
  listed.SetArray<uint32_t>("qwen35.attention.recurrent_layers", {1, 1, 1, 0, 0});  // with an entry for the MTP block
  listed.Set("qwen35.full_attention_interval", uint32_t{2});                        // overridden
  CHECK(Loaded(listed).error.ok());
}

TEST_CASE("qwen35: a token that the embedding has no row for") {
  TinyVocabulary vocabulary = MakeTinyVocabulary();
  vocabulary.tokens.push_back("one more");
  GgufWriter writer = TinyQwen35();
  writer.SetArray("tokenizer.ggml.tokens", vocabulary.tokens);
  const Told told = Refused(writer);
  CHECK(told.status == Status::kBadFile);
  CHECK(told.name == "tokenizer.ggml.tokens");
}

TEST_CASE("qwen35: YaRN") {
  GgufWriter writer = TinyQwen35();
  writer.Set("qwen35.rope.scaling.type", "yarn");
  CHECK(Refused(writer).name == "qwen35.rope.scaling.factor");
  writer.Set("qwen35.rope.scaling.factor", 4.0f);
  CHECK(Refused(writer).name == "qwen35.rope.scaling.original_context_length");
  writer.Set("qwen35.rope.scaling.original_context_length", uint32_t{262144});
  const Loaded m(writer);
  REQUIRE(m.error.ok());
  CHECK(m.model.config.rope.scaling_factor == 4);
  CHECK(m.model.config.rope.original_context_length == 262144);
  CHECK(m.model.config.rope.yarn_beta_fast == 32);
  CHECK(m.model.config.rope.yarn_beta_slow == 1);
  CHECK(m.model.weights.rope_scale == doctest::Approx(0.1 * std::log(4) + 1));
  const Loaded plain(TinyQwen35());
  CHECK(plain.model.weights.rope_scale == 1);
  const Loaded stretched(TinyQwen35(), &m.model.config.rope);  // by its user, not by the file
  CHECK(stretched.model.weights.rope_scale == m.model.weights.rope_scale);
  for (size_t i = 0; i < m.model.config.rope.dimension_count / 2; ++i) {
    CHECK(stretched.model.weights.rope_frequencies[i] == m.model.weights.rope_frequencies[i]);
  }
  const size_t last = m.model.config.rope.dimension_count / 2 - 1;  // turns too slowly to have been seen whole
  CHECK(m.model.weights.rope_frequencies[last] ==
        doctest::Approx(static_cast<double>(plain.model.weights.rope_frequencies[last]) / 4));

  writer.Set("qwen35.rope.scaling.yarn_beta_fast", 24.0f);
  writer.Set("qwen35.rope.scaling.yarn_beta_slow", 2.0f);
  writer.Set("qwen35.rope.scaling.yarn_ext_factor", 1.0f);
  const Loaded betas(writer);
  REQUIRE(betas.error.ok());
  CHECK(betas.model.config.rope.yarn_beta_fast == 24);
  CHECK(betas.model.config.rope.yarn_beta_slow == 2);
  writer.Set("qwen35.rope.scaling.yarn_beta_slow", 24.0f);
  CHECK(Refused(writer).name == "qwen35.rope.scaling.yarn_beta_fast");
  writer.Set("qwen35.rope.scaling.yarn_beta_slow", 2.0f);
  writer.Set("qwen35.rope.scaling.yarn_attn_factor", 1.1f);
  CHECK(Refused(writer).name == "qwen35.rope.scaling.yarn_attn_factor");

  GgufWriter linear = TinyQwen35();
  linear.Set("qwen35.rope.scaling.factor", 4.0f);  // llama.cpp takes a factor without a type for linear
  CHECK(Refused(linear).detail == "linear");
  for (const char* type : {"linear", "longrope", "dynamic"}) {
    linear.Set("qwen35.rope.scaling.type", type);
    CHECK(Refused(linear).status == Status::kUnsupported);
    CHECK(Refused(linear).detail == type);
  }
  GgufWriter none = TinyQwen35();
  none.Set("qwen35.rope.scaling.type", "none");
  CHECK(Loaded(none).error.ok());
}

TEST_CASE("qwen35: other architectures and kinds of file are refused by what they are") {
  std::map<std::string, std::string> sentences;
  for (const char* architecture : {"llama", "qwen3", "qwen3next", "qwen35moe", "clip"}) {
    const Told error = RefusedAfter([&](GgufWriter& w) { w.Set("general.architecture", architecture); });
    CHECK(error.status == Status::kUnsupported);
    CHECK(error.detail == architecture);
    sentences[architecture] = error.what;
  }
  CHECK(sentences["llama"].find("dense Qwen3.5") != std::string::npos);
  CHECK(sentences["qwen35moe"].find("mixtures of experts") != std::string::npos);
  CHECK(sentences["qwen3next"] == sentences["qwen35moe"]);
  CHECK(sentences["clip"].find("vision") != std::string::npos);
  CHECK(RefusedAfter([](GgufWriter& w) { w.Unset("general.architecture"); }).status == Status::kNotFound);
  for (const char* type : {"adapter", "mmproj", "imatrix"}) {
    CHECK(RefusedAfter([&](GgufWriter& w) { w.Set("general.type", type); }).detail == type);
  }

  TinyOptions mtp;
  mtp.mtp = true;
  const Told only = RefusedAfter(
      [](GgufWriter& w) {
        std::erase_if(w.tensors,
                      [](const auto& t) { return t.name.starts_with("blk.") && !t.name.starts_with("blk.4."); });
      },
      mtp);
  CHECK(only.status == Status::kUnsupported);
  CHECK(only.name == "qwen35.nextn_predict_layers");
}

TEST_CASE("qwen35: files laid out for Ollama are refused as such") {
  const auto ollama = [](auto change) {
    const Told error = RefusedAfter(change);
    CHECK(error.status == Status::kUnsupported);
    CHECK(error.what.find("Ollama") != std::string::npos);
    return error.name;
  };
  CHECK(ollama([](GgufWriter& w) { w.SetArray<uint32_t>("qwen35.attention.head_count_kv", {0, 0, 0, 2}); }) ==
        "qwen35.attention.head_count_kv");
  CHECK(ollama([](GgufWriter& w) { w.SetArray<int32_t>("qwen35.rope.dimension_sections", {2, 1, 1}); }) ==
        "qwen35.rope.dimension_sections");
  CHECK(ollama([](GgufWriter& w) { w.Find("blk.0.ssm_dt.bias")->name = "blk.0.ssm_dt"; }) == "blk.0.ssm_dt");
  for (const char* key : {"qwen35.ssm.v_head_reordered", "qwen35.rope.mrope_interleaved", "qwen35.vision.block_count",
                          "qwen35.image_token_id"}) {
    CHECK(ollama([&](GgufWriter& w) { w.Set(key, uint32_t{1}); }) == key);
  }
  for (const char* name : {"v.blk.0.attn_out.weight", "mm.0.weight", "mtp.fc.weight"}) {
    CHECK(ollama([&](GgufWriter& w) { w.AddF32(name, {1}, {1}); }) == name);
  }
}

TEST_CASE("qwen35: every required key, missing, of another type and out of range") {
  const std::vector<std::string> counts = {
      "qwen35.block_count",          "qwen35.context_length",         "qwen35.embedding_length",
      "qwen35.feed_forward_length",  "qwen35.attention.head_count",   "qwen35.attention.head_count_kv",
      "qwen35.attention.key_length", "qwen35.attention.value_length", "qwen35.rope.dimension_count",
      "qwen35.ssm.conv_kernel",      "qwen35.ssm.state_size",         "qwen35.ssm.group_count",
      "qwen35.ssm.time_step_rank",   "qwen35.ssm.inner_size"};
  for (const std::string& key : counts) {
    CAPTURE(key);
    const Told missing = RefusedAfter([&](GgufWriter& w) { w.Unset(key); });
    CHECK(missing.status == Status::kNotFound);
    CHECK(missing.name == key);
    const Told worded = RefusedAfter([&](GgufWriter& w) { w.Set(key, "4"); });
    CHECK(worded.status == Status::kBadFile);
    CHECK(worded.name == key);
    for (const int64_t value : {int64_t{0}, int64_t{0xffffffff}, int64_t{1} << 40}) {
      const Told error = RefusedAfter([&](GgufWriter& w) { w.Set(key, value); });
      CHECK(error.status == Status::kUnsupported);
      CHECK(error.name == key);
      CHECK(error.at == static_cast<uint64_t>(value));
    }
    CHECK(RefusedAfter([&](GgufWriter& w) { w.Set(key, int64_t{-1}); }).name == key);
  }
  for (const char* key : {"qwen35.attention.layer_norm_rms_epsilon", "qwen35.rope.freq_base"}) {
    CAPTURE(key);
    CHECK(RefusedAfter([&](GgufWriter& w) { w.Unset(key); }).name == key);
    for (const float value : {0.0f, -1.0f, 1e30f, std::numeric_limits<float>::quiet_NaN()}) {
      CHECK(RefusedAfter([&](GgufWriter& w) { w.Set(key, value); }).name == key);
    }
  }
}

TEST_CASE("qwen35: values that contradict each other") {
  const auto name = [](std::string_view key, auto value) {
    const Told error = RefusedAfter([&](GgufWriter& w) { w.Set(key, value); });
    CHECK(error.status == Status::kBadFile);
    return error.name;
  };
  CHECK(name("qwen35.attention.head_count_kv", 3u) == "qwen35.attention.head_count_kv");
  CHECK(name("qwen35.attention.key_length", 33u) == "qwen35.attention.key_length");
  CHECK(name("qwen35.attention.value_length", 16u) == "qwen35.attention.value_length");
  CHECK(name("qwen35.rope.dimension_count", 7u) == "qwen35.rope.dimension_count");
  CHECK(name("qwen35.rope.dimension_count", 34u) == "qwen35.rope.dimension_count");
  CHECK(name("qwen35.rope.dimension_count", 10u) == "qwen35.rope.dimension_sections");
  CHECK(name("qwen35.ssm.time_step_rank", 3u) == "qwen35.ssm.time_step_rank");
  CHECK(name("qwen35.ssm.inner_size", 33u) == "qwen35.ssm.inner_size");
  const auto sections = [](const std::vector<int32_t>& list) {
    return RefusedAfter([&](GgufWriter& w) { w.SetArray("qwen35.rope.dimension_sections", list); }).name;
  };
  for (const std::vector<int32_t>& list : std::vector<std::vector<int32_t>>{
           {2, 1, 0, 0}, {2, 1, 1, 1}, {4, 1, -1, 0}, {2, 1, 0, 1}, {2, 2}, {INT32_MAX, INT32_MAX, 6, 0}}) {
    CHECK(sections(list) == "qwen35.rope.dimension_sections");
  }
  CHECK(RefusedAfter([](GgufWriter& w) {
          w.SetArray<float>("qwen35.rope.dimension_sections", {1.5f, 1.5f, 1, 0});
        }).name == "qwen35.rope.dimension_sections");
  const auto recurrent = [](const std::vector<uint32_t>& list) {
    return std::string(
        RefusedAfter([&](GgufWriter& w) { w.SetArray("qwen35.attention.recurrent_layers", list); }).name);
  };
  CHECK(recurrent({1, 1, 1}) == "qwen35.attention.recurrent_layers");
  CHECK(recurrent({1, 1, 1, 0, 0}) == "qwen35.attention.recurrent_layers");
  CHECK(recurrent({}) == "qwen35.attention.recurrent_layers");
  CHECK(RefusedAfter([](GgufWriter& w) { w.Set("qwen35.nextn_predict_layers", 2u); }).name ==
        "qwen35.nextn_predict_layers");
  CHECK(RefusedAfter([](GgufWriter& w) { w.Set("qwen35.full_attention_interval", 0u); }).name ==
        "qwen35.full_attention_interval");
}

TEST_CASE("qwen35: every tensor, missing, of another shape and of another type") {
  TinyOptions o;
  o.own_head = true;
  o.mtp = true;
  const GgufWriter good = TinyQwen35(o);
  for (const GgufWriter::Tensor& tensor : good.tensors) {
    const std::string name = tensor.name;
    CAPTURE(name);
    if (name != "output.weight" && name != "blk.0.attn_norm.weight") {
      const Told missing = RefusedAfter([&](GgufWriter& w) { w.RemoveTensor(name); }, o);
      CHECK(missing.status == Status::kNotFound);
      const std::string& pattern = missing.name;
      const std::string shown =
          pattern.starts_with("blk.N") ? "blk." + std::to_string(missing.at) + pattern.substr(5) : pattern;
      CHECK(shown == name);
    }
    const auto reshape = [&](std::vector<uint64_t> ne) {
      const Told error = RefusedAfter([&](GgufWriter& w) { w.Find(name)->ne = std::move(ne); }, o);
      CHECK(error.status == Status::kBadFile);
      // Without its own name only token_embd, which says how many rows the head must have.
      CHECK((error.name == name || (name == "token_embd.weight" &&
                                    (error.name == "output.weight" || error.name == "tokenizer.ggml.tokens"))));
    };
    std::vector<uint64_t> ne = tensor.ne;
    ne.back() -= 1;
    reshape(ne);
    if (tensor.ne.size() == 2 && tensor.ne[0] != tensor.ne[1]) reshape({tensor.ne[1], tensor.ne[0]});
    if (tensor.ne.size() == 2 && name != "token_embd.weight") reshape({tensor.ne[0], tensor.ne[1] / 2, 2});

    // As a type of 18 bytes in 32 elements that has no Format, or F16: a matrix may have any Format, a vector must be
    // F32.
    const bool matrix = tensor.ne.size() == 2 && name.find("conv1d") == std::string::npos;
    const Told odd = RefusedAfter([&](GgufWriter& w) { w.Find(name)->type = 16; }, o);
    CHECK(odd.status == Status::kUnsupported);
    CHECK(odd.name == name);
    CHECK(odd.detail == "IQ2_XXS");
    GgufWriter half = good;
    half.Find(name)->type = 1;
    const Loaded halved(half);
    CHECK(halved.error.ok() == matrix);
    if (!matrix) CHECK(halved.error.detail == "F16");
    if (!matrix) CHECK(halved.error.name == name);
  }
}

TEST_CASE("qwen35: a tensor that is not understood is refused by name") {
  for (const char* name : {"blk.0.attn_q.bias", "blk.0.attn_q.weight", "blk.3.attn_qkv.weight", "blk.0.ffn_up.scale",
                           "blk.4.attn_norm.weight", "blk.00.attn_norm.weight", "blk.0attn_norm.weight", "blk.",
                           "blk.0", "blk.99999999999.attn_norm.weight", "blk.N.attn_norm.weight",
                           "blk.0.nextn.enorm.weight", "rope_freqs.weight", "output.bias"}) {
    const Told error = RefusedAfter([&](GgufWriter& w) { w.AddF32(name, {1}, {1}); });
    CHECK(error.status == Status::kUnsupported);
    CHECK(error.name == name);
  }
}

TEST_CASE("qwen35: an arena that is too small says how many bytes are needed") {
  const Bytes bytes = MakeTinyQwen35();
  const Result<Gguf> file = OpenBytes(bytes);
  REQUIRE(file);
  Arena measuring;
  REQUIRE(LoadQwen35(*file, measuring));
  CHECK(measuring.used() >= 4 * sizeof(LayerWeights));
  alignas(Arena::kAlign) static std::byte memory[1 << 14];
  REQUIRE(measuring.used() <= sizeof memory);
  for (size_t size = 1; size < measuring.used(); size += 61) {
    Arena arena({memory, size});
    const Result<Model> model = LoadQwen35(*file, arena);
    CHECK(model.error().status == Status::kTooSmall);
    CHECK(model.error().at == measuring.used());
  }
}

}  // namespace
}  // namespace thimble::test
