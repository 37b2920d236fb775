// SPDX-License-Identifier: Apache-2.0
//
// --cache-dir: that prompts are reused between processes, that nothing but time changes, what --verbose says; and
// thimble snapshot.
#include <sys/resource.h>

#include <algorithm>

#include "tests/cli/program.h"
#include "tests/tiny_model.h"

namespace thimble::test {
namespace {

const std::string kSystem = "You are the keeper of a lighthouse, and you answer what sailors ask.";

std::string WriteModel(const char* chat_template, uint32_t seed) {
  GgufWriter model = TinyQwen35({.seed = seed});
  if (chat_template != nullptr) model.Set("tokenizer.chat_template", std::string(chat_template));
  const Bytes bytes = model.Write();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Tiny models that a person can talk to: one of Qwen3.5's template, which drops earlier thinking, and one of a plain
/// loop, which prints answers as they were.
const ScratchFile& Talker(uint32_t seed = 1) {
  static const std::string chat = ReadBytes(std::string(THIMBLE_SOURCE_DIR) + "/tests/data/chat/qwen35_on.jinja");
  static const ScratchFile first(WriteModel(chat.c_str(), 1)), second(WriteModel(chat.c_str(), 2));
  return seed == 1 ? first : second;
}
const ScratchFile& Plain() {
  static const ScratchFile file(
      WriteModel("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
                 "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
                 "{% endif %}",
                 1));
  return file;
}

Words Talk(const std::string& directory, Words more, const std::string& model = Talker().path()) {
  more.insert(more.begin(), {"run", model, "--json", "--quiet", "--seed", "5", "-n", "24", "--ignore-eos"});
  if (!directory.empty()) more.insert(more.end(), {"--cache-dir", directory});
  return more;
}

Json Ask(const std::string& directory, const Words& more, const std::string& model = Talker().path()) {
  return RunFine(Talk(directory, more, model)).lines().at(0);
}

size_t Snapshots(const Directory& directory) {
  const auto names = directory.Names();
  return static_cast<size_t>(
      std::count_if(names.begin(), names.end(), [](const std::string& name) { return name.ends_with(".snapshot"); }));
}

TEST_CASE("a prompt that was there before is not fed again, and nothing else changes") {
  const Directory directory;
  const Words prompt = {"-p", "When does the tide turn tonight?", "--system", kSystem};
  const Json cold = Ask(directory.path(), prompt);
  CHECK(cold["reused_tokens"] == 0);
  const Json again = Ask(directory.path(), prompt);
  CHECK(again["reused_tokens"] == cold["prompt_tokens"]);
  CHECK(again["prefill_tps"] == 0.0);
  for (const char* key : {"ids", "text", "prompt_tokens", "stopped"}) CHECK(again[key] == cold[key]);

  const Words other = {"-p", "And tomorrow?", "--system", kSystem};
  const Json shared = Ask(directory.path(), other);
  const auto system = shared["reused_tokens"].get<size_t>();
  CHECK(system > kSystem.size() / 4);
  CHECK(system < shared["prompt_tokens"].get<size_t>());
  CHECK(shared["ids"] == Ask(Directory().path(), other)["ids"]);
  CHECK(Ask("", prompt)["reused_tokens"] == 0);
}

TEST_CASE("the state behind a prompt has the same bits however much of it was reused") {
  const Directory out;
  const std::string messages = R"([{"role":"system","content":")" + kSystem +
                               R"("},{"role":"user","content":"Is there fog?"},)"
                               R"({"role":"assistant","content":"A little, to the west."},)"
                               R"({"role":"user","content":"Shall I sail around it or wait until it is gone?"}])";
  const ScratchFile file(messages);
  const Words whole = {"--messages", file.path()};
  const std::vector<Words> before = {{},
                                     {"--system", kSystem},
                                     {"--system", kSystem, "-p", "Is there fog?"},
                                     {"--system", kSystem, "-p", "Is there any?"},
                                     whole};
  std::string cold;
  std::vector<size_t> reused;
  for (size_t i = 0; i < before.size(); ++i) {
    const Directory directory;
    const auto save = [&](Words words) {
      words.insert(words.begin(), {"snapshot", "save", Talker().path(), "--json", "--cache-dir", directory.path()});
      words.insert(words.end(), {"--batch", "16", "-o", out / "snapshot"});
      const Json json = RunFine(words).lines().at(0);
      return json["reused_tokens"].get<size_t>();
    };
    if (!before[i].empty()) save(before[i]);
    reused.push_back(save(whole));
    if (cold.empty()) cold = ReadBytes(out / "snapshot");
    CHECK(ReadBytes(out / "snapshot") == cold);
  }
  CHECK(reused[0] == 0);
  CHECK(reused[1] > 16);
  CHECK(reused[2] > reused[1]);
  CHECK(reused[3] == reused[1]);
  CHECK(reused[4] > reused[2]);
  CHECK(Json::parse(RunFine({"snapshot", "info", out / "snapshot", "--json"}).out)["tokens"] == reused[4]);
}

