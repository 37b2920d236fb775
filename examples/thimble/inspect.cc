// SPDX-License-Identifier: Apache-2.0
//
// thimble inspect: what a model file holds, and the memory that a session with it will take.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "arm/cpu.h"
#include "commands.h"
#include "console.h"
#include "io/chat.h"
#include "io/load_qwen35.h"
#include "runtime.h"

namespace thimble::program {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kTextBytes = 4096;  // of the longest text that the plan of the vocabulary allows for

struct InspectOptions : ModelOptions {
  bool tensors = false;
  bool json = false;
};

std::string Text(const Gguf& file, std::string_view key) {
  const auto value = file.Find(key);
  const auto text = value ? value->AsString() : std::nullopt;
  return text ? std::string(*text) : "";
}

Json Architecture(const Runtime& runtime) {
  const Config& c = runtime.model().config;
  Json json;
  json["name"] = Text(runtime.file(), "general.name");
  json["architecture"] = Text(runtime.file(), "general.architecture");
  json["layers"] = c.block_count;
  json["deltanet_layers"] = c.recurrent_count();
  json["attention_layers"] = c.attention_count();
  json["mtp_layers"] = c.nextn_predict_layers;
  json["embedding_length"] = c.embedding_length;
  json["feed_forward_length"] = c.feed_forward_length;
  json["heads"] = c.head_count;
  json["kv_heads"] = c.head_count_kv;
  json["head_dim"] = c.key_length;
  json["deltanet_key_heads"] = c.group_count;
  json["deltanet_value_heads"] = c.time_step_rank;
  json["deltanet_key_dim"] = c.state_size;
  json["deltanet_value_dim"] = c.value_size();
  json["vocabulary"] = c.vocab_size;
  json["trained_context"] = c.context_length;
  json["tied_head"] = !runtime.file().FindTensor("output.weight").has_value();
  if (c.rope.scaling_factor > 1.0f) json["yarn_factor"] = c.rope.scaling_factor;
  return json;
}

struct TypeTotal {
  size_t tensors = 0;
  uint64_t bytes = 0;
};

std::map<std::string, TypeTotal> TypeTotals(const Gguf& file) {
  std::map<std::string, TypeTotal> totals;
  for (const GgufTensor& tensor : file.tensors()) {
    TypeTotal& total = totals[TypeName(tensor.type)];
    ++total.tensors;
    total.bytes += tensor.bytes;
  }
  return totals;
}

Json Plan(const Runtime& runtime, const Limits& limits, const SessionPlan& plan, size_t vocabulary, uint64_t weights) {
  Json json;
  json["context"] = limits.context;
  json["batch"] = limits.batch;
  json["kv"] = TypeName(static_cast<uint32_t>(limits.kv));
  json["threads"] = runtime.backend().workers.count;
  json["state"] = plan.state;
  json["cache"] = plan.cache;
  json["work"] = plan.work;
  json["vocabulary"] = vocabulary;
  json["arena"] = plan.total() + vocabulary;
  json["weights_mapped"] = weights;
  return json;
}

// "Cortex-A76, 4 cores: neon dotprod"
std::string Processor() {
  const Cpu cpu = DescribeCpu();
  std::string text = *cpu.name != 0 ? cpu.name : "unknown";
  if (*cpu.core_name != 0) text += std::string(" (") + cpu.core_name + ")";
  text += ", " + std::to_string(cpu.cores) + (cpu.cores == 1 ? " core:" : " cores:");
  for (const CpuFlag& flag : kCpuFlags) {
    if (cpu.*flag.flag) text += std::string(" ") + flag.name;
  }
  return text;
}

// "  deltanet key heads            4"
void PrintRow(std::string name, const std::string& value, const char* remark = "") {
  std::replace(name.begin(), name.end(), '_', ' ');
  std::printf("  %-24s %12s%s\n", name.c_str(), value.c_str(), remark);
}

std::string Mebibytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f MiB", static_cast<double>(bytes) / (1024 * 1024));
  return text;
}

// Names come from the file: whatever is in them stays on its line.
std::string Shown(const Json& name) {
  std::string text = name.get<std::string>();
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return text;
}

