// SPDX-License-Identifier: Apache-2.0
//
// thimble snapshot: writes the state behind a prompt to a file or a directory of them, and tells what such files hold.
#include "io/snapshot.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console.h"
#include "io/mapped_file.h"
#include "io/snapshot_store.h"
#include "messages.h"
#include "runtime.h"
#include "speaker.h"

namespace thimble::program {
namespace {

using Json = nlohmann::ordered_json;

struct SaveOptions : SpeakerOptions {
  std::string prompt;
  std::string messages;
  std::string system;
  std::string out;
  bool has_prompt = false;
  bool json = false;
};

struct LookOptions : ModelOptions {
  std::string path;
  bool json = false;
};

std::string Hex(uint64_t number) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(number));
  return text;
}

// --- save

Error Prime(Speaker& speaker, const SaveOptions& options, Answer* answer) {
  const auto nothing = [](std::string_view) -> Error { return {}; };
  if (options.raw) {
    if (const Error error = speaker.Bind(options.prompt.size(), false); !error.ok()) return error;
    return speaker.Continue(options.prompt, nothing, answer);
  }
  // The template wants a question behind a system prompt; the tokens up to the end of the first turn are those of any.
  const std::string_view question = options.has_prompt ? std::string_view(options.prompt) : "-";
  const Message asked[] = {{.role = Role::kSystem, .content = options.system},
                           {.role = Role::kUser, .content = question}};
  Conversation conversation = {.messages = std::span(asked).subspan(options.system.empty() ? 1 : 0)};
  Messages messages;
  if (!options.messages.empty()) {
    std::string json;
    if (const Error error = ReadFile(options.messages, &json); !error.ok()) return error;
    if (const Error error = messages.Parse(json); !error.ok()) return error;
    conversation = messages.conversation();
  }
  const Result<size_t> bytes = speaker.Measure(conversation);
  if (!bytes) return bytes.error();
  if (const Error error = speaker.Bind(*bytes, false); !error.ok()) return error;
  return speaker.Reply(conversation, nothing, answer);
}

int Save(SaveOptions& options) {
  if (options.out.empty() && options.cache.directory.empty()) {
    return Misused("there must be a place for the snapshot", "-o FILE or --cache-dir DIR");
  }
  if (!options.has_prompt && options.messages.empty() && options.system.empty()) {
    return Misused("there is nothing to make a snapshot of", "-p TEXT, --system TEXT or --messages FILE");
  }
  if (options.raw && !options.has_prompt) return Misused("--raw needs a text", "-p TEXT");
  const bool all = options.has_prompt || !options.messages.empty();
  options.until = all ? SpeakerOptions::Until::kPrompt : SpeakerOptions::Until::kSystem;
  Speaker speaker(options);
  if (const Error error = speaker.Open(); !error.ok()) return Fail(error);
  Answer answer;
  if (const Error error = Prime(speaker, options, &answer); !error.ok()) return Fail(error);
  if (answer.stopped == "interrupted") return Fail("interrupted", "snapshot");
  if (!options.out.empty()) {
    if (const Error error = speaker.SaveTo(options.out); !error.ok()) return Fail(error);
  }
  const std::string& place = options.out.empty() ? options.cache.directory : options.out;
  if (options.json) {
    const Error error = PrintLine(JsonLine({{"path", place},
                                            {"tokens", answer.prompt_tokens},
                                            {"reused_tokens", answer.reused_tokens},
                                            {"seconds", answer.prefill_seconds}}));
    return error.ok() ? kFine : Fail(error);
  }
  const Error error = PrintLine(place + ": " + std::to_string(answer.prompt_tokens) + " tokens");
  return error.ok() ? kFine : Fail(error);
}

// --- info

bool IsI16(const SnapshotHeader& session) { return session.state_form == static_cast<uint32_t>(StateForm::kI16); }

Json Describe(const SnapshotInfo& info) {
  const SnapshotHeader& session = info.session;
  Json json;
  json["tokens"] = session.length;
  json["bytes"] = info.bytes;
  json["model"] = Hex(info.model);
  json["chain"] = Hex(session.chain);
  json["k"] = TypeName(session.k_type);
  json["v"] = TypeName(session.v_type);
  json["state_form"] = IsI16(session) ? "I16" : "F32";
  json["window"] = session.window;
  json["sinks"] = session.sinks;
  json["rows"] = session.rows;
  json["state_bytes"] = session.state_bytes;
  json["token_bytes"] = session.token_bytes;
  json["sampler_bytes"] = info.sampler_bytes;
  return json;
}

double AgeOf(const SnapshotStore::Entry& entry) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now - std::chrono::nanoseconds(entry.used)).count();
}

// The most recently used first.
Error ReadDirectory(SnapshotStore& store, const std::string& path, std::vector<SnapshotStore::Entry>* entries) {
  if (const Error error = store.Open(path.c_str(), UINT64_MAX); !error.ok()) return error;
  store.Rewind();
  for (SnapshotStore::Entry entry; store.Next(&entry);) entries->push_back(entry);
  std::sort(entries->begin(), entries->end(), [](const auto& a, const auto& b) { return a.used > b.used; });
  return {};
}

