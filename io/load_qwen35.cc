// SPDX-License-Identifier: Apache-2.0
//
// Names of GGUF keys and tensors, and what must be true of them. One table (kTensors) says where every tensor goes and
// which shape it has, so that proofs and views cannot disagree.
#include "io/load_qwen35.h"

#include <cstddef>

#include "core/rope.h"

namespace thimble {

namespace {

constexpr const char* kOllama = "this file is laid out for Ollama; give one made by llama.cpp's convert_hf_to_gguf.py";
constexpr const char* kOutOfRange = "the value of this key is outside of what is supported";
constexpr const char* kContradiction = "this value does not fit the others of the model";

// ------------------------------------------------------------------------------------------------------ metadata

/// Reads keys and keeps the first error; what could not be read is the lowest value allowed.
class Keys {
 public:
  explicit Keys(const Gguf& file) : file_(file) {}

  const Error& error() const { return error_; }
  bool Has(std::string_view key) const { return file_.Find(key).has_value(); }

  void Fail(Status status, const char* what, std::string_view key, std::string_view detail = {}, uint64_t at = 0) {
    if (error_.ok()) error_ = {status, what, key, detail, at};
  }
  void Require(bool condition, std::string_view key) {
    if (!condition) Fail(Status::kBadFile, kContradiction, key);
  }

  uint32_t Count(std::string_view key, uint32_t low, uint32_t high) {
    const std::optional<GgufValue> value = Find(key);
    if (!value) return low;
    const std::optional<uint64_t> number = value->AsUnsigned();
    if (!number) return FailType(key), low;
    if (*number < low || *number > high) return Fail(Status::kUnsupported, kOutOfRange, key, {}, *number), low;
    return static_cast<uint32_t>(*number);
  }
  uint32_t Count(std::string_view key, uint32_t low, uint32_t high, uint32_t absent) {
    return Has(key) ? Count(key, low, high) : absent;
  }

  float Number(std::string_view key, double low, double high) {
    const std::optional<GgufValue> value = Find(key);
    if (!value) return static_cast<float>(low);
    const std::optional<double> number = value->AsNumber();
    if (!number) return FailType(key), static_cast<float>(low);
    if (!(*number >= low && *number <= high)) Fail(Status::kUnsupported, kOutOfRange, key);
    return static_cast<float>(*number);
  }
  float Number(std::string_view key, double low, double high, float absent) {
    return Has(key) ? Number(key, low, high) : absent;
  }

  /// An array of `count` numbers, or nothing and an error. `count` 0: any number of elements.
  std::optional<GgufValue> Array(std::string_view key, uint64_t count) {
    const std::optional<GgufValue> value = Find(key);
    if (!value) return std::nullopt;
    const bool numbers = value->type == GgufType::kArray && value->element != GgufType::kString;
    if (!numbers || (count != 0 && value->count != count)) return FailType(key), std::nullopt;
    return value;
  }

 private:
  std::optional<GgufValue> Find(std::string_view key) {
    const std::optional<GgufValue> value = file_.Find(key);
    if (!value) Fail(Status::kNotFound, "a key that a Qwen3.5 model must have is missing", key);
    return value;
  }
  void FailType(std::string_view key) {
    Fail(Status::kBadFile, "the value of this key has the wrong type or length", key);
  }

