// SPDX-License-Identifier: Apache-2.0
//
// The firmware's linked model, compiled here beside its file: every constant is what reading the file finds.
#include "io/linked_model.h"

#include <doctest/doctest.h>

#include <optional>
#include <string_view>
#include <vector>

#include "io/load_qwen35.h"
#include "io/thimble.h"
#include "quant/f32.h"
#include "quant/q4_0.h"
#include "quant/q8_0.h"
#include "tests/load_model.h"
#include "toolchains/cortex-m/board.h"

namespace thimble {
namespace {

// A new field must be written by linked_source.cc and compared here.
static_assert(sizeof(void*) != 8 || (sizeof(RopeConfig) == 36 && sizeof(Config) == 128), "a field is new");
static_assert(sizeof(void*) != 8 || (sizeof(LayerWeights) == 448 && sizeof(Weights) == 104), "a field is new");
static_assert(sizeof(void*) != 8 || (sizeof(TokenizerView) == 120 && sizeof(Vocabulary) == 48), "a field is new");
static_assert(sizeof(void*) != 8 || sizeof(Task) == 72, "a field is new");

std::span<const std::byte> Bytes() {
  return {reinterpret_cast<const std::byte*>(board_model), static_cast<size_t>(board_model_end - board_model)};
}

// What the file says, read where it is linked: so equal views are equal pointers.
struct Read {
  Read() {
    const std::span<const std::byte> bytes = Bytes();
    const Result<Gguf> opened = Gguf::Open({&bytes, 1});
    RequireOk(opened.error());
    file = *opened;
    Arena measure;
    RequireOk(LoadQwen35(file, measure).error());
    tables.emplace(measure.used());
    Arena arena(tables->span());
    const Result<Model> loaded = LoadQwen35(file, arena);
    RequireOk(loaded.error());
    model = *loaded;
  }
  Gguf file;
  std::optional<HeapBlock> tables;
  Model model;
};

void CheckSame(const Matrix& a, const Matrix& b) {
  CHECK(a.format == b.format);
  CHECK(a.data == b.data);
  CHECK(a.rows == b.rows);
  CHECK(a.cols == b.cols);
}

void CheckSame(const GgufStrings& a, const GgufStrings& b) {
  CHECK(a.data == b.data);
  CHECK(a.count == b.count);
}

void CheckSame(const AttentionWeights& a, const AttentionWeights& b) {
  CheckSame(a.attn_q, b.attn_q);
  CheckSame(a.attn_k, b.attn_k);
  CheckSame(a.attn_v, b.attn_v);
  CheckSame(a.attn_output, b.attn_output);
  CHECK(a.attn_q_norm == b.attn_q_norm);
  CHECK(a.attn_k_norm == b.attn_k_norm);
}

void CheckSame(const DeltaNetWeights& a, const DeltaNetWeights& b) {
  CheckSame(a.attn_qkv, b.attn_qkv);
  CheckSame(a.attn_gate, b.attn_gate);
  CheckSame(a.ssm_beta, b.ssm_beta);
  CheckSame(a.ssm_alpha, b.ssm_alpha);
  CheckSame(a.ssm_out, b.ssm_out);
  CHECK(a.ssm_conv1d == b.ssm_conv1d);
  CHECK(a.ssm_dt == b.ssm_dt);
  CHECK(a.ssm_a == b.ssm_a);
  CHECK(a.ssm_norm == b.ssm_norm);
}

}  // namespace

TEST_CASE("other bytes than those that it was written from are refused") {
  const std::span<const std::byte> bytes = Bytes();
  CHECK(kLinkedModel.Check(bytes).ok());
  CHECK(kLinkedModel.Check(bytes.first(bytes.size() - 1)).status == Status::kBadFile);
  CHECK(kLinkedModel.Check({}).status == Status::kBadFile);
  std::vector<std::byte> changed(bytes.begin(), bytes.end());
  for (const size_t at : {size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
    changed[at] ^= std::byte{0x10};
    CHECK(kLinkedModel.Check(changed).status == Status::kBadFile);
    changed[at] ^= std::byte{0x10};
  }
  CHECK(kLinkedModel.Check(changed).ok());
  changed.push_back(std::byte{0});
  CHECK(kLinkedModel.Check(changed).status == Status::kBadFile);
}

TEST_CASE("in C, too, its tokenizer is not read of a file") {
  thimble_memory count = THIMBLE_MEMORY(nullptr, 0);
  alignas(THIMBLE_ALIGN) std::byte bytes[4096];
  thimble_memory memory = THIMBLE_MEMORY(bytes, sizeof bytes);
  thimble_model* model = nullptr;
  thimble_tokenizer* tokenizer = nullptr;
  REQUIRE(thimble_open_linked(thimble_linked_model(), Bytes().data(), Bytes().size(), &memory, &model).status == 0);
  CHECK(thimble_bind_tokenizer(model, 16, &count, &tokenizer).status == THIMBLE_BAD_ARGUMENT);
  CHECK(thimble_bind_indexed_tokenizer(model, 16, &count, &tokenizer).status == THIMBLE_BAD_ARGUMENT);
  CHECK(thimble_bind_linked_tokenizer(model, 16, &count, &tokenizer).status == THIMBLE_OK);
}

TEST_CASE("the model is what LoadQwen35 finds") {
  const Read read;
  const Config& a = kLinkedModel.model.config;
  const Config& b = read.model.config;
  CHECK(a.block_count == b.block_count);
  CHECK(a.nextn_predict_layers == b.nextn_predict_layers);
  CHECK(a.vocab_size == b.vocab_size);
  CHECK(a.context_length == b.context_length);
  CHECK(a.embedding_length == b.embedding_length);
  CHECK(a.feed_forward_length == b.feed_forward_length);
  CHECK(a.layer_norm_rms_epsilon == b.layer_norm_rms_epsilon);
  CHECK(a.head_count == b.head_count);
  CHECK(a.head_count_kv == b.head_count_kv);
  CHECK(a.key_length == b.key_length);
  CHECK(a.rope.freq_base == b.rope.freq_base);
  CHECK(a.rope.dimension_count == b.rope.dimension_count);
  CHECK(a.rope.dimension_sections == b.rope.dimension_sections);
  CHECK(a.rope.scaling_factor == 1.0f);  // then original_context_length is not read
  CHECK(b.rope.scaling_factor == 1.0f);
  CHECK(a.rope.yarn_beta_fast == b.rope.yarn_beta_fast);
  CHECK(a.rope.yarn_beta_slow == b.rope.yarn_beta_slow);
  CHECK(a.conv_kernel == b.conv_kernel);
  CHECK(a.group_count == b.group_count);
  CHECK(a.time_step_rank == b.time_step_rank);
  CHECK(a.state_size == b.state_size);
  CHECK(a.inner_size == b.inner_size);
  CHECK(a.recurrent == b.recurrent);

  const Weights& linked = kLinkedModel.model.weights;
  const Weights& loaded = read.model.weights;
  CheckSame(linked.token_embd, loaded.token_embd);
  CheckSame(linked.output, loaded.output);
  CHECK(linked.output_norm == loaded.output_norm);
  CHECK(linked.mtp == nullptr);
  CHECK(loaded.mtp == nullptr);
  CHECK(linked.rope_scale == loaded.rope_scale);
  for (uint32_t i = 0; i < b.rope.dimension_count / 2; ++i) {
    CHECK(linked.rope_frequencies[i] == loaded.rope_frequencies[i]);
  }
  for (uint32_t i = 0; i < b.block_count; ++i) {
    CAPTURE(i);
    CHECK(linked.layers[i].attn_norm == loaded.layers[i].attn_norm);
    CHECK(linked.layers[i].post_attention_norm == loaded.layers[i].post_attention_norm);
    CheckSame(linked.layers[i].attention, loaded.layers[i].attention);
    CheckSame(linked.layers[i].deltanet, loaded.layers[i].deltanet);
    CheckSame(linked.layers[i].ffn_gate, loaded.layers[i].ffn_gate);
    CheckSame(linked.layers[i].ffn_up, loaded.layers[i].ffn_up);
    CheckSame(linked.layers[i].ffn_down, loaded.layers[i].ffn_down);
  }
}

TEST_CASE("the tokenizer is what TokenizerView::Read finds") {
  const Read read;
  const Result<TokenizerView> found = TokenizerView::Read(read.file);
  RequireOk(found.error());
  const TokenizerView& a = kLinkedModel.tokenizer;
  CheckSame(a.vocabulary.texts, found->vocabulary.texts);
  CHECK(a.vocabulary.types == found->vocabulary.types);
  CHECK(a.vocabulary.size == found->vocabulary.size);
  CHECK(a.vocabulary.specials == found->vocabulary.specials);
  CHECK(a.vocabulary.max_bytes == found->vocabulary.max_bytes);
  CHECK(a.index == found->index);
  CHECK(a.pre == found->pre);
  CHECK(a.nfc == found->nfc);
  CHECK(a.special_begins == found->special_begins);
  CHECK(a.end_tokens == found->end_tokens);
  CHECK(a.end_count == found->end_count);
}

TEST_CASE("the task is what ReadTask finds, and the answers are its choices' tokens") {
  const Read read;
  const Result<Task> found = ReadTask(read.file);
  RequireOk(found.error());
  const Task& a = kLinkedModel.task;
  CHECK(a.prompt == found->prompt);
  CheckSame(a.choices, found->choices);
  CheckSame(a.labels, found->labels);
  CHECK(a.out_of_scope == found->out_of_scope);
  CHECK(a.threshold == found->threshold);
  CHECK(a.lowercase_ascii == found->lowercase_ascii);
  CHECK(a.strip_closing_marks == found->strip_closing_marks);

  const TokenIndex index(kLinkedModel.tokenizer.vocabulary, kLinkedModel.tokenizer.index);
  REQUIRE(kLinkedModel.answers.size() == a.choices.size());
  size_t i = 0;
  for (const std::string_view choice : a.choices) CHECK(index.Text(kLinkedModel.answers[i++]) == choice);
}

TEST_CASE("the formats are those of the tensors and of the cache that was asked for") {
  const std::vector<const Format*> formats(Formats().begin(), Formats().end());
  CHECK(formats == std::vector<const Format*>{&kFormatF32, &kFormatQ4_0, &kFormatQ8_0});
}

}  // namespace thimble