TEST_CASE("a conversation in a pipe is kept: the next process goes on with it") {
  for (const std::string& model : {Plain().path(), Talker().path()}) {
    CAPTURE(model == Plain().path());
    const Directory directory;
    const std::string question = "Which of the lights belongs to the harbour of the islands?";
    const Outcome talk = RunFine(Talk(directory.path(), {"--logit-bias", "71=1e9"}, model), question + "\n");
    const std::string answer = talk.lines().at(0)["text"];
    const auto prompt = talk.lines().at(0)["prompt_tokens"].get<size_t>();
    const ScratchFile next(Json{{{"role", "user"}, {"content", question}},
                                {{"role", "assistant"}, {"content", answer}},
                                {{"role", "user"}, {"content", "Which more?"}}}
                               .dump(-1, ' ', false, Json::error_handler_t::replace));
    const Outcome more = RunFine(Talk(directory.path(), {"--messages", next.path(), "--verbose"}, model));
    const auto reused = more.lines().at(0)["reused_tokens"].get<size_t>();
    CHECK(more.err.find("reused " + std::to_string(reused) + " of ") != std::string::npos);
    CHECK(answer == std::string(24, 'h'));
    if (model == Plain().path()) {
      CHECK(reused == prompt + 23);  // the last token of an answer is not fed
    } else {  // the answer, rendered again, has no thinking: the question is what both begin with
      CHECK(reused > question.size() / 4);
      CHECK(reused < prompt);
      CHECK(more.err.find("differs at token") != std::string::npos);
    }
  }
}

TEST_CASE("--verbose says why nothing was reused") {
  const Directory directory;
  const Words prompt = {"-p", "How far is the next harbour?", "--system", kSystem};
  const auto say = [&](Words words, const std::string& model = Talker().path()) {
    words.insert(words.end(), {"--verbose"});
    return RunFine(Talk(directory.path(), words, model)).err;
  };
  CHECK(say(prompt).find("reused nothing of") != std::string::npos);
  CHECK(say(prompt).find("nearest") == std::string::npos);
  Words f32 = prompt;
  f32.insert(f32.end(), {"--kv", "f32"});
  CHECK(say(f32).find("other limits") != std::string::npos);
  CHECK(say(prompt, Talker(2).path()).find("of other models") != std::string::npos);
  const std::string differs = say({"-p", "x", "--system", "You are the captain, not the keeper of anything."});
  CHECK(differs.find("differs at token") != std::string::npos);
  CHECK(differs.find("\"k\" there, \"c\" here") != std::string::npos);
  CHECK(RunFine(Talk(directory.path(), prompt)).err.empty());
}

