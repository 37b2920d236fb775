// SPDX-License-Identifier: Apache-2.0
//
// A tiny Qwen3.5 GGUF with random weights and a small byte-level tokenizer, made in memory: complete, so that any part
// of the project can be tested on it. The numbers are drawn so that every weight matters and nothing overflows.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "quant/format.h"
#include "tests/gguf_writer.h"

namespace thimble::test {

struct TinyOptions {
  uint32_t layers = 4;  // of the main model
  uint32_t embedding = 64;
  uint32_t feed_forward = 96;
  uint32_t context = 4096;
  uint32_t heads = 4;
  uint32_t heads_kv = 2;
  uint32_t key_length = 32;
  uint32_t rope_dimensions = 8;
  std::vector<int32_t> rope_sections = {2, 1, 1, 0};  // empty: no such key
  uint32_t key_heads = 2;                             // Hk
  uint32_t value_heads = 2;                           // Hv, a multiple of Hk
  uint32_t state_size = 16;                           // dk
  uint32_t value_size = 16;                           // dv
  uint32_t conv_kernel = 4;
  uint32_t interval = 4;             // every how many layers full attention
  std::vector<bool> recurrent = {};  // which layers are DeltaNet layers, instead of the interval; empty: the interval
  bool own_head = false;
  bool mtp = false;
  Type type = Type::kF32;  // of all matrices; one whose Format can encode
  uint32_t seed = 1;
};

/// Numbers from -1 to 1, the same on every machine.
class TinyRandom {
 public:
  explicit TinyRandom(uint32_t seed) : state_(seed * 2654435761u + 1) {}
  float Next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<float>(static_cast<int32_t>(state_ >> 32)) * (1.0f / 2147483648.0f);
  }
  float Between(float low, float high) { return low + (high - low) * (Next() + 1) * 0.5f; }

 private:
  uint64_t state_;
};

/// The tokens of the tiny vocabulary: 256 bytes in the order of GPT-2's alphabet, one token per merge, control tokens,
/// and unused ones up to a multiple of 32.
struct TinyVocabulary {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<std::string> merges;
  uint32_t endoftext = 0;
  uint32_t im_start = 0;
  uint32_t im_end = 0;
};

inline TinyVocabulary MakeTinyVocabulary() {
  TinyVocabulary v;
  const auto add = [&](std::string text, int32_t type) {
    v.tokens.push_back(std::move(text));
    v.types.push_back(type);
    return static_cast<uint32_t>(v.tokens.size() - 1);
  };
  const auto utf8 = [](uint32_t c) {
    if (c < 0x80) return std::string{static_cast<char>(c)};
    return std::string{static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 0x3f))};
  };
  const auto printable = [](uint32_t b) { return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae; };
  for (uint32_t b = 0; b < 256; ++b) {
    if (printable(b)) add(utf8(b), 1);
  }
  for (uint32_t b = 0, next = 256; b < 256; ++b) {
    if (!printable(b)) add(utf8(next++), 1);
  }
  const std::string space = "\xc4\xa0";  // U+0120 stands for a space
  for (const auto& [left, right] : std::vector<std::pair<std::string, std::string>>{{"h", "e"},
                                                                                    {space, "t"},
                                                                                    {"i", "n"},
                                                                                    {space + "t", "he"},
                                                                                    {"l", "l"},
                                                                                    {"he", "ll"},
                                                                                    {"hell", "o"},
                                                                                    {space, "a"}}) {
    v.merges.push_back(left + " " + right);
    add(left + right, 1);
  }
  v.endoftext = add("<|endoftext|>", 3);
  v.im_start = add("<|im_start|>", 3);
  v.im_end = add("<|im_end|>", 3);
  add("<think>", 4);
  add("</think>", 4);
  while (v.tokens.size() % 32 != 0) add("[PAD" + std::to_string(v.tokens.size()) + "]", 5);
  return v;
}

/// Adds tensors of one model to a writer.
class TinyTensors {
 public:
  TinyTensors(const TinyOptions& options, GgufWriter& out) : o_(options), random_(options.seed), out_(out) {}

  /// A matrix [rows][cols] that keeps the size of what it multiplies.
  void Matrix(const std::string& name, uint32_t rows, uint32_t cols) {
    const float scale = std::sqrt(3.0f / static_cast<float>(cols));
    std::vector<float> x(size_t{rows} * cols);
    for (float& v : x) v = random_.Next() * scale;
    const Format& format = FormatOf(o_.type);
    if (o_.type == Type::kF32) return out_.AddF32(name, {cols, rows}, x);
    Bytes blocks(x.size() / format.block_size * format.block_bytes);
    format.encode(x.data(), x.size() / format.block_size, blocks.data());
    out_.AddTensor(name, {cols, rows}, static_cast<uint32_t>(o_.type), std::move(blocks));
  }

  void Floats(const std::string& name, std::vector<uint64_t> ne, float low, float high) {
    uint64_t count = 1;
    for (const uint64_t n : ne) count *= n;
    std::vector<float> x(count);
    for (float& v : x) v = random_.Between(low, high);
    out_.AddF32(name, std::move(ne), x);
  }
  void Norm(const std::string& name, uint32_t n) { Floats(name, {n}, 0.8f, 1.2f); }

  void Block(uint32_t i, bool recurrent) {
    const std::string p = "blk." + std::to_string(i) + ".";
    Norm(p + "attn_norm.weight", o_.embedding);
    Norm(p + "post_attention_norm.weight", o_.embedding);
    Matrix(p + "ffn_gate.weight", o_.feed_forward, o_.embedding);
    Matrix(p + "ffn_up.weight", o_.feed_forward, o_.embedding);
    Matrix(p + "ffn_down.weight", o_.embedding, o_.feed_forward);
    recurrent ? DeltaNet(p) : Attention(p);
  }

