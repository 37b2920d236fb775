// SPDX-License-Identifier: Apache-2.0
//
// Writes struct after struct as its designated initialiser: pointers as offsets from board_model, formats by name,
// floats in hexadecimal, so that the constants are what was read to the last bit.
#include "linked_source.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <set>
#include <string_view>

#include "io/crc32.h"

namespace thimble::program {
namespace {

std::string Hex(uint64_t number) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(number));
  return text;
}

// A literal. With the length beside it, for a zero would end it.
std::string Quoted(std::string_view text) {
  std::string quoted;
  for (const char c : text) {
    char octal[8];
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte >= ' ' && byte < 0x7f && c != '"' && c != '\\' && c != '?';
    std::snprintf(octal, sizeof octal, plain ? "%c" : "\\%03o", byte);
    quoted += octal;
  }
  return "{\"" + quoted + "\", " + std::to_string(text.size()) + "}";
}

class SourceWriter {
 public:
  SourceWriter(const ProvenFile& proven, Type k, Type v) : proven_(proven), types_{Type::kF32, k, v} {}

  std::string Write() {
    Layers();
    Frequencies();
    Answers();
    Whole();
    return Front() + text_ + Back();
  }

 private:
  // `    .name = value,`
  void Field(std::string_view name, const std::string& value) {
    text_.append(2 * depth_ + 2, ' ').append(".").append(name).append(" = ").append(value).append(",\n");
  }
  void Field(std::string_view name, uint64_t number) { Field(name, std::to_string(number)); }
  void Field(std::string_view name, float number) {
    char text[40];
    std::snprintf(text, sizeof text, "%af", static_cast<double>(number));
    Field(name, std::string(text));
  }
  void Field(std::string_view name, const float* values) { Field(name, Pointer("FLOATS", values)); }
  void Field(std::string_view name, bool value) { Field(name, std::string(value ? "true" : "false")); }
  void Field(std::string_view name, std::string_view text) { Field(name, Quoted(text)); }
  void Field(std::string_view name, const GgufStrings& strings) {
    Field(name, "{" + Pointer("BYTES", strings.data) + ", " + std::to_string(strings.size()) + "}");
  }
  void Field(std::string_view name, const Matrix& m) {
    types_.insert(m.format->type);
    Field(name, std::string("{&kFormat") + m.format->name + ", " + Pointer("BYTES", m.data) + ", " +
                    std::to_string(m.rows) + ", " + std::to_string(m.cols) + "}");
  }
  template <class T, size_t n>
  void Field(std::string_view name, const std::array<T, n>& numbers) {
    std::string list;
    for (const T number : numbers) {
      const bool wide = sizeof(T) == sizeof(uint64_t);
      list += (list.empty() ? "" : ", ") + (wide ? Hex(static_cast<uint64_t>(number)) : std::to_string(number));
    }
    Field(name, "{" + list + "}");
  }
  void Begin(std::string_view name) {
    text_.append(2 * depth_ + 2, ' ').append(name).append("{\n");
    ++depth_;
  }
  void End(std::string_view end = "},\n") {
    --depth_;
    text_.append(2 * depth_ + 2, ' ').append(end);
  }

  std::string Pointer(const char* macro, const void* at) const {
    if (at == nullptr) return "nullptr";
    const auto offset = static_cast<const std::byte*>(at) - proven_.file.data();
    return std::string(macro) + "(" + std::to_string(offset) + ")";
  }