TEST_CASE("classifying keeps the question, and gives the same bits with and without it") {
  const std::string question =
      "A sailor writes to the keeper of the light, who must know at once what the letter is about. It says: {text} So "
      "it is about";
  const auto classify = [&](const std::string& directory, Words more) {
    more.insert(more.begin(), {"classify", kTied, "--json", "--quiet", "--prompt", question, "--choices",
                               "linear,layer,lines", "--batch", "16", "--cache-dir", directory});
    return RunFine(more);
  };
  const Words texts = {"one", "two and more of it", "", "-", "a cache grows", " blanks first", "one"};
  Words all = texts;
  const Directory together;
  for (int round = 0; round < 2; ++round) {
    const auto lines = classify(together.path(), all).lines();
    REQUIRE(lines.size() == texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      const Directory fresh;
      const Json cold = classify(fresh.path(), {texts[i]}).lines().at(0);
      const Json warm = classify(fresh.path(), {texts[i], "--verbose"}).lines().at(0);
      CHECK(cold["reused_tokens"] == 0);
      CHECK(warm["reused_tokens"] > 40);
      CHECK(warm["reused_tokens"] < warm["tokens"]);
      for (const Json& other : {warm, lines[i]}) {
        CHECK(other["choices"] == cold["choices"]);
        CHECK(other["tokens"] == cold["tokens"]);
      }
      CHECK((lines[i]["reused_tokens"] > 0) == (i > 0 || round > 0));
    }
  }
  CHECK(Snapshots(together) <= 2);  // one, and perhaps another for a text that merges with the question
  // Whatever is divided where, the probabilities are those without a directory, within what rounding gives.
  const Json plain =
      RunFine({"classify", kTied, "--json", "--prompt", question, "--choices", "linear,layer,lines", "--quiet", "one"})
          .lines()
          .at(0);
  CHECK(plain["p"].get<double>() ==
        doctest::Approx(classify(together.path(), {"one"}).lines().at(0)["p"].get<double>()).epsilon(1e-3));
  const auto calibrated = classify(together.path(), {"--calibrate", "one", "two"}).lines();
  CHECK(calibrated.at(0)["reused_tokens"] > 40);
  CHECK(classify(Directory().path(), {"--calibrate", "one"}).lines().at(0)["choices"] == calibrated.at(0)["choices"]);
}

TEST_CASE("what is kept stays within its bytes, and what was torn or cannot be written is said once") {
  const Directory directory;
  const auto ask = [&](const std::string& bytes, const std::string& text) {
    return RunFine(Talk(directory.path(), {"-p", text + " of the many things that a sailor may ask about the sea",
                                           "--system", kSystem, "--cache-bytes", bytes}));
  };
  ask("1G", "one");
  const auto size = [&] {
    uint64_t bytes = 0;
    for (const std::string& name : directory.Names()) bytes += std::filesystem::file_size(directory / name);
    return bytes;
  };
  const uint64_t all = size();
  CHECK(Snapshots(directory) >= 3);
  ask(std::to_string(all), "two");
  CHECK(size() <= all);
  const Outcome small = ask("100", "three");
  CHECK(small.err.find("larger than all that may be stored") != std::string::npos);
  CHECK(std::count(small.err.begin(), small.err.end(), '\n') == 1);

  for (const std::string& name : directory.Names()) {
    if (name.ends_with(".snapshot")) std::filesystem::resize_file(directory / name, 5000);
  }
  const Outcome torn = ask("1G", "two");
  CHECK(torn.err.find("torn") != std::string::npos);
  CHECK(torn.lines().at(0)["reused_tokens"] == 0);

  const rlimit limit = {1 << 12, RLIM_INFINITY};
  rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &limit);
  const Outcome full = ask("1G", "four");
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, SIG_DFL);
  CHECK(full.err.find("the file is too large") != std::string::npos);
  CHECK(std::count(full.err.begin(), full.err.end(), '\n') == 1);
  CHECK(full.lines().at(0)["tokens"] == 24);
}

