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
#include "io/pack.h"
#include "io/whole_file.h"
#include "runtime.h"

namespace thimble::program {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kTextBytes = 4096;  // of the longest text that the plan of the vocabulary allows for

struct InspectOptions : ModelOptions {
  bool tensors = false;
  bool json = false;
  bool verify = false;
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

// "blk.7.ffn_up.weight" is of the kind "ffn_up".
std::string KindOf(std::string_view name) {
  if (name.starts_with("blk.")) name = name.substr(std::min(name.find('.', 4) + 1, name.size()));
  for (const std::string_view end : {".weight", ".bias"}) {
    if (name.ends_with(end)) name.remove_suffix(end.size());
  }
  return std::string(name);
}

Json PackReport(const Gguf& file, const PackStamp& stamp) {
  Json json;
  json["layout"] = kPackLayout;
  json["recipe"] = kPackRecipes[static_cast<size_t>(stamp.recipe)];
  json["keep_exact"] = stamp.keep_exact;
  json["source_bytes"] = stamp.source_bytes;
  json["source_hash"] = stamp.source_hash;
  if (!stamp.imatrix_hash.empty()) json["imatrix_hash"] = stamp.imatrix_hash;
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.dimensions < 2) continue;
    Json& kind = json["kinds"][KindOf(tensor.name)][TypeName(tensor.type)];
    if (kind.is_null()) kind = {{"tensors", 0}, {"bytes", 0}};
    kind["tensors"] = kind["tensors"].get<size_t>() + 1;
    kind["bytes"] = kind["bytes"].get<uint64_t>() + tensor.bytes;
  }
  return json;
}