  void Mtp(uint32_t i) {
    Block(i, false);
    const std::string p = "blk." + std::to_string(i) + ".nextn.";
    Matrix(p + "eh_proj.weight", o_.embedding, 2 * o_.embedding);
    for (const char* name : {"enorm", "hnorm", "shared_head_norm"}) Norm(p + name + ".weight", o_.embedding);
  }

 private:
  void Attention(const std::string& p) {
    Matrix(p + "attn_q.weight", o_.heads * 2 * o_.key_length, o_.embedding);
    Matrix(p + "attn_k.weight", o_.heads_kv * o_.key_length, o_.embedding);
    Matrix(p + "attn_v.weight", o_.heads_kv * o_.key_length, o_.embedding);
    Matrix(p + "attn_output.weight", o_.embedding, o_.heads * o_.key_length);
    Norm(p + "attn_q_norm.weight", o_.key_length);
    Norm(p + "attn_k_norm.weight", o_.key_length);
  }

  void DeltaNet(const std::string& p) {
    const uint32_t inner = o_.value_heads * o_.value_size;
    const uint32_t channels = 2 * o_.key_heads * o_.state_size + inner;
    Matrix(p + "attn_qkv.weight", channels, o_.embedding);
    Matrix(p + "attn_gate.weight", inner, o_.embedding);
    Matrix(p + "ssm_beta.weight", o_.value_heads, o_.embedding);
    Matrix(p + "ssm_alpha.weight", o_.value_heads, o_.embedding);
    Matrix(p + "ssm_out.weight", o_.embedding, inner);
    Floats(p + "ssm_conv1d.weight", {o_.conv_kernel, channels}, -1, 1);
    Floats(p + "ssm_dt.bias", {o_.value_heads}, -6, 1);
    Floats(p + "ssm_a", {o_.value_heads}, -16, -0.5f);
    Norm(p + "ssm_norm.weight", o_.value_size);
  }

  const TinyOptions& o_;
  TinyRandom random_;
  GgufWriter& out_;
};

/// The model as a writer, for tests that change something before they Write it.
inline GgufWriter TinyQwen35(const TinyOptions& o = {}) {
  GgufWriter out;
  const TinyVocabulary vocabulary = MakeTinyVocabulary();
  const auto vocab_size = static_cast<uint32_t>(vocabulary.tokens.size());
  out.Set("general.architecture", "qwen35");
  out.Set("general.type", "model");
  out.Set("general.name", "tiny");
  out.Set("qwen35.block_count", o.layers + (o.mtp ? 1 : 0));
  if (o.mtp) out.Set("qwen35.nextn_predict_layers", uint32_t{1});
  out.Set("qwen35.context_length", o.context);
  out.Set("qwen35.embedding_length", o.embedding);
  out.Set("qwen35.feed_forward_length", o.feed_forward);
  out.Set("qwen35.attention.head_count", o.heads);
  out.Set("qwen35.attention.head_count_kv", o.heads_kv);
  out.Set("qwen35.attention.key_length", o.key_length);
  out.Set("qwen35.attention.value_length", o.key_length);
  out.Set("qwen35.attention.layer_norm_rms_epsilon", 1e-6f);
  out.Set("qwen35.rope.freq_base", 1e7f);
  out.Set("qwen35.rope.dimension_count", o.rope_dimensions);
  if (!o.rope_sections.empty()) out.SetArray("qwen35.rope.dimension_sections", o.rope_sections);
  out.Set("qwen35.ssm.conv_kernel", o.conv_kernel);
  out.Set("qwen35.ssm.state_size", o.state_size);
  out.Set("qwen35.ssm.group_count", o.key_heads);
  out.Set("qwen35.ssm.time_step_rank", o.value_heads);
  out.Set("qwen35.ssm.inner_size", o.value_heads * o.value_size);
  out.Set("qwen35.full_attention_interval", o.interval);
  if (!o.recurrent.empty()) out.SetArray("qwen35.attention.recurrent_layers", o.recurrent);
  out.Set("tokenizer.ggml.model", "gpt2");
  out.Set("tokenizer.ggml.pre", "qwen35");
  out.SetArray("tokenizer.ggml.tokens", vocabulary.tokens);
  out.SetArray("tokenizer.ggml.token_type", vocabulary.types);
  out.SetArray("tokenizer.ggml.merges", vocabulary.merges);
  out.Set("tokenizer.ggml.eos_token_id", vocabulary.im_end);
  out.Set("tokenizer.ggml.padding_token_id", vocabulary.endoftext);

  TinyTensors tensors(o, out);
  tensors.Matrix("token_embd.weight", vocab_size, o.embedding);
  if (o.own_head) tensors.Matrix("output.weight", vocab_size, o.embedding);
  tensors.Norm("output_norm.weight", o.embedding);
  for (uint32_t i = 0; i < o.layers; ++i) {
    tensors.Block(i, o.recurrent.empty() ? (i + 1) % o.interval != 0 : static_cast<bool>(o.recurrent[i]));
  }
  if (o.mtp) tensors.Mtp(o.layers);
  return out;
}

/// The model as the bytes of a GGUF file.
inline Bytes MakeTinyQwen35(const TinyOptions& options = {}) { return TinyQwen35(options).Write(); }

}  // namespace thimble::test