void PrintModel(const Json& json) {
  const Json& a = json["architecture"];
  std::printf("%s (%s)\n", Shown(a["name"]).c_str(), Shown(a["architecture"]).c_str());
  for (const auto& [key, value] : a.items()) {
    if (key == "tied_head") {
      PrintRow("head", value.get<bool>() ? "tied" : "its own");
    } else if (key != "name" && key != "architecture") {
      PrintRow(key, value.dump());
    }
  }
  std::printf("\ntensors\n");
  for (const auto& [type, total] : json["types"].items()) {
    std::printf("  %-8s %6zu %21s\n", type.c_str(), total["tensors"].get<size_t>(), Mebibytes(total["bytes"]).c_str());
  }
  for (const Json& tensor : json.value("tensors", Json::array())) {
    std::printf("  %-8s %-20s %s\n", tensor["type"].get<std::string>().c_str(), tensor["shape"].dump().c_str(),
                Shown(tensor["name"]).c_str());
  }
}

void Print(const Json& json) {
  PrintModel(json);
  const Json& plan = json["plan"];
  const auto threads = plan["threads"].get<size_t>();
  std::printf("\nmemory for a context of %u tokens (cache %s, batch %u, %zu %s)\n", plan["context"].get<uint32_t>(),
              plan["kv"].get<std::string>().c_str(), plan["batch"].get<uint32_t>(), threads,
              threads == 1 ? "thread" : "threads");
  PrintRow("state", Mebibytes(plan["state"]), "  DeltaNet states, the same for any context");
  PrintRow("cache", Mebibytes(plan["cache"]), "  keys and values of the attention layers");
  PrintRow("work", Mebibytes(plan["work"]), "  activations of a batch");
  PrintRow("vocabulary", Mebibytes(plan["vocabulary"]), "  index of the tokenizer, for texts of up to 4096 bytes");
  const std::string bytes = "  " + std::to_string(plan["arena"].get<size_t>()) + " bytes, taken once";
  PrintRow("arena", Mebibytes(plan["arena"]), bytes.c_str());
  PrintRow("weights", Mebibytes(plan["weights_mapped"]), "  mapped: the file's own pages");
  std::printf("\nchat template  %s\n", json["chat_template"].get<std::string>().c_str());
  std::printf("processor      %s\n", json["processor"].get<std::string>().c_str());
}

std::string TemplateName(const Gguf& file) {
  const Result<ChatTemplate> chat = DetectTemplate(file);
  if (!chat) return chat.error().status == Status::kNotFound ? "none" : "not known here";
  return chat->format == ChatFormat::kQwen35 ? "Qwen3.5" : "ChatML";
}

int Inspect(const InspectOptions& options) {
  Runtime runtime;
  if (const Error error = runtime.Open(options); !error.ok()) return Fail(error);
  const Result<Limits> limits = runtime.LimitsOf(options);
  if (!limits) return Fail(limits.error());
  const Result<SessionPlan> plan = Session::Plan(runtime.model().config, *limits, runtime.backend());
  if (!plan) return Fail(plan.error());
  Arena vocabulary;
  const Result<Model> views = LoadQwen35(runtime.file(), vocabulary);
  if (!views) return Fail(views.error());
  const Result<Tokenizer> tokenizer = Tokenizer::Bind(runtime.file(), kTextBytes, vocabulary);
  if (!tokenizer) return Fail(tokenizer.error());

  Json json;
  json["architecture"] = Architecture(runtime);
  uint64_t weights = 0;
  for (const auto& [type, total] : TypeTotals(runtime.file())) {
    json["types"][type] = {{"tensors", total.tensors}, {"bytes", total.bytes}};
    weights += total.bytes;
  }
  if (options.tensors) {
    for (const GgufTensor& tensor : runtime.file().tensors()) {
      Json entry;
      entry["name"] = std::string(tensor.name);
      entry["type"] = TypeName(tensor.type);
      for (uint32_t i = 0; i < tensor.dimensions; ++i) entry["shape"].push_back(tensor.ne[i]);
      json["tensors"].push_back(entry);
    }
  }
  json["plan"] = Plan(runtime, *limits, *plan, vocabulary.used(), weights);
  json["chat_template"] = TemplateName(runtime.file());
  json["processor"] = Processor();
  if (options.json) {
    const Error error = PrintLine(json.dump(-1, ' ', false, Json::error_handler_t::replace));
    return error.ok() ? kFine : Fail(error);
  }
  Print(json);
  return kFine;
}

}  // namespace

void AddInspect(CLI::App& app, int& code) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand("inspect", "What a model file holds, and the memory that it takes.");
  command->usage(
      "Usage: thimble inspect MODEL [options]\n\nShows the architecture, the tensors by type, and every byte that a "
      "session with these limits takes.");
  AddModel(*command, *options);
  AddLimits(*command, *options);
  command->add_flag("--tensors", options->tensors, "list every tensor");
  command->add_flag("--json", options->json, "print one JSON object");
  command->callback([=, &code] { code = Inspect(*options); });
}

}  // namespace thimble::program