TEST_CASE("snapshot files: saved, shown, verified, refused") {
  const Directory directory;
  const std::string path = directory / "snapshot";
  const Words save = {"snapshot", "save", Talker().path(), "--system", kSystem, "-o", path};
  CHECK(RunFine(save).out.find(path + ": ") == 0);
  const std::string bytes = ReadBytes(path);
  const Json info = Json::parse(RunFine({"snapshot", "info", path, "--json"}).out);
  CHECK(info["bytes"] == bytes.size());
  CHECK(info["k"] == "F16");
  CHECK(info["tokens"] > 16);
  CHECK(RunFine({"snapshot", "info", path}).out.find("tokens") != std::string::npos);
  CHECK(RunFine({"snapshot", "verify", path}).out.find("fine: ") == 0);
  CHECK(RunFine({"snapshot", "verify", path, Talker().path()}).out.find("of this model") != std::string::npos);

  const auto refused = [](const Words& words, int code, const std::string& part) {
    const Outcome outcome = Run(words);
    CAPTURE(words);
    CAPTURE(outcome.err);
    CHECK(outcome.code == code);
    CHECK(outcome.out.empty());
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CHECK(outcome.err.find(part) != std::string::npos);
  };
  refused({"snapshot", "verify", path, Talker(2).path()}, 1, "another model: " + path);

  const std::string stretched = directory / "stretched";
  RunFine({"snapshot", "save", Talker().path(), "--system", kSystem, "-o", stretched, "--rope-scale", "2"});
  refused({"snapshot", "verify", stretched, Talker().path()}, 1, "rotary frequencies");
  RunFine({"snapshot", "verify", stretched, Talker().path(), "--rope-scale", "2"});
  std::string changed = bytes;
  changed[changed.size() / 2] ^= 1;
  const ScratchFile flipped(changed), cut(bytes.substr(0, bytes.size() - 1)), text("no snapshot");
  for (const ScratchFile* file : {&flipped, &cut, &text}) {
    refused({"snapshot", "verify", file->path()}, 1, file->path());
    refused({"snapshot", "info", file->path()}, 1, file->path());
    refused({"snapshot", "verify", file->path(), Talker().path()}, 1, file->path());
  }
  refused({"snapshot", "info", "/nowhere"}, 1, "/nowhere");
  refused({"snapshot"}, 2, "snapshot --help");
  refused({"snapshot", "save", Talker().path(), "-o", path}, 2, "--system");
  refused({"snapshot", "save", Talker().path(), "--system", "x"}, 2, "--cache-dir");
  refused({"snapshot", "save", Talker().path(), "--system", "x", "-o", "/nowhere/x"}, 1, "/nowhere/x");
  refused({"run", kTied, "--raw", "-p", "x", "--cache-bytes", "5"}, 2, "--cache-dir");
  refused({"run", kTied, "--raw", "-p", "x", "--verbose"}, 2, "--cache-dir");
  refused({"run", kTied, "--raw", "-p", "x", "--cache-dir", path}, 2, path);
  refused({"run", kTied, "--raw", "-p", "x", "--cache-dir", "/nowhere/x"}, 1, "/nowhere/x");
  refused({"classify", kIntent, "x", "--cache-dir", "y", "--cache-bytes", "many"}, 2, "--cache-bytes");
  CHECK(ReadBytes(path) == bytes);
}

TEST_CASE("a directory of snapshots is shown and verified whole") {
  const Directory directory;
  Ask(directory.path(), {"-p", "Where is the pilot?", "--system", kSystem});
  Ask(directory.path(), {"-p", "Where is the pilot?", "--system", kSystem}, Talker(2).path());
  const Json info = Json::parse(RunFine({"snapshot", "info", directory.path(), "--json"}).out);
  REQUIRE(info["snapshots"].size() == Snapshots(directory));
  CHECK(RunFine({"snapshot", "info", directory.path()}).out.find(std::to_string(Snapshots(directory)) + " snapshots") !=
        std::string::npos);
  const std::string all = std::to_string(Snapshots(directory));
  CHECK(RunFine({"snapshot", "verify", directory.path()}).out == all + " of " + all + " snapshots are fine\n");
  CHECK(RunFine({"snapshot", "verify", directory.path(), Talker(2).path()}).out.find("of other models") !=
        std::string::npos);
  for (const std::string& name : directory.Names()) {
    if (!name.ends_with(".snapshot")) continue;
    std::filesystem::resize_file(directory / name, 5000);
    break;
  }
  const Outcome bad = Run({"snapshot", "verify", directory.path()});
  CHECK(bad.code == 1);
  CHECK(std::count(bad.err.begin(), bad.err.end(), '\n') == 1);
}

}  // namespace
}  // namespace thimble::test