  const Gguf& file_;
  Error error_;
};

struct Refusal {
  std::string_view name;
  const char* what;
};

constexpr const char* kVisionFile = "this is a vision encoder; give the GGUF of the language model it belongs to";
constexpr const char* kExperts =
    "mixtures of experts are not supported; the dense Qwen3.5 models are: 0.8B, 2B, 4B, 9B, 27B";
constexpr const char* kOtherArchitecture =
    "this architecture is not supported; give a dense Qwen3.5 text model (qwen35)";

constexpr Refusal kTypes[] = {
    {"mmproj", kVisionFile},
    {"adapter", "this is a LoRA adapter, not a model; merge it into its model and convert that"},
};

constexpr Refusal kArchitectures[] = {
    {"clip", kVisionFile},  {"qwen35moe", kExperts},  {"qwen3next", kExperts},
    {"qwen3moe", kExperts}, {"qwen3vlmoe", kExperts},
};

Error CheckArchitecture(const Gguf& file) {
  const std::optional<GgufValue> type = file.Find("general.type");
  const std::string_view kind = type ? type->AsString().value_or("") : "model";
  if (kind != "model") {
    const char* what = "this GGUF holds something else than a model";
    for (const Refusal& refusal : kTypes) what = refusal.name == kind ? refusal.what : what;
    return {Status::kUnsupported, what, "general.type", kind};
  }
  const std::optional<GgufValue> key = file.Find("general.architecture");
  if (!key) return {Status::kNotFound, "this GGUF does not say which architecture it holds", "general.architecture"};
  const std::string_view architecture = key->AsString().value_or("");
  if (architecture == "qwen35") return {};
  const char* what = kOtherArchitecture;
  for (const Refusal& refusal : kArchitectures) what = refusal.name == architecture ? refusal.what : what;
  return {Status::kUnsupported, what, "general.architecture", architecture};
}

/// Ollama writes Qwen3.5 with other keys, other tensor names and norms without the 1 that the converter adds.
Error RefuseOllamaKeys(const Gguf& file) {
  for (const GgufValue& value : file.values()) {
    const std::string_view key = value.key;
    const bool array = value.type == GgufType::kArray;
    if (key.starts_with("qwen35.vision.") || key == "qwen35.ssm.v_head_reordered" || key == "qwen35.image_token_id" ||
        key == "qwen35.rope.mrope_interleaved" || (key == "qwen35.attention.head_count_kv" && array) ||
        (key == "qwen35.rope.dimension_sections" && array && value.count == 3)) {
      return {Status::kUnsupported, kOllama, key};
    }
  }
  return {};
}

void ReadAttention(Keys& keys, Config& config) {
  constexpr std::string_view kHeadsKv = "qwen35.attention.head_count_kv";
  config.head_count = keys.Count("qwen35.attention.head_count", 1, 1024);
  config.head_count_kv = keys.Count(kHeadsKv, 1, 1024);
  keys.Require(config.head_count % config.head_count_kv == 0, kHeadsKv);
  config.key_length = keys.Count("qwen35.attention.key_length", 2, 1024);
  keys.Require(config.key_length % 2 == 0, "qwen35.attention.key_length");
  keys.Require(keys.Count("qwen35.attention.value_length", 2, 1024) == config.key_length,
               "qwen35.attention.value_length");
}

void ReadYarn(Keys& keys, RopeConfig& rope) {
  rope.scaling_factor = keys.Number("qwen35.rope.scaling.factor", 1, 1024);
  rope.original_context_length = keys.Count("qwen35.rope.scaling.original_context_length", 1, 1u << 24);
  rope.yarn_beta_fast = keys.Number("qwen35.rope.scaling.yarn_beta_fast", 1e-3, 1e4, rope.yarn_beta_fast);
  rope.yarn_beta_slow = keys.Number("qwen35.rope.scaling.yarn_beta_slow", 1e-3, 1e4, rope.yarn_beta_slow);
  keys.Require(rope.yarn_beta_fast > rope.yarn_beta_slow, "qwen35.rope.scaling.yarn_beta_fast");

  struct Fixed {
    std::string_view key;
    double value;
  };
  // Variants of YaRN: only the values that leave it as it is.
  constexpr Fixed kFixed[] = {
      {"qwen35.rope.scaling.attn_factor", 1},     {"qwen35.rope.scaling.yarn_attn_factor", 1},
      {"qwen35.rope.scaling.yarn_ext_factor", 1}, {"qwen35.rope.scaling.yarn_log_multiplier", 0},
      {"qwen35.rope.scaling.yarn_truncate", 1},
  };
  for (const Fixed& fixed : kFixed) keys.Number(fixed.key, fixed.value, fixed.value, 0);
}

void ReadRope(const Gguf& file, Keys& keys, Config& config) {
  RopeConfig& rope = config.rope;
  constexpr std::string_view kCount = "qwen35.rope.dimension_count";
  constexpr std::string_view kSections = "qwen35.rope.dimension_sections";
  rope.freq_base = keys.Number("qwen35.rope.freq_base", 1.5, 1e12);
  rope.dimension_count = keys.Count(kCount, 2, 1024);
  keys.Require(rope.dimension_count % 2 == 0 && rope.dimension_count <= config.key_length, kCount);

  const uint32_t half = rope.dimension_count / 2;
  const double pairs = half;
  rope.dimension_sections = {half, 0, 0};
  if (keys.Has(kSections)) {
    double sum = 0;
    if (const std::optional<GgufValue> sections = keys.Array(kSections, 4)) {
      for (size_t i = 0; i < 4; ++i) {
        const double section = *sections->NumberAt(i);
        keys.Require(section >= 0 && section <= (i < 3 ? pairs : 0), kSections);
        if (!keys.error().ok()) return;
        const auto whole = static_cast<uint32_t>(section);
        keys.Require(whole == section, kSections);
        if (i < 3) rope.dimension_sections[i] = whole;
        sum += section;
      }
    }
    keys.Require(sum == pairs, kSections);
  }

  constexpr std::string_view kType = "qwen35.rope.scaling.type";
  const std::optional<GgufValue> type = file.Find(kType);
  const bool scaled = keys.Number("qwen35.rope.scaling.factor", 0, 1024, 1) != 1;
  const std::string_view scaling = type ? type->AsString().value_or("") : scaled ? "linear" : "none";
  if (scaling == "yarn") {
    ReadYarn(keys, rope);
  } else if (scaling != "none") {
    keys.Fail(Status::kUnsupported, "this way to stretch the context is not supported; only yarn is", kType, scaling);
  }
}

void ReadDeltaNet(Keys& keys, Config& config) {
  constexpr std::string_view kValueHeads = "qwen35.ssm.time_step_rank";
  constexpr std::string_view kInner = "qwen35.ssm.inner_size";
  config.conv_kernel = keys.Count("qwen35.ssm.conv_kernel", 2, 8);
  config.state_size = keys.Count("qwen35.ssm.state_size", 1, 1024);
  config.group_count = keys.Count("qwen35.ssm.group_count", 1, 1024);
  config.time_step_rank = keys.Count(kValueHeads, 1, 1024);
  keys.Require(config.time_step_rank % config.group_count == 0, kValueHeads);
  config.inner_size = keys.Count(kInner, 1, 1u << 20);
  keys.Require(config.inner_size % config.time_step_rank == 0 && config.value_size() <= 1024, kInner);
}

/// Which layers are DeltaNet layers: a list where there is one, else all but every full_attention_interval-th.
void ReadLayers(Keys& keys, Config& config) {
  constexpr std::string_view kList = "qwen35.attention.recurrent_layers";
  const uint32_t interval = keys.Count("qwen35.full_attention_interval", 1, 1u << 16, 4);
  std::optional<GgufValue> list;
  if (keys.Has(kList)) {
    list = keys.Array(kList, 0);
    // The list may or may not have an entry for the MTP block, which is an attention block.
    const uint32_t all_blocks = config.block_count + config.nextn_predict_layers;
    keys.Require(list && (list->count == config.block_count || list->count == all_blocks), kList);
    if (!keys.error().ok()) return;
  }
  for (uint32_t i = 0; i < config.block_count; ++i) {
    if (list ? *list->NumberAt(i) != 0 : (i + 1) % interval != 0) config.SetRecurrent(i);
  }
}

// ------------------------------------------------------------------------------------------------------- tensors

/// A number of rows or columns, in words of the Config.
enum class Extent : uint8_t {
  kOne,
  kVocab,
  kEmbedding,
  kTwoEmbeddings,
  kFeedForward,
  kQueryAndGate,
  kQueries,
  kKv,
  kHead,
  kConvChannels,
  kConvKernel,
  kInner,
  kValueHeads,
  kValueHead,
};

size_t Size(Extent extent, const Config& c) {
  using enum Extent;
  switch (extent) {
    case kOne:
      return 1;
    case kVocab:
      return c.vocab_size;
    case kEmbedding:
      return c.embedding_length;
    case kTwoEmbeddings:
      return size_t{2} * c.embedding_length;
    case kFeedForward:
      return c.feed_forward_length;
    case kQueryAndGate:
      return 2 * c.attention_dim();
    case kQueries:
      return c.attention_dim();
    case kKv:
      return c.kv_dim();
    case kHead:
      return c.key_length;
    case kConvChannels:
      return c.conv_channels();
    case kConvKernel:
      return c.conv_kernel;
    case kInner:
      return c.inner_size;
    case kValueHeads:
      return c.time_step_rank;
    case kValueHead:
      return c.value_size();
  }
  return 0;
}

/// Which blocks, or which place outside of them, a tensor belongs to. A set of them is an or of bits.
enum Where : uint8_t {
  kModel = 1,      // once
  kOwnHead = 2,    // once, unless the head is tied to token_embd
  kBlock = 4,      // in every block
  kAttention = 8,  // in attention blocks
  kDeltaNet = 16,  // in DeltaNet blocks
  kMtp = 32,       // in the MTP block
};

/// How a tensor is read: as a Matrix of any type that has a Format, or as it lies, F32.
enum class Kind : uint8_t { kMatrix, kFloats };

struct TensorEntry {
  Where where;
  Extent rows, cols;
  Kind kind;
  uint16_t offset;        // of its view, in the Weights, the LayerWeights or the MtpWeights that it belongs to
  std::string_view name;  // N stands for the number of the block
};

using enum Extent;
using enum Kind;

constexpr TensorEntry kTensors[] = {
    {kModel, kVocab, kEmbedding, kMatrix, offsetof(Weights, token_embd), "token_embd.weight"},
    {kModel, kOne, kEmbedding, kFloats, offsetof(Weights, output_norm), "output_norm.weight"},
    {kOwnHead, kVocab, kEmbedding, kMatrix, offsetof(Weights, output), "output.weight"},

    {kBlock, kOne, kEmbedding, kFloats, offsetof(LayerWeights, attn_norm), "blk.N.attn_norm.weight"},
    {kBlock, kOne, kEmbedding, kFloats, offsetof(LayerWeights, post_attention_norm),
     "blk.N.post_attention_norm.weight"},
    {kBlock, kFeedForward, kEmbedding, kMatrix, offsetof(LayerWeights, ffn_gate), "blk.N.ffn_gate.weight"},
    {kBlock, kFeedForward, kEmbedding, kMatrix, offsetof(LayerWeights, ffn_up), "blk.N.ffn_up.weight"},
    {kBlock, kEmbedding, kFeedForward, kMatrix, offsetof(LayerWeights, ffn_down), "blk.N.ffn_down.weight"},

    {kAttention, kQueryAndGate, kEmbedding, kMatrix, offsetof(LayerWeights, attention.attn_q), "blk.N.attn_q.weight"},
    {kAttention, kKv, kEmbedding, kMatrix, offsetof(LayerWeights, attention.attn_k), "blk.N.attn_k.weight"},
    {kAttention, kKv, kEmbedding, kMatrix, offsetof(LayerWeights, attention.attn_v), "blk.N.attn_v.weight"},
    {kAttention, kEmbedding, kQueries, kMatrix, offsetof(LayerWeights, attention.attn_output),
     "blk.N.attn_output.weight"},
    {kAttention, kOne, kHead, kFloats, offsetof(LayerWeights, attention.attn_q_norm), "blk.N.attn_q_norm.weight"},
    {kAttention, kOne, kHead, kFloats, offsetof(LayerWeights, attention.attn_k_norm), "blk.N.attn_k_norm.weight"},

    {kDeltaNet, kConvChannels, kEmbedding, kMatrix, offsetof(LayerWeights, deltanet.attn_qkv), "blk.N.attn_qkv.weight"},
    {kDeltaNet, kInner, kEmbedding, kMatrix, offsetof(LayerWeights, deltanet.attn_gate), "blk.N.attn_gate.weight"},
    {kDeltaNet, kValueHeads, kEmbedding, kMatrix, offsetof(LayerWeights, deltanet.ssm_beta), "blk.N.ssm_beta.weight"},
    {kDeltaNet, kValueHeads, kEmbedding, kMatrix, offsetof(LayerWeights, deltanet.ssm_alpha), "blk.N.ssm_alpha.weight"},
    {kDeltaNet, kEmbedding, kInner, kMatrix, offsetof(LayerWeights, deltanet.ssm_out), "blk.N.ssm_out.weight"},
    {kDeltaNet, kConvChannels, kConvKernel, kFloats, offsetof(LayerWeights, deltanet.ssm_conv1d),
     "blk.N.ssm_conv1d.weight"},
    {kDeltaNet, kOne, kValueHeads, kFloats, offsetof(LayerWeights, deltanet.ssm_dt), "blk.N.ssm_dt.bias"},
    {kDeltaNet, kOne, kValueHeads, kFloats, offsetof(LayerWeights, deltanet.ssm_a), "blk.N.ssm_a"},
    {kDeltaNet, kOne, kValueHead, kFloats, offsetof(LayerWeights, deltanet.ssm_norm), "blk.N.ssm_norm.weight"},

    {kMtp, kEmbedding, kTwoEmbeddings, kMatrix, offsetof(MtpWeights, eh_proj), "blk.N.nextn.eh_proj.weight"},
    {kMtp, kOne, kEmbedding, kFloats, offsetof(MtpWeights, enorm), "blk.N.nextn.enorm.weight"},
    {kMtp, kOne, kEmbedding, kFloats, offsetof(MtpWeights, hnorm), "blk.N.nextn.hnorm.weight"},
    {kMtp, kOne, kEmbedding, kFloats, offsetof(MtpWeights, shared_head_norm), "blk.N.nextn.shared_head_norm.weight"},
};

/// What the views of tensors are written to.
struct Views {
  Weights* weights;
  LayerWeights* layer;
  MtpWeights* mtp;