  void Layer(const LayerWeights& layer, bool recurrent) {
    Field("attn_norm", layer.attn_norm);
    Field("post_attention_norm", layer.post_attention_norm);
    if (recurrent) {
      Field("attention", std::string("{}"));
      const DeltaNetWeights& w = layer.deltanet;
      Begin(".deltanet = ");
      Field("attn_qkv", w.attn_qkv);
      Field("attn_gate", w.attn_gate);
      Field("ssm_beta", w.ssm_beta);
      Field("ssm_alpha", w.ssm_alpha);
      Field("ssm_out", w.ssm_out);
      Field("ssm_conv1d", w.ssm_conv1d);
      Field("ssm_dt", w.ssm_dt);
      Field("ssm_a", w.ssm_a);
      Field("ssm_norm", w.ssm_norm);
    } else {
      const AttentionWeights& w = layer.attention;
      Begin(".attention = ");
      Field("attn_q", w.attn_q);
      Field("attn_k", w.attn_k);
      Field("attn_v", w.attn_v);
      Field("attn_output", w.attn_output);
      Field("attn_q_norm", w.attn_q_norm);
      Field("attn_k_norm", w.attn_k_norm);
    }
    End();
    if (!recurrent) Field("deltanet", std::string("{}"));
    Field("ffn_gate", layer.ffn_gate);
    Field("ffn_up", layer.ffn_up);
    Field("ffn_down", layer.ffn_down);
  }

  void Layers() {
    const Config& config = proven_.model.config;
    text_ += "const LayerWeights kLayers[] = {\n";
    for (uint32_t i = 0; i < config.block_count; ++i) {
      Begin("");
      Layer(proven_.model.weights.layers[i], config.IsRecurrent(i));
      End();
    }
    text_ += "};\n\n";
    const MtpWeights* mtp = proven_.model.weights.mtp;
    if (mtp == nullptr) return;
    text_ += "const MtpWeights kMtp = {\n";
    Begin(".block = ");
    Layer(mtp->block, false);
    End();
    Field("eh_proj", mtp->eh_proj);
    Field("enorm", mtp->enorm);
    Field("hnorm", mtp->hnorm);
    Field("shared_head_norm", mtp->shared_head_norm);
    text_ += "};\n\n";
  }

  void Answers() {
    text_ += "const Token kAnswers[] = {";
    for (size_t i = 0; i < proven_.answers.size(); ++i) {
      text_ += (i % 16 == 0 ? "\n  " : " ") + std::to_string(proven_.answers[i]) + ",";
    }
    text_ += "\n};\n\n";
  }

  void Frequencies() {
    const uint64_t* frequencies = proven_.model.weights.rope_frequencies;
    text_ += "const uint64_t kRopeFrequencies[] = {\n";
    for (size_t i = 0; i < proven_.model.config.rope.dimension_count / 2; ++i) {
      text_ += "  " + Hex(frequencies[i]) + ",\n";
    }
    text_ += "};\n\n";
  }

  void Configuration(const Config& c) {
    Begin(".config = ");
    Field("block_count", uint64_t{c.block_count});
    Field("nextn_predict_layers", uint64_t{c.nextn_predict_layers});
    Field("vocab_size", uint64_t{c.vocab_size});
    Field("context_length", uint64_t{c.context_length});
    Field("embedding_length", uint64_t{c.embedding_length});
    Field("feed_forward_length", uint64_t{c.feed_forward_length});
    Field("layer_norm_rms_epsilon", c.layer_norm_rms_epsilon);
    Field("head_count", uint64_t{c.head_count});
    Field("head_count_kv", uint64_t{c.head_count_kv});
    Field("key_length", uint64_t{c.key_length});
    Begin(".rope = ");
    Field("freq_base", c.rope.freq_base);
    Field("dimension_count", uint64_t{c.rope.dimension_count});
    Field("dimension_sections", c.rope.dimension_sections);
    Field("scaling_factor", c.rope.scaling_factor);
    Field("original_context_length", uint64_t{c.rope.original_context_length});
    Field("yarn_beta_fast", c.rope.yarn_beta_fast);
    Field("yarn_beta_slow", c.rope.yarn_beta_slow);
    End();
    Field("conv_kernel", uint64_t{c.conv_kernel});
    Field("group_count", uint64_t{c.group_count});
    Field("time_step_rank", uint64_t{c.time_step_rank});
    Field("state_size", uint64_t{c.state_size});
    Field("inner_size", uint64_t{c.inner_size});
    Field("recurrent", c.recurrent);
    End();
  }