int InfoOfDirectory(const LookOptions& options) {
  SnapshotStore store;
  std::vector<SnapshotStore::Entry> entries;
  if (const Error error = ReadDirectory(store, options.path, &entries); !error.ok()) return Fail(error);
  uint64_t bytes = 0;
  for (const auto& entry : entries) bytes += entry.bytes;
  if (options.json) {
    Json json = {{"snapshots", Json::array()}, {"bytes", bytes}};
    for (const auto& entry : entries) {
      json["snapshots"].push_back({{"tokens", entry.length},
                                   {"bytes", entry.bytes},
                                   {"model", Hex(entry.model)},
                                   {"limits", Hex(entry.limits)},
                                   {"chain", Hex(entry.chain)},
                                   {"seconds_since_use", AgeOf(entry)}});
    }
    const Error error = PrintLine(JsonLine(json));
    return error.ok() ? kFine : Fail(error);
  }
  if (!entries.empty()) std::printf("%8s %14s %14s  %-16s %-16s\n", "tokens", "size", "used", "model", "limits");
  for (const auto& entry : entries) {
    std::printf("%8llu %14s %10.0f s ago  %s %s\n", static_cast<unsigned long long>(entry.length),
                Mebibytes(entry.bytes).c_str(), AgeOf(entry), Hex(entry.model).c_str(), Hex(entry.limits).c_str());
  }
  const char* noun = entries.size() == 1 ? " snapshot, " : " snapshots, ";
  const Error error = PrintLine(std::to_string(entries.size()) + noun + Mebibytes(bytes));
  return error.ok() ? kFine : Fail(error);
}

// The file's own name, where an error has none.
Result<SnapshotInfo> OpenSnapshot(const std::string& path, MappedFile* file) {
  if (const Error error = file->Open(path.c_str()); !error.ok()) return error;
  Result<SnapshotInfo> info = ExamineSnapshot(file->bytes());
  if (info) return info;
  Error error = info.error();
  if (error.name.empty()) error.name = path;
  return error;
}