  /// The view of a tensor.
  template <class T>
  T& Of(const TensorEntry& entry) const {
    void* whole = (entry.where & (kModel | kOwnHead)) != 0 ? static_cast<void*>(weights)
                  : entry.where == kMtp                    ? static_cast<void*>(mtp)
                                                           : static_cast<void*>(layer);
    return *reinterpret_cast<T*>(static_cast<std::byte*>(whole) + entry.offset);
  }
};

constexpr std::string_view kBlockPattern = "blk.N.";

std::string_view Behind(std::string_view text, size_t prefix) { return {text.data() + prefix, text.size() - prefix}; }

/// Which tensors block `block` has.
unsigned KindsOf(const Config& config, uint32_t block) {
  if (block == config.block_count) return kBlock | kAttention | kMtp;
  return config.IsRecurrent(block) ? kBlock | kDeltaNet : kBlock | kAttention;
}

/// A tensor's name, split at its block's number.
struct SplitName {
  bool in_block = false;
  uint32_t block = 0;
  std::string_view rest;  // behind "blk.12.", or the whole name
};

SplitName SplitBlock(std::string_view name) {
  constexpr std::string_view kBlk = "blk.";
  size_t end = kBlk.size();
  uint32_t block = 0;
  while (name.starts_with(kBlk) && end < name.size() && end < kBlk.size() + 4 && name[end] >= '0' && name[end] <= '9') {
    block = block * 10 + static_cast<uint32_t>(name[end++] - '0');
  }
  const bool leading_zero = end > kBlk.size() + 1 && name[kBlk.size()] == '0';
  if (end == kBlk.size() || leading_zero || end == name.size() || name[end] != '.') return {false, 0, name};
  return {true, block, Behind(name, end + 1)};
}

/// The block's tensor `name` (kTensors') in the file.
std::optional<GgufTensor> FindEntry(const Gguf& file, std::string_view name, uint32_t block) {
  if (!name.starts_with(kBlockPattern)) return file.FindTensor(name);
  const std::string_view rest = Behind(name, kBlockPattern.size());
  const Gguf::TensorRange tensors = file.tensors();
  for (Gguf::TensorIterator tensor = tensors.begin(); tensor != tensors.end(); ++tensor) {
    if (!tensor.name().ends_with(rest)) continue;
    const SplitName split = SplitBlock(tensor.name());
    if (split.in_block && split.block == block && split.rest == rest) return *tensor;
  }
  return std::nullopt;
}

bool IsKnown(std::string_view name, const Config& config) {
  const SplitName split = SplitBlock(name);
  if (split.in_block && split.block >= config.block_count + config.nextn_predict_layers) return false;
  const unsigned kinds = split.in_block ? KindsOf(config, split.block) : kModel | kOwnHead;
  for (const TensorEntry& entry : kTensors) {
    const size_t prefix = split.in_block ? kBlockPattern.size() : 0;
    if ((entry.where & kinds) != 0 && Behind(entry.name, prefix) == split.rest) return true;
  }
  return false;
}

/// A tensor that is not understood would change the numbers if it were left out, so it may not be there.
Error CheckNoStrangers(const Gguf& file, const Config& config) {
  const Gguf::TensorRange tensors = file.tensors();
  for (Gguf::TensorIterator tensor = tensors.begin(); tensor != tensors.end(); ++tensor) {
    const std::string_view name = tensor.name();
    if (IsKnown(name, config)) continue;
    const bool ollama =
        name.starts_with("v.") || name.starts_with("mm.") || name.starts_with("mtp.") || name.ends_with(".ssm_dt");
    return {Status::kUnsupported,
            ollama ? kOllama : "this tensor is no part of a Qwen3.5 text model as it is known here", name};
  }
  return {};
}

/// Proves the tensors of `kinds` and writes their views.
Error Place(const Gguf& file, const Config& config, unsigned kinds, uint32_t block, Views views) {
  for (const TensorEntry& entry : kTensors) {
    if ((entry.where & kinds) == 0) continue;
    const std::optional<GgufTensor> tensor = FindEntry(file, entry.name, block);
    if (!tensor) return {Status::kNotFound, "a tensor of the model is missing", entry.name, {}, block};
    const size_t rows = Size(entry.rows, config);
    const size_t cols = Size(entry.cols, config);
    if (tensor->ne != std::array<uint64_t, 4>{cols, rows, 1, 1}) {
      return {Status::kBadFile, "this tensor has another shape than the metadata says", tensor->name};
    }
    const Format* format = FindFormat(tensor->type);
    if (entry.kind == kFloats) {
      if (format == nullptr || format->type != Type::kF32) {
        return {Status::kUnsupported, "this tensor must be stored as F32", tensor->name, TypeName(tensor->type)};
      }
      views.Of<const float*>(entry) = reinterpret_cast<const float*>(tensor->data);
      continue;
    }
    if (format == nullptr) {
      return {Status::kUnsupported, "tensor type not supported; quantise the model with another type, e.g. Q4_K_M",
              tensor->name, TypeName(tensor->type)};
    }
    views.Of<Matrix>(entry) = {format, tensor->data, rows, cols};
  }
  return {};
}

}  // namespace

Result<Config> ReadConfig(const Gguf& file) {
  if (Error error = CheckArchitecture(file); !error.ok()) return error;
  if (Error error = RefuseOllamaKeys(file); !error.ok()) return error;
  Keys keys(file);
  Config config;
  config.nextn_predict_layers = keys.Count("qwen35.nextn_predict_layers", 0, 1, 0);
  const uint32_t lowest = 1 + config.nextn_predict_layers;
  const uint32_t highest = Config::kMaxLayers + config.nextn_predict_layers;
  config.block_count = keys.Count("qwen35.block_count", lowest, highest) - config.nextn_predict_layers;
  config.context_length = keys.Count("qwen35.context_length", 1, 1u << 24);
  config.embedding_length = keys.Count("qwen35.embedding_length", 2, 1u << 16);
  config.feed_forward_length = keys.Count("qwen35.feed_forward_length", 1, 1u << 18);
  config.layer_norm_rms_epsilon = keys.Number("qwen35.attention.layer_norm_rms_epsilon", 1e-12, 0.1);
  ReadAttention(keys, config);
  ReadRope(file, keys, config);
  ReadDeltaNet(keys, config);
  ReadLayers(keys, config);
  if (!keys.error().ok()) return keys.error();

  const std::optional<GgufTensor> embedding = file.FindTensor("token_embd.weight");
  if (!embedding) return Error{Status::kNotFound, "a tensor of the model is missing", "token_embd.weight"};
  if (embedding->ne[1] > (1u << 24)) {
    return Error{
        Status::kUnsupported, "the vocabulary has more than 16777216 tokens", embedding->name, {}, embedding->ne[1]};
  }
  config.vocab_size = static_cast<uint32_t>(embedding->ne[1]);
  // More rows than tokens are padding; more tokens than rows would be ids that the model cannot take.
  const std::optional<GgufValue> tokens = file.Find("tokenizer.ggml.tokens");
  if (tokens && tokens->count > config.vocab_size) {
    return Error{Status::kBadFile, "the tokenizer has more tokens than token_embd has rows", tokens->key};
  }
  return config;
}

Result<Model> LoadQwen35(const Gguf& file, Arena& arena, const RopeConfig* rope) {
  const Result<Config> config = ReadConfig(file);
  if (!config) return config.error();
  Model model = {*config, {}};
  if (rope != nullptr) model.config.rope = *rope;
  const uint32_t block_count = config->block_count;
  const bool has_mtp = config->nextn_predict_layers != 0;
  if (has_mtp && !file.FindTensor("blk.0.attn_norm.weight")) {
    return Error{Status::kUnsupported,
                 "this file holds only the block that predicts several tokens; give the whole model",
                 "qwen35.nextn_predict_layers"};
  }
  if (Error error = CheckNoStrangers(file, *config); !error.ok()) return error;

  Weights& weights = model.weights;
  const bool own_head = file.FindTensor("output.weight").has_value();
  const unsigned kinds = own_head ? kModel | kOwnHead : kModel;
  if (Error error = Place(file, *config, kinds, 0, {&weights, nullptr, nullptr}); !error.ok()) return error;
  if (!own_head) weights.output = weights.token_embd;

  auto* layers = arena.Take<LayerWeights>(block_count);
  for (uint32_t i = 0; i < block_count; ++i) {
    LayerWeights layer;
    if (Error error = Place(file, *config, KindsOf(*config, i), i, {&weights, &layer, nullptr}); !error.ok())
      return error;
    if (layers != nullptr) layers[i] = layer;
  }
  weights.layers = layers;
  if (has_mtp) {
    MtpWeights block;
    const Views views = {&weights, &block.block, &block};
    if (Error error = Place(file, *config, KindsOf(*config, block_count), block_count, views); !error.ok())
      return error;
    auto* mtp = arena.Take<MtpWeights>(1);
    if (mtp != nullptr) *mtp = block;
    weights.mtp = mtp;
  }
  auto* frequencies = arena.Take<uint64_t>(model.config.rope.dimension_count / 2);
  if (frequencies != nullptr) weights.rope_scale = RopeFrequencies(model.config.rope, frequencies);
  weights.rope_frequencies = frequencies;
  if (Error error = arena.error(); !error.ok()) return error;
  return model;
}

}  // namespace thimble
