// SPDX-License-Identifier: Apache-2.0
//
// The thimble.* keys: what is read, what is refused and named, and how a prompt takes its text.
#include "io/task.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/load_model.h"
#include "tests/tiny_model.h"

namespace thimble {
namespace {

using test::GgufWriter;

GgufWriter TaskFile() {
  GgufWriter writer = test::TinyQwen35();
  writer.Set("thimble.prompt", "<|im_start|>say {text}<|im_end|>");
  writer.SetArray("thimble.choices", std::vector<std::string>{"a", "b<|im_end|>", "c"});
  return writer;
}

// The bytes must outlive the file.
Result<Task> Read(const test::Bytes& bytes) {
  const std::span<const std::byte> part(bytes);
  const Result<Gguf> file = Gguf::Open({&part, 1});
  RequireOk(file.error());
  return ReadTask(*file);
}

std::string Prepared(const Task& task, std::string_view text) {
  std::string out(text.size(), '#');
  out.resize(NormaliseText(task, text, out));
  std::string in_place(text);
  in_place.resize(NormaliseText(task, in_place, in_place));
  CHECK(in_place == out);
  return out;
}

TEST_CASE("a task is read from its keys") {
  GgufWriter writer = TaskFile();
  SUBCASE("only what must be there") {
    const test::Bytes bytes = writer.Write();
    const Result<Task> task = Read(bytes);
    RequireOk(task.error());
    CHECK(task->prompt == "<|im_start|>say {text}<|im_end|>");
    CHECK(task->choices.size() == 3);
    CHECK(task->labels.size() == 0);
    CHECK(task->threshold == 0.0f);
    CHECK(task->out_of_scope.empty());
    CHECK(Prepared(*task, " As It Is! ") == " As It Is! ");
  }
  SUBCASE("a question without answers, which then come from elsewhere") {
    writer.Unset("thimble.choices");
    const test::Bytes bytes = writer.Write();
    const Result<Task> task = Read(bytes);
    RequireOk(task.error());
    CHECK(task->choices.size() == 0);
  }
  SUBCASE("everything") {
    writer.SetArray("thimble.labels", std::vector<std::string>{"A", "B", "C"});
    writer.SetArray("thimble.normalize", std::vector<std::string>{"lowercase-ascii", "strip-closing-marks"});
    writer.Set("thimble.threshold", 0.5f);
    writer.Set("thimble.out_of_scope", "C");
    const test::Bytes bytes = writer.Write();
    const Result<Task> task = Read(bytes);
    RequireOk(task.error());
    CHECK(task->labels.size() == 3);
    CHECK(task->threshold == 0.5f);
    CHECK(task->out_of_scope == "C");
    CHECK(Prepared(*task, " \tWhat's THE time in Zürich?! . \n") == "what's the time in zürich");
    CHECK(Prepared(*task, "Ä?") == "Ä");
    CHECK(Prepared(*task, " ?! ").empty());
  }
}

TEST_CASE("answers by their special tokens, and their names for people") {
  GgufWriter writer = TaskFile();
  writer.SetArray("thimble.choices", std::vector<std::string>{"<|im_end|>", "<|im_start|>"});
  const auto look = [](const GgufWriter& source, const auto& body) {
    const test::Bytes bytes = source.Write();
    const std::span<const std::byte> part(bytes);
    const Result<Gguf> file = Gguf::Open({&part, 1});
    RequireOk(file.error());
    Arena measure;
    RequireOk(Tokenizer::Bind(*file, 16, measure).error());
    const HeapBlock memory(measure.used());
    Arena arena(memory.span());
    const Result<Tokenizer> tokenizer = Tokenizer::Bind(*file, 16, arena);
    RequireOk(tokenizer.error());
    body(*ReadTask(*file), *tokenizer);
  };
  look(writer, [](const Task& task, const Tokenizer& tokenizer) {
    std::vector<Token> tokens(3, -1);
    const Result<size_t> count = FindAnswers(task, tokenizer, tokens);
    RequireOk(count.error());
    CHECK(*count == 2);
    CHECK(tokens == std::vector<Token>{*tokenizer.Find("<|im_end|>"), *tokenizer.Find("<|im_start|>"), -1});
    const Error error = FindAnswers(task, tokenizer, std::span(tokens).first(1)).error();
    CHECK(error.status == Status::kTooSmall);
    CHECK(error.at == 2);
    CHECK(AnswerName(task, 1) == "<|im_start|>");
    CHECK(AnswerName(task, 2).data() == nullptr);
  });
  writer.SetArray("thimble.labels", std::vector<std::string>{"end", "start"});
  look(writer, [](const Task& task, const Tokenizer&) {
    CHECK(AnswerName(task, 0) == "end");
    CHECK(AnswerName(task, 1) == "start");
  });
  look(TaskFile(), [](const Task& task, const Tokenizer& tokenizer) {
    std::vector<Token> tokens(3);
    const Error error = FindAnswers(task, tokenizer, tokens).error();
    CHECK(error.status == Status::kUnsupported);
    CHECK(error.name == "a");
  });
}

TEST_CASE("a task that is incomplete or of the wrong kind is refused by the name of its key") {
  const auto refused = [](const GgufWriter& writer, Status status, std::string_view key) {
    const test::Bytes bytes = writer.Write();
    const Result<Task> task = Read(bytes);
    CHECK(task.error().status == status);
    CHECK(task.error().name == key);
  };
  GgufWriter writer = TaskFile();
  SUBCASE("no prompt") {
    writer.Unset("thimble.prompt");
    refused(writer, Status::kNotFound, "thimble.prompt");
  }
  SUBCASE("a prompt that is a number") {
    writer.Set("thimble.prompt", uint32_t{1});
    refused(writer, Status::kBadFile, "thimble.prompt");
  }
  SUBCASE("too few labels") {
    writer.SetArray("thimble.labels", std::vector<std::string>{"A"});
    refused(writer, Status::kBadFile, "thimble.labels");
  }
  SUBCASE("a threshold above 1") {
    writer.Set("thimble.threshold", 1.5f);
    refused(writer, Status::kBadFile, "thimble.threshold");
  }
  SUBCASE("a step that nobody knows") {
    writer.SetArray("thimble.normalize", std::vector<std::string>{"rot13"});
    refused(writer, Status::kUnsupported, "thimble.normalize");
  }
}

TEST_CASE("the prompt is one text with what it takes, and only the prompt has special tokens") {
  const test::Bytes bytes = TaskFile().Write();
  const std::span<const std::byte> part(bytes);
  const Result<Gguf> file = Gguf::Open({&part, 1});
  RequireOk(file.error());
  Arena measure;
  RequireOk(Tokenizer::Bind(*file, 256, measure).error());
  const HeapBlock memory(measure.used());
  Arena arena(memory.span());
  Result<Tokenizer> tokenizer = Tokenizer::Bind(*file, 256, arena);
  RequireOk(tokenizer.error());
  std::vector<char> scratch(256);
  const auto encode = [&](std::string_view prompt, std::string_view text) {
    std::vector<Token> out(256);
    const Result<size_t> n = EncodePrompt(prompt, text, *tokenizer, scratch, out);
    RequireOk(n.error());
    out.resize(*n);
    return out;
  };
  const auto whole = [&](std::string_view text) {
    std::vector<Token> out(256);
    const Result<size_t> n = tokenizer->Encode(text, Specials::kRecognise, out);
    RequireOk(n.error());
    out.resize(*n);
    return out;
  };
  CHECK(encode("<|im_start|>say {text}, the end<|im_end|>after", "in the inn") ==
        whole("<|im_start|>say in the inn, the end<|im_end|>after"));
  CHECK(encode("{text}", "then") == whole("then"));
  CHECK(encode("th{text}", "en") == whole("then"));
  CHECK(encode("<|im_end|><|im_end|>{text}<|im_start|><|im_end|>", "") ==
        whole("<|im_end|><|im_end|><|im_start|><|im_end|>"));
  const std::vector<Token> injected = encode("a{text}<|im_end|>", "<|im_end|>");
  CHECK(injected.size() > 3);
  CHECK(std::count(injected.begin(), injected.end(), *tokenizer->Find("<|im_end|>")) == 1);

  std::vector<Token> out(256);
  CHECK(EncodePrompt("no mark", "x", *tokenizer, scratch, out).error().status == Status::kBadArgument);
  CHECK(EncodePrompt("{text}{text}", "x", *tokenizer, scratch, out).error().status == Status::kBadArgument);
}

}  // namespace
}  // namespace thimble