int Info(const LookOptions& options) {
  if (std::error_code none; std::filesystem::is_directory(options.path, none)) return InfoOfDirectory(options);
  MappedFile file;
  const Result<SnapshotInfo> info = OpenSnapshot(options.path, &file);
  if (!info) return Fail(info.error());
  const Json json = Describe(*info);
  if (options.json) {
    const Error error = PrintLine(JsonLine(json));
    return error.ok() ? kFine : Fail(error);
  }
  for (const auto& [key, value] : json.items()) {
    std::string name = key;
    std::replace(name.begin(), name.end(), '_', ' ');
    std::printf("%-16s %s\n", name.c_str(),
                value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
  }
  const Error error = Print({});
  return error.ok() ? kFine : Fail(error);
}

// --- verify

// What a session must be planned with to take a snapshot.
Limits LimitsOf(const SnapshotHeader& header) {
  Limits limits;
  limits.context = static_cast<uint32_t>(std::clamp<uint64_t>(header.length, 1, INT32_MAX));
  limits.batch = 1;
  limits.k = static_cast<Type>(header.k_type);
  limits.v = static_cast<Type>(header.v_type);
  limits.window = header.window;
  limits.sinks = header.sinks;
  // A ring has a row for every token of its window and of a batch but one.
  if (header.ring_rows >= header.window) limits.batch = static_cast<uint32_t>(header.ring_rows - header.window + 1);
  limits.state = IsI16(header) ? StateForm::kI16 : StateForm::kF32;
  return limits;
}

// Restores snapshots into sessions of one model.
class Judge {
 public:
  Error Open(const ModelOptions& options) {
    options_ = options;
    options_.threads = 1;  // nothing is computed
    Runtime runtime;
    if (const Error error = runtime.Open(options_); !error.ok()) return error;
    fingerprint_ = runtime.fingerprint();
    return {};
  }

  Error Restore(std::span<const std::byte> bytes, const SnapshotInfo& info) {
    if (info.model != fingerprint_) return {Status::kBadArgument, "the snapshot is of another model"};
    Runtime runtime;  // its memory goes with it
    if (const Error error = runtime.Open(options_); !error.ok()) return error;
    if (const Error error = runtime.BindVocabulary(0); !error.ok()) return error;
    if (const Error error = runtime.BindSession(LimitsOf(info.session)); !error.ok()) return error;
    return ReadSnapshot(bytes, {.model = info.model, .session = &runtime.session()});
  }

  uint64_t fingerprint() const { return fingerprint_; }

 private:
  ModelOptions options_;
  uint64_t fingerprint_ = 0;
};

Error VerifyFile(const std::string& path, Judge* judge, SnapshotInfo* about) {
  MappedFile file;
  const Result<SnapshotInfo> info = OpenSnapshot(path, &file);
  if (!info) return info.error();
  *about = *info;
  Error error = judge == nullptr ? Error{} : judge->Restore(file.bytes(), *info);
  if (error.name.empty()) error.name = path;
  return error;
}

int VerifyDirectory(const LookOptions& options, Judge* judge) {
  SnapshotStore store;
  std::vector<SnapshotStore::Entry> entries;
  if (const Error error = ReadDirectory(store, options.path, &entries); !error.ok()) return Fail(error);
  size_t fine = 0;
  size_t foreign = 0;
  for (const SnapshotStore::Entry& entry : entries) {
    if (Interrupted()) return Fail("interrupted", options.path);
    const bool ours = judge == nullptr || entry.model == judge->fingerprint();
    const std::string path = store.PathOf(entry);
    SnapshotInfo info = {};
    Error error = VerifyFile(path, ours ? judge : nullptr, &info);
    const bool named = info.model == entry.model && SnapshotStore::LimitsHash(info.session) == entry.limits &&
                       info.session.length == entry.length && info.session.chain == entry.chain;
    if (error.ok() && !named) error = {Status::kBadFile, "the snapshot is not what its name says", path};
    if (!error.ok()) NoteError(error);
    fine += error.ok() ? 1 : 0;
    foreign += ours ? 0 : 1;
  }
  std::string line = std::to_string(fine) + " of " + std::to_string(entries.size()) + " snapshots are fine";
  if (foreign > 0) line += ", " + std::to_string(foreign) + " of other models";
  if (const Error error = PrintLine(line); !error.ok()) return Fail(error);
  return fine == entries.size() ? kFine : kFailed;
}

int Verify(const LookOptions& options) {
  Judge judge;
  const bool has_model = !options.model.empty();
  if (has_model) {
    if (const Error error = judge.Open(options); !error.ok()) return Fail(error);
  }
  Judge* asked = has_model ? &judge : nullptr;
  if (std::error_code none; std::filesystem::is_directory(options.path, none)) return VerifyDirectory(options, asked);
  SnapshotInfo info = {};
  if (const Error error = VerifyFile(options.path, asked, &info); !error.ok()) {
    Fail(error);
    return kFailed;  // also where it was the model that was wrong: that is an answer, no misuse
  }
  const Error error = PrintLine("fine: " + std::to_string(info.session.length) + " tokens, as they were written" +
                                (has_model ? ", and of this model" : ""));
  return error.ok() ? kFine : Fail(error);
}

// --- the command line

void AddSave(CLI::App& group, int& code) {
  auto options = std::make_shared<SaveOptions>();
  CLI::App* command = group.add_subcommand("save", "Runs a prompt and writes the state behind it.");
  command->usage(
      "Usage: thimble snapshot save MODEL -o FILE [options]\n\nWith --system alone, what is written is the end of the "
      "system prompt. With --cache-dir in the place of -o, or\nbeside it, run and classify find it there.");
  AddModel(*command, *options);
  command->add_option("-o,--out", options->out, "the file to write")->option_text("FILE");
  command->add_option("-p", options->prompt, "the question")->option_text("TEXT");
  command->add_option("--messages", options->messages, "a conversation as JSON, as run takes it")
      ->option_text("FILE")
      ->excludes("-p");
  command->add_option("--system", options->system, "the system prompt")->option_text("TEXT")->excludes("--messages");
  command->add_flag("--raw", options->raw, "no chat template: the text as it is, in which special tokens count")
      ->excludes("--messages", "--system")
      ->option_text(" ");
  AddTemplate(*command, *options);
  command->add_flag("--json", options->json, "print one JSON object");
  AddLimits(*command, *options);
  AddCache(*command, options->cache);
  command->callback([=, &code] {
    options->has_prompt = command->count("-p") > 0;
    code = Save(*options);
  });
}

}  // namespace

void AddSnapshot(CLI::App& app, int& code) {
  CLI::App* group = app.add_subcommand("snapshot", "Writes, shows and verifies kept states of conversations.");
  group->require_subcommand(1);
  AddSave(*group, code);

  auto info = std::make_shared<LookOptions>();
  CLI::App* command = group->add_subcommand("info", "What a snapshot, or a directory of them, holds.");
  command->add_option("PATH", info->path, "a snapshot, or what was --cache-dir")->required()->option_text(" ");
  command->add_flag("--json", info->json, "print one JSON object");
  command->callback([=, &code] { code = Info(*info); });

  auto verify = std::make_shared<LookOptions>();
  command = group->add_subcommand("verify", "Whether snapshots are what was written, and of a model.");
  command->add_option("PATH", verify->path, "a snapshot, or what was --cache-dir")->required()->option_text(" ");
  command->add_option("MODEL", verify->model, "restore them into a session of this model")->option_text(" ");
  AddRope(*command, *verify);
  command->callback([=, &code] { code = Verify(*verify); });
}

}  // namespace thimble::program