Json Plan(const Runtime& runtime, const Limits& limits, const SessionPlan& plan, size_t vocabulary, uint64_t weights) {
  Json json;
  json["context"] = limits.context;
  if (limits.window != 0) {
    json["window"] = limits.window;
    json["sinks"] = limits.sinks;
  }
  if (runtime.model().config.rope.scaling_factor > 1) {
    json["rope_scale"] = runtime.model().config.rope.scaling_factor;
    json["rope_context"] = runtime.model().config.rope.original_context_length;
  }
  json["batch"] = limits.batch;
  json["k"] = TypeName(static_cast<uint32_t>(limits.k));
  json["v"] = TypeName(static_cast<uint32_t>(limits.v));
  json["state_form"] = limits.state == StateForm::kF32 ? "F32" : "I16";
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

// Names come from the file: whatever is in them stays on its line.
std::string Shown(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return text;
}

void PrintPack(const Json& pack) {
  std::printf("\npack, layout %s, recipe %s%s\n", pack["layout"].get<std::string>().c_str(),
              pack["recipe"].get<std::string>().c_str(),
              pack["keep_exact"].get<bool>() ? ", quantised tensors kept as they were" : "");
  std::printf("  made from %s, XXH3 %s\n", Mebibytes(pack["source_bytes"]).c_str(),
              pack["source_hash"].get<std::string>().c_str());
  if (pack.contains("imatrix_hash")) {
    std::printf("  importance matrix XXH3 %s\n", pack["imatrix_hash"].get<std::string>().c_str());
  }
  for (const auto& [kind, types] : pack["kinds"].items()) {
    for (const auto& [type, total] : types.items()) {
      std::printf("  %-18s %-10s %4zu %16s\n", Shown(kind).c_str(), type.c_str(), total["tensors"].get<size_t>(),
                  Mebibytes(total["bytes"]).c_str());
    }
  }
}

void PrintModel(const Json& json) {
  const Json& a = json["architecture"];
  std::printf("%s (%s)\n", Shown(a["name"].get<std::string>()).c_str(),
              Shown(a["architecture"].get<std::string>()).c_str());
  for (const auto& [key, value] : a.items()) {
    if (key == "tied_head") {
      PrintRow("head", value.get<bool>() ? "tied" : "its own");
    } else if (key != "name" && key != "architecture") {
      PrintRow(key, value.dump());
    }
  }
  std::printf("\ntensors\n");
  for (const auto& [type, total] : json["types"].items()) {
    std::printf("  %-10s %4zu %21s\n", type.c_str(), total["tensors"].get<size_t>(), Mebibytes(total["bytes"]).c_str());
  }
  if (json.contains("pack")) PrintPack(json["pack"]);
  for (const Json& tensor : json.value("tensors", Json::array())) {
    std::printf("  %-8s %-20s %s\n", tensor["type"].get<std::string>().c_str(), tensor["shape"].dump().c_str(),
                Shown(tensor["name"].get<std::string>()).c_str());
  }
}

void Print(const Json& json) {
  PrintModel(json);
  const Json& plan = json["plan"];
  const auto threads = plan["threads"].get<size_t>();
  const std::string tokens =
      plan.contains("window") ? "window of the last " + plan["window"].dump() + " and the first " + plan["sinks"].dump()
                              : "context of " + plan["context"].dump();
  if (plan.contains("rope_scale")) {
    std::printf("\nYaRN: %g times %u tokens\n", plan["rope_scale"].get<double>(), plan["rope_context"].get<uint32_t>());
  }
  std::printf("\nmemory for a %s tokens (keys %s, values %s, state %s, batch %u, %zu %s)\n", tokens.c_str(),
              plan["k"].get<std::string>().c_str(), plan["v"].get<std::string>().c_str(),
              plan["state_form"].get<std::string>().c_str(), plan["batch"].get<uint32_t>(), threads,
              threads == 1 ? "thread" : "threads");
  PrintRow("state", Mebibytes(plan["state"]), "  DeltaNet states, the same for any context");
  PrintRow("cache", Mebibytes(plan["cache"]), "  keys and values of the attention layers");
  PrintRow("work", Mebibytes(plan["work"]), "  activations of a batch");
  PrintRow("vocabulary", Mebibytes(plan["vocabulary"]),
           "  tokenizer, for texts of up to 4096 bytes; its index too if the file has none");
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

// All checksums of a pack.
int Verify(const Runtime& runtime, const InspectOptions& options) {
  if (!runtime.stamp()) return Fail("this is no pack, so there are no checksums to compare", options.model);
  constexpr size_t kMegabyte = 1000000;
  const size_t total = runtime.file_bytes() / kMegabyte;
  Progress progress("verifying", "MB", total);
  size_t index = 0;
  uint64_t done = 0;
  for (const GgufTensor& tensor : runtime.file().tensors()) {
    if (Interrupted()) return Fail("interrupted", options.model);
    if (const Error error = VerifyPackTensor(*runtime.stamp(), tensor, index++); !error.ok()) return Fail(error);
    ForgetPages({tensor.data, static_cast<size_t>(tensor.bytes)});
    done += tensor.bytes;
    progress.Show(done / kMegabyte);
  }
  const Error error = PrintLine("fine: the header and " + std::to_string(index) + " tensors are what was written");
  return error.ok() ? kFine : Fail(error);
}

int Inspect(InspectOptions options) {
  if (options.decode_threads == 0) options.decode_threads = 1;  // nothing is decoded, so nothing need be probed
  Runtime runtime;
  if (const Error error = runtime.Open(options); !error.ok()) return Fail(error);
  if (options.verify) return Verify(runtime, options);
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
  if (runtime.stamp()) json["pack"] = PackReport(runtime.file(), *runtime.stamp());
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
    const Error error = PrintLine(JsonLine(json));
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
  AddWindow(*command, *options);
  command->add_flag("--tensors", options->tensors, "list every tensor");
  command->add_flag("--verify", options->verify, "read a pack to its end and compare all checksums");
  command->add_flag("--json", options->json, "print one JSON object");
  command->callback([=, &code] { code = Inspect(*options); });
}

}  // namespace thimble::program