  void Text(const TokenizerView& t, const Task& task) {
    Begin(".tokenizer = ");
    Begin(".vocabulary = ");
    Field("texts", t.vocabulary.texts);
    Field("types", Pointer("BYTES", t.vocabulary.types));
    Field("size", uint64_t{t.vocabulary.size});
    Field("specials", uint64_t{t.vocabulary.specials});
    Field("max_bytes", uint64_t{t.vocabulary.max_bytes});
    End();
    Field("index", Pointer("WORDS", t.index));
    Field("pre", std::string(t.pre == PreTokenizer::kQwen35 ? "PreTokenizer::kQwen35" : "PreTokenizer::kQwen2"));
    Field("nfc", t.nfc);
    Field("special_begins", t.special_begins);
    Field("end_tokens", t.end_tokens);
    Field("end_count", uint64_t{t.end_count});
    End();
    Begin(".task = ");
    Field("prompt", task.prompt);
    Field("choices", task.choices);
    Field("labels", task.labels);
    Field("out_of_scope", task.out_of_scope);
    Field("threshold", task.threshold);
    Field("lowercase_ascii", task.lowercase_ascii);
    Field("strip_closing_marks", task.strip_closing_marks);
    End();
  }

  void Whole() {
    const Weights& weights = proven_.model.weights;
    Crc32 crc;
    crc.Add(proven_.file);
    text_ += "}  // namespace\n\nconst LinkedModel kLinkedModel = {\n";
    Field("bytes", uint64_t{proven_.file.size()});
    Field("crc32", Hex(crc.value()));
    Begin(".model = ");
    Configuration(proven_.model.config);
    Begin(".weights = ");
    Field("token_embd", weights.token_embd);
    Field("output", weights.output);
    Field("output_norm", weights.output_norm);
    Field("layers", std::string("kLayers"));
    Field("mtp", std::string(weights.mtp != nullptr ? "&kMtp" : "nullptr"));
    Field("rope_frequencies", std::string("kRopeFrequencies"));
    Field("rope_scale", weights.rope_scale);
    End();
    End();
    Text(proven_.tokenizer, proven_.task);
    Field("answers", std::string("kAnswers"));
    text_ += "};\n\n";
  }

  // Written last: by then it is known which formats there are.
  std::string Front() const {
    std::string front =
        "// Written by `thimble plan MODEL --source`: what is in MODEL's file, for a firmware that has it at "
        "board_model.\n"
        "// clang-format off\n"
        "#include \"io/linked_model.h\"\n";
    for (const Type type : types_) {
      std::string file = TypeName(static_cast<uint32_t>(type));
      for (char& c : file) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      front += "#include \"quant/" + file + ".h\"\n";
    }
    return front +
           "\n"
           "extern \"C\" const unsigned char board_model[];\n"
           "\n"
           "#define BYTES(offset) reinterpret_cast<const std::byte*>(board_model + offset)\n"
           "#define FLOATS(offset) reinterpret_cast<const float*>(board_model + offset)\n"
           "#define WORDS(offset) reinterpret_cast<const uint32_t*>(board_model + offset)\n"
           "\n"
           "namespace thimble {\n"
           "namespace {\n"
           "\n";
  }

  std::string Back() const {
    std::string list;
    for (const Type type : types_) {
      list += std::string(list.empty() ? "" : ", ") + "&kFormat" + TypeName(static_cast<uint32_t>(type));
    }
    return "std::span<const Format* const> Formats() {\n"
           "  static constexpr const Format* kFormats[] = {" +
           list +
           "};\n"
           "  return kFormats;\n"
           "}\n"
           "\n"
           "}  // namespace thimble\n";
  }

  const ProvenFile& proven_;
  std::set<Type> types_;
  std::string text_;
  size_t depth_ = 0;
};

}  // namespace

std::string LinkedSource(const ProvenFile& proven, Type k, Type v) { return SourceWriter(proven, k, v).Write(); }

}  // namespace thimble::program
