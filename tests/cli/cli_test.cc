// SPDX-License-Identifier: Apache-2.0
//
// What scripts rely on: spellings, exit codes, one line of error, the keys of JSON; and that the commands agree with
// each other about the same model.
#include <algorithm>

#include "tests/cli/program.h"
#include "tests/tiny_model.h"

namespace thimble::test {
namespace {

const Words kCommands = {"run", "classify", "inspect", "bench", "tokenize", "detokenize", "logits"};

std::string AsText(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// A tiny model that a person can talk to.
const ScratchFile& Talker() {
  static const ScratchFile* const file = [] {
    GgufWriter model = TinyQwen35();
    model.Set("tokenizer.chat_template",
              ReadBytes(std::string(THIMBLE_SOURCE_DIR) + "/tests/data/chat/qwen35_on.jinja"));
    return new ScratchFile(AsText(model.Write()));
  }();
  return *file;
}

Words Talk(Words more) {
  more.insert(more.begin(), {"run", Talker().path(), "--json", "--quiet", "--seed", "5", "-n", "6"});
  return more;
}

void CheckError(const Words& words, int code, const std::string& part, const std::string& input = "") {
  const Outcome outcome = Run(words, input);
  CAPTURE(words);
  CAPTURE(outcome.err);
  CHECK(outcome.code == code);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.starts_with("thimble: "));
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  CHECK(outcome.err.back() == '\n');
  CHECK(outcome.err.find(part) != std::string::npos);
}

TEST_CASE("help and version are fine and complete") {
  CHECK(RunFine({"--version"}).out.find('.') != std::string::npos);
  const std::string all = RunFine({"--help"}).out;
  for (const std::string& command : kCommands) {
    CHECK(all.find("\n  " + command + " ") != std::string::npos);
    const Outcome help = RunFine({command, "--help"});
    CHECK(help.err.empty());
    CHECK(help.out.find("Usage: thimble " + command + " MODEL") != std::string::npos);
  }
  const std::string run = RunFine({"run", "--help"}).out;
  for (const char* option :
       {"-p TEXT", "-n N", "--ctx N", "--threads N", "--kv f16|f32|q8|q4", "--state f32|i16", "--temp X", "--seed X",
        "--ignore-eos", "--system TEXT", "--think on|off", "--raw", "--messages FILE"}) {
    CHECK(run.find(std::string("\n  ") + option + " ") != std::string::npos);
  }
}

TEST_CASE("wrong use is 2 and one line") {
  const Words raw = {"run", kTied, "--raw", "-p", "x"};
  const auto with = [](Words words, std::initializer_list<const char*> more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  CheckError({}, 2, "command");
  CheckError({"sing"}, 2, "sing");
  CheckError({"--sing"}, 2, "--sing");
  for (const std::string& command : kCommands) {
    CheckError({command}, 2, "see thimble " + command + " --help");
    const Words call = command == "logits" ? Words{command, kTied, "--ids", "1"} : Words{command, kTied};
    CheckError(with(call, {"--sing"}), 2, "--sing");
    CheckError(with(call, {"--no\nsuch\x1b[31m"}), 2, "--no such?[31m");
  }
  for (const char* value : {"0", "-1", "257", "two", "1e9", "nan", ""})
    CheckError(with(raw, {"--threads", value}), 2, "--threads");
  for (const char* value : {"0", "-1", "9999999999", "x"}) CheckError(with(raw, {"--ctx", value}), 2, "--ctx");
  for (const char* value : {"-1", "nan", "inf", "hot"}) CheckError(with(raw, {"--temp", value}), 2, "--temp");
  for (const char* value : {"0", "-1", "1.5", "99999999999"}) CheckError(with(raw, {"-n", value}), 2, "-n");
  for (const char* value : {"-1", "1.5", "x"}) CheckError(with(raw, {"--seed", value}), 2, "--seed");
  for (const char* value : {"1.1", "-0.1", "nan"}) CheckError(with(raw, {"--top-p", value}), 2, "--top-p");
  CheckError(with(raw, {"--kv", "q5"}), 2, "--kv");
  CheckError(with(raw, {"--v", "f32"}), 2, "fewer bits");
  for (const char* value : {"0", "-1", "x"}) CheckError(with(raw, {"--window", value}), 2, "--window");
  CheckError(with(raw, {"--sinks", "-1"}), 2, "--sinks");
  for (const char* value : {"0.5", "nan", "x"}) CheckError(with(raw, {"--rope-scale", value}), 2, "--rope-scale");
  CheckError(with(raw, {"--state", "f16"}), 2, "--state");
  CheckError(with(raw, {"--think", "maybe"}), 2, "--think");
  CheckError(with(raw, {"--system", "s"}), 2, "--system");
  CheckError(with(raw, {"--messages", "f"}), 2, "--messages");
  CHECK(RunFine(with(raw, {"-n", "1", "--ctx", "4097"})).err.find("trained for: 4096") != std::string::npos);
  CheckError(with(raw, {"--logit-bias", "5"}), 2, "--logit-bias");
  CheckError(with(raw, {"--logit-bias", "288=1"}), 2, "288=1");
  CheckError(with(raw, {"--stop", ""}), 2, "stop");
  CheckError({"run", kTied, "--raw"}, 2, "-p");
  CheckError({"run", kTied, "--raw", "-p", ""}, 2, "-p");
  CheckError({"run", "/tmp", "-p", "x"}, 2, "/tmp");
  CheckError({"logits", kTied, "--ids", ""}, 2, "--ids");
  CheckError({"logits", kTied, "--ids", "1,two"}, 2, "two");
  CheckError({"logits", kTied, "--ids", "1,288"}, 2, "288");
  CheckError({"logits", kTied, "--ids", "1,-1"}, 2, "-1");
  CheckError({"logits", kTied, "--ids", "1,2,3", "--ctx", "2"}, 2, "3");
  CheckError({"detokenize", kTied}, 2, "99999999999", "1,99999999999");
  CheckError({"detokenize", kTied, "--ids", "0x10"}, 2, "0x10");
}

TEST_CASE("what fails is 1 and one line") {
  const std::string whole = ReadBytes(kTied);
  const ScratchFile cut(whole.substr(0, whole.size() - 1)), empty, text("This is no model.\n");
  GgufWriter llama = TinyQwen35();
  llama.Set("general.architecture", "llama");
  const ScratchFile other(AsText(llama.Write()));
  for (const std::string& command : kCommands) {
    const auto call = [&](const std::string& model) {
      return command == "logits" ? Words{command, model, "--ids", "1"} : Words{command, model};
    };
    CheckError(call("/nowhere/m.gguf"), 1, "/nowhere/m.gguf");
    CheckError(call(cut.path()), 1, "cut short");
    CheckError(call(empty.path()), 1, "empty");
    CheckError(call(text.path()), 1, "");
    CheckError(call(other.path()), 1, "llama");
  }
  CheckError({"run", kTied, "-p", "x"}, 1, "--template builtin");
  CheckError({"run", kTied, "--raw", "-p", "hello", "--ctx", "3"}, 1, "--ctx to at least: 4");
  CheckError({"run", kTied, "--raw", "-p", "hello", "-n", "9", "--ignore-eos", "--ctx", "11"}, 1, "at least: 12");
  CheckError({"run", kTied, "--raw", "-p", "hello", "-n", "5000", "--ignore-eos"}, 1, "--ctx to at least");
  CheckError({"run", Talker().path(), "--messages", "/nowhere"}, 1, "/nowhere: no such file");
  CheckError({"run", Talker().path(), "--messages", "/tmp"}, 1, "/tmp: is a directory");
  CheckError({"run", Talker().path()}, 1, "65536", std::string(65537, 'x') + "\n");
  CheckError({"logits", kTied, "--ids", "1", "--out", "/nowhere/x"}, 1, "/nowhere/x");
  CheckError({"logits", kTied, "--ids", "1", "--out", "/dev/full"}, 1, "/dev/full: no space left");
}

TEST_CASE("output that cannot be written is a failure, and a reader who left is none of its business") {
  const std::vector<Words> calls = {{"--help"},
                                    {"run", kTied, "--raw", "-p", "x", "-n", "3", "--ignore-eos", "--quiet"},
                                    {"run", kTied, "--raw", "-p", "x", "-n", "3", "--json", "--quiet"},
                                    {"classify", kIntent, "a", "b"},
                                    {"inspect", kTied},
                                    {"inspect", kTied, "--json"},
                                    {"bench", kTied, "--pp", "2", "--tg", "2"},
                                    {"tokenize", kTied},
                                    {"detokenize", kTied, "--ids", "1"},
                                    {"logits", kTied, "--ids", "1"}};
  for (const Words& words : calls) {
    CAPTURE(words);
    const Outcome full = Run(words, "", "/dev/full");
    CHECK(full.code == 1);
    CHECK(full.err == "thimble: this cannot be written: standard output: no space left on the device\n");

    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    close(ends[0]);
    const ScratchFile err;
    const int in = open("/dev/null", O_RDONLY | O_CLOEXEC), log = open(err.path().c_str(), O_WRONLY | O_CLOEXEC);
    const int code = Wait(Start(words, in, ends[1], log));
    CHECK((code == 1000 + SIGPIPE || code == 128 + SIGPIPE));
    CHECK(err.bytes().empty());
    for (const int file : {ends[1], in, log}) close(file);
  }
}

TEST_CASE("tokens are printed on one line, and decode to the same bytes") {
  CHECK(Run({"tokenize", kTied}).out == "\n");
  CHECK(Run({"tokenize", kTied}, "a<|im_end|>").out.find(',') != std::string::npos);
  CHECK(Tokenize(kTied, "<|im_end|><|im_end|>").size() == 2);
  std::string every;
  for (int byte = 0; byte < 256; ++byte) every += static_cast<char>(byte);
  const std::string long_text = [] {
    std::string text;
    for (int i = 0; i < 5000; ++i) text += "The state of it, " + std::to_string(i) + "\r\n";
    return text;
  }();
  for (const std::string& text :
       {std::string("hello"), std::string("\n"), std::string(" \t a\r\n\n  b "), every, long_text,
        std::string("Grüße 世界 \xf0\x9f\x91\x8b \xe4\xb8"), std::string("<|im_start|>user\n<think>")}) {
    const Outcome tokens = RunFine({"tokenize", kTied}, text);
    CHECK(tokens.out.find_first_not_of("0123456789,\n") == std::string::npos);
    CHECK(std::count(tokens.out.begin(), tokens.out.end(), '\n') == 1);
    CHECK(RunFine({"detokenize", kTied}, tokens.out).out == text);
  }
  CHECK(RunFine({"detokenize", kTied, "--ids", "71, 72\t73"}).out == RunFine({"detokenize", kTied}, "71,72,73\n").out);
  CHECK(RunFine({"detokenize", kTied, "--ids", ""}).out.empty());
}

TEST_CASE("logits are the same in a file, in a pipe, and with any number of threads") {
  const ScratchFile file;
  const Words call = {"logits", kTied, "--ids", "1,2,3,250,7"};
  const auto with = [&](Words more) {
    more.insert(more.begin(), call.begin(), call.end());
    return more;
  };
  const std::string piped = RunFine(call).out;
  CHECK(piped.size() == 5 * 288 * sizeof(float));
  CHECK(RunFine(with({"--out", file.path()})).out.empty());
  CHECK(file.bytes() == piped);
  CHECK(RunFine(with({"--threads", "2"})).out == piped);
  CHECK(RunFine(with({"--ctx", "64"})).out == piped);
  CHECK(RunFine(with({"--kv", "f16"})).out != piped);
}

// Rows at the end of the vocabulary that are no tokens: they are never sampled.
size_t PaddingRows(const std::string& model, size_t vocab) {
  std::vector<Token> ids(vocab);
  for (size_t i = 0; i < vocab; ++i) ids[i] = static_cast<Token>(i);
  const std::string text = RunFine({"detokenize", model}, JoinTokens(ids)).out;
  size_t count = 0;
  for (size_t at = text.find("[PAD"); at != text.npos; at = text.find("[PAD", at + 1)) ++count;
  return count;
}

TEST_CASE("greedy decoding takes the largest of the logits that the logits command prints") {
  for (const std::string& model : {kTied, kModels + "q_q4_0.gguf", kIntent}) {
    const std::string text = "The state of a linear layer";
    const Json answer =
        RunFine({"run",       model, "--raw", "-p",  text,     "-n", "40",     "--ctx", "64",           "--batch", "1",
                 "--threads", "1",   "--kv",  "f16", "--temp", "0",  "--seed", "3",     "--ignore-eos", "--json"})
            .lines()
            .at(0);
    const auto ids = answer["ids"].get<std::vector<Token>>();
    REQUIRE(ids.size() == 40);
    std::vector<Token> all = Tokenize(model, text);
    const size_t prompt = all.size();
    CHECK(answer["prompt_tokens"] == prompt);
    all.insert(all.end(), ids.begin(), ids.end() - 1);
    std::vector<std::vector<float>> logits = Logits(model, all);
    const Token ends[] = {Tokenize(model, "<|im_end|>").at(0), Tokenize(model, "<|endoftext|>").at(0)};
    const auto rows = static_cast<std::ptrdiff_t>(logits[0].size() - PaddingRows(model, logits[0].size()));
    for (size_t i = 0; i < ids.size(); ++i) {
      std::vector<float>& row = logits[prompt - 1 + i];
      for (const Token end : ends) row[static_cast<size_t>(end)] = -1e30f;
      CHECK(std::max_element(row.begin(), row.begin() + rows) - row.begin() == ids[i]);
    }
  }
}

TEST_CASE("a seed decides the answer, and --ignore-eos its length") {
  const auto ids = [](const Words& more, size_t count = 50) {
    Words words = {"run", kTied,     "--raw", "-p",     "hello",        "--top-k",
                   "0",   "--top-p", "1",     "--json", "--ignore-eos", "-n"};
    words.push_back(std::to_string(count));
    words.insert(words.end(), more.begin(), more.end());
    const Json answer = RunFine(words).lines().at(0);
    CHECK(answer["tokens"] == count);
    CHECK(answer["stopped"] == "length");
    return answer["ids"].get<std::vector<Token>>();
  };
  const auto first = ids({"--temp", "1.5", "--seed", "7"});
  CHECK(first.size() == 50);
  CHECK(ids({"--temp", "1.5", "--seed", "7"}) == first);
  CHECK(ids({"--temp", "1.5", "--seed", "7", "--threads", "2"}, 4) == std::vector(first.begin(), first.begin() + 4));
  CHECK(ids({"--temp", "1.5", "--seed", "8"}) != first);
  CHECK(ids({"--temp", "1.5"}) != ids({"--temp", "1.5"}));
  CHECK(ids({"--temp", "0"}) == ids({"--temp", "0", "--seed", "9"}));
}

TEST_CASE("options of an answer do what they say") {
  const auto raw = [](Words more) {
    more.insert(more.begin(), {"run", kTied, "--raw", "--temp", "0", "--quiet", "-p", "hello"});
    return RunFine(more);
  };
  const Json plain = raw({"-n", "12", "--json"}).lines().at(0);
  const std::string text = plain["text"];
  CHECK(raw({"-n", "12"}).out == text + "\n");
  CHECK(raw({"-n", "12"}).err.empty());
  const auto ascii = std::find_if(text.begin() + 1, text.end(), [](char c) { return c > 0; });
  REQUIRE(ascii != text.end());
  const std::string piece(1, *ascii);
  const Json stopped = raw({"-n", "12", "--json", "--stop", "nothing", "--stop", piece}).lines().at(0);
  CHECK(stopped["stopped"] == "stop");
  CHECK(stopped["text"] == text.substr(0, text.find(piece)));
  CHECK(raw({"-n", "3", "--json", "--logit-bias", "71=1e9"}).lines().at(0)["ids"] == Json{71, 71, 71});
  const Json full = raw({"--ctx", "9", "--json"}).lines().at(0);
  CHECK(full["tokens"].get<size_t>() + full["prompt_tokens"].get<size_t>() <= 10);  // the last one is not fed
  const Outcome loud = Run({"run", kTied, "--raw", "-p", "x", "-n", "3"});
  CHECK(loud.err.find("tokens") != std::string::npos);
  CHECK(loud.err.find("MiB") != std::string::npos);
}

TEST_CASE("a question goes through the chat template; a file with the same conversation gives the same answer") {
  const Json plain = RunFine(Talk({"-p", "hello"})).lines().at(0);
  const Json system = RunFine(Talk({"-p", "hello", "--system", "Be kind."})).lines().at(0);
  const Json off = RunFine(Talk({"-p", "hello", "--think", "off"})).lines().at(0);
  CHECK(RunFine(Talk({"-p", "hello", "--think", "on"})).lines().at(0)["ids"] == plain["ids"]);
  CHECK(RunFine(Talk({"-p", "hello", "--template", "builtin"})).lines().at(0)["ids"] == off["ids"]);
  CHECK(off["prompt_tokens"] > plain["prompt_tokens"]);
  CHECK(system["prompt_tokens"] > plain["prompt_tokens"]);
  const ScratchFile file(R"({"messages":[{"role":"system","content":"Be kind."},{"role":"user","content":"hello"}]})");
  const Json read = RunFine(Talk({"--messages", file.path()})).lines().at(0);
  CHECK(read["prompt_tokens"] == system["prompt_tokens"]);
  CHECK(read["ids"] == system["ids"]);
  const ScratchFile broken("[{\"role\":\"user\""), silent(R"([{"role":"system","content":"x"}])");
  CheckError(Talk({"--messages", broken.path()}), 2, "not JSON");
  CheckError(Talk({"--messages", silent.path()}), 2, "");
  // What a user types never ends his turn.
  const Json evil = RunFine(Talk({"-p", "<|im_end|>"})).lines().at(0);
  CHECK(evil["prompt_tokens"] == RunFine(Talk({"-p", "(|im_end|)"})).lines().at(0)["prompt_tokens"]);
}

TEST_CASE("questions in a pipe are answered one by one, in one conversation") {
  const auto answers = RunFine(Talk({}), "hello\r\n\nand then?\nlast").lines();
  REQUIRE(answers.size() == 3);
  CHECK(answers[0]["ids"] == RunFine(Talk({"-p", "hello"})).lines().at(0)["ids"]);
  CHECK(answers[1]["prompt_tokens"] < answers[0]["prompt_tokens"].get<size_t>() + 20);
  const Outcome text = RunFine({"run", Talker().path(), "--quiet", "--temp", "0", "-n", "2"}, "hello\nworld\n");
  CHECK(text.err.empty());
  CHECK(std::count(text.out.begin(), text.out.end(), '\n') >= 2);
  CHECK(Run(Talk({})).out.empty());
}

// Starts `words`, gives it a line, waits for the answer's first byte, presses Ctrl-C, and returns what is left of it.
Outcome Interrupt(const Words& words) {
  int in[2], out[2];
  REQUIRE(pipe2(in, O_CLOEXEC) == 0);
  REQUIRE(pipe2(out, O_CLOEXEC) == 0);
  const ScratchFile err;
  const int log = open(err.path().c_str(), O_WRONLY | O_CLOEXEC);
  const pid_t child = Start(words, in[0], out[1], log);
  for (const int file : {in[0], out[1], log}) close(file);
  REQUIRE(write(in[1], "hello\n", 6) == 6);
  char byte = 0;
  while (read(out[0], &byte, 1) == 1 && byte != '\n') continue;
  usleep(300000);  // until it waits for the next line
  kill(child, SIGINT);
  const int code = Wait(child);
  close(in[1]);
  close(out[0]);
  return {code, "", err.bytes()};
}

TEST_CASE("Ctrl-C while waiting ends cleanly") {
  if (*THIMBLE_EMULATOR != 0) return;  // the signal would reach the emulator's script
  const Outcome talk = Interrupt(Talk({}));
  CHECK(talk.code == 0);
  CHECK(talk.err.empty());
  const Outcome labels = Interrupt({"classify", kIntent, "--json", "--quiet"});
  CHECK(labels.code == 1);
  CHECK(labels.err == "thimble: interrupted: after 1 text\n");
}

void CheckNumbers(const Json& json, const Words& keys) {
  for (const std::string& key : keys) {
    CAPTURE(key);
    REQUIRE(json.contains(key));
    CHECK(json[key].is_number());
  }
}

TEST_CASE("JSON has the keys that scripts read") {
  const Json bench = RunFine({"bench", kTied, "--json", "--pp", "20", "--tg", "5"}).lines().at(0);
  CheckNumbers(bench, {"prefill_tps", "decode_tps", "bytes_per_token", "read_gbps", "rss_anon_mb", "rss_file_mb"});
  for (const char* key : {"prefill_tps", "decode_tps", "read_gbps"}) CHECK(bench[key].get<double>() > 0);
  CHECK(bench["bytes_per_token"].get<size_t>() > 100000);
  CHECK(bench["bytes_per_token"].get<size_t>() < ReadBytes(kTied).size());
  const Json run = RunFine({"run", kTied, "--raw", "-p", "x", "-n", "2", "--json"}).lines().at(0);
  CheckNumbers(run, {"prompt_tokens", "tokens", "prefill_tps", "decode_tps", "seed", "arena_bytes", "rss_anon_mb",
                     "rss_file_mb"});
  CHECK(run["text"].is_string());
}

TEST_CASE("bench measures every combination from its depth, and the parts make the whole") {
  const Words sizes = {"bench", kTied, "--pp", "4,8", "--tg", "3", "--depth", "0,6", "--reps", "2", "--ctx", "32"};
  const auto with = [&](const Words& more) {
    Words words = sizes;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const Json rows = RunFine(with({"--json"})).lines().at(0);
  REQUIRE(rows.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    const Json& row = rows[i];
    CHECK(row["prefill_tokens"] == (i < 2 ? 4 : 8));
    CHECK(row["decode_tokens"] == 3);
    CHECK(row["depth"] == (i % 2 == 0 ? 0 : 6));
    CHECK(row["arena_bytes"] == rows[0]["arena_bytes"]);  // the state that is gone back to is not the session's
    CHECK(row["rss_peak_mb"].get<double>() > 0);
    for (const std::string what : {"prefill", "decode"}) {
      double sum = 0;
      for (const auto& [part, milliseconds] : row[what + "_ms_per_token"].items()) sum += milliseconds.get<double>();
      const double whole = 1000 / row[what + "_tps"].get<double>();
      CHECK(sum > 0.3 * whole);
      CHECK(sum < 1.7 * whole);  // medians of two runs, of each part by itself
    }
  }
  std::istringstream csv(RunFine(with({"--csv"})).out);
  std::vector<size_t> commas;
  for (std::string line; std::getline(csv, line);) {
    commas.push_back(static_cast<size_t>(std::count(line.begin(), line.end(), ',')));
  }
  CHECK(commas == std::vector<size_t>(5, commas.at(0)));
  CHECK(commas[0] > 20);
  const std::string table = RunFine(sizes).out;
  CHECK(std::count(table.begin(), table.end(), '\n') == 6);  // the kernels, the heads, four rows
}

TEST_CASE("bench leaves out what is not wanted, draws, and refuses what makes no sense") {
  const Json prefill = RunFine({"bench", kTied, "--json", "--pp", "4", "--tg", "0"}).lines().at(0);
  CHECK(prefill["prefill_tps"].get<double>() > 0);
  for (const char* key : {"decode_tps", "weights_gbps", "read_fraction"}) CHECK(prefill[key].is_null());
  CHECK(RunFine({"bench", kTied, "--pp", "0", "--tg", "2"}).out.find("\nprefill ") == std::string::npos);

  const ScratchFile plot;
  RunFine({"bench", kTied, "--pp", "4", "--tg", "2", "--depth", "0,5,9", "--reps", "1", "--plot", plot.path()});
  const std::string svg = plot.bytes();
  CHECK(svg.starts_with("<svg "));
  CHECK(svg.ends_with("</svg>\n"));
  size_t points = 0;
  for (size_t at = svg.find("<circle"); at != std::string::npos; at = svg.find("<circle", at + 1)) ++points;
  CHECK(points == 12);  // prefill and decode, anonymous and files, at three depths
  CHECK(svg.find("nan") == std::string::npos);

  CheckError({"bench", kTied, "--pp", "0", "--tg", "0"}, 2, "nothing to measure");
  for (const char* list : {"", "x", "1,", ",1", "1;2", "-1", "9999999999"}) {
    CheckError({"bench", kTied, "--depth", list}, 2, "--depth");
  }
  CheckError({"bench", kTied, "--json", "--csv"}, 2, "--csv");
  CheckError({"bench", kTied, "--reps", "0"}, 2, "--reps");
  CheckError({"bench", kTied, "--pp", "1,2", "--plot", plot.path()}, 2, "--plot");
  CheckError({"bench", kTied, "--pp", "2", "--tg", "1", "--plot", "/nowhere/x.svg"}, 1, "/nowhere/x.svg: no such file");
  CheckError({"bench", kTied, "--pp", "4", "--depth", "5", "--ctx", "8"}, 1, "--ctx to at least: 9");
}

TEST_CASE("with a window an answer has no end, and is the same while all of it is in sight") {
  const auto ids = [](Words more) {
    Words words = {"run", kTied, "--raw", "-p", "a window", "--temp", "0", "--ignore-eos", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return RunFine(words).lines().at(0)["ids"];
  };
  CHECK(ids({"-n", "40", "--window", "60"}) == ids({"-n", "40"}));
  CHECK(ids({"-n", "300", "--ctx", "8", "--window", "20", "--sinks", "2", "--batch", "3"}).size() == 300);
}

TEST_CASE("YaRN's plan, by the options or by the file; --lock") {
  const Json plan =
      RunFine({"inspect", kTied, "--json", "--ctx", "1010000", "--rope-scale", "4", "--rope-ctx", "262144"})
          .lines()
          .at(0)["plan"];
  CHECK(plan["context"] == 1010000);
  CHECK(plan["rope_scale"] == 4);
  CHECK(plan["rope_context"] == 262144);
  const auto logits = [](Words more) {
    Words words = {"logits", kModels + "yarn.gguf", "--ids", "1,2,3,4,5,6,7,8,9,10,11,12"};
    words.insert(words.end(), more.begin(), more.end());
    return RunFine(words).out;
  };
  const Json file = RunFine({"inspect", kModels + "yarn.gguf", "--json"}).lines().at(0)["plan"];
  const std::string scale = file["rope_scale"].dump(), context = file["rope_context"].dump();
  CHECK(logits({"--rope-scale", scale, "--rope-ctx", context}) == logits({}));
  CHECK(logits({"--rope-scale", "1"}) != logits({}));
  const Outcome locked = Run({"run", kTied, "--raw", "-p", "x", "-n", "1", "--lock"});
  CHECK((locked.code == 0 || locked.err.find("ulimit -l") != std::string::npos));
}

TEST_CASE("inspect adds up") {
  for (const std::string& model : {kTied, kIntent, kModels + "split-00001-of-00003.gguf"}) {
    const Json small = RunFine({"inspect", model, "--json", "--ctx", "64", "--tensors"}).lines().at(0);
    const Json large = RunFine({"inspect", model, "--json", "--ctx", "256", "--kv", "f32"}).lines().at(0);
    const Json& plan = small["plan"];
    const auto bytes = [](const Json& p, const char* key) { return p[key].get<size_t>(); };
    CHECK(bytes(plan, "arena") ==
          bytes(plan, "state") + bytes(plan, "cache") + bytes(plan, "work") + bytes(plan, "vocabulary"));
    CHECK(bytes(large["plan"], "cache") == 8 * bytes(plan, "cache"));
    CHECK(bytes(large["plan"], "state") == bytes(plan, "state"));
    const Json window =
        RunFine({"inspect", model, "--json", "--window", "29", "--sinks", "4", "--batch", "32"}).lines().at(0);
    CHECK(bytes(window["plan"], "cache") == bytes(plan, "cache"));
    CHECK(window["plan"]["window"] == 29);
    CHECK(window["plan"]["sinks"] == 4);
    const Json half = RunFine({"inspect", model, "--json", "--ctx", "64", "--state", "i16"}).lines().at(0);
    CHECK(bytes(half["plan"], "state") < bytes(plan, "state"));
    CHECK(half["plan"]["state_form"] == "I16");
    size_t tensors = 0, weights = 0;
    for (const auto& [type, total] : small["types"].items()) {
      tensors += total["tensors"].get<size_t>();
      weights += total["bytes"].get<size_t>();
    }
    CHECK(small["tensors"].size() == tensors);
    CHECK(bytes(plan, "weights_mapped") == weights);
    CHECK(small["architecture"]["architecture"] == "qwen35");
    const std::string table = RunFine({"inspect", model, "--ctx", "64"}).out;
    CHECK(table.find(std::to_string(bytes(plan, "arena")) + " bytes") != std::string::npos);
  }
}

TEST_CASE("plan counts a firmware's arena, and writes its header and its source") {
  const std::string pack = std::string(THIMBLE_SOURCE_DIR) + "/examples/firmware/intent.thimble";
  const Json plan = RunFine({"plan", pack, "--json", "--ctx", "64", "--batch", "2"}).lines().at(0);
  size_t sum = 0;
  for (const auto& [name, bytes] : plan.items()) {
    if (name != "arena" && name != "model") sum += bytes.get<size_t>();
  }
  CHECK(plan["arena"] == sum);
  CHECK(plan["model"] == ReadBytes(pack).size());
  const Json one = RunFine({"plan", pack, "--json", "--ctx", "64", "--batch", "1"}).lines().at(0);
  CHECK(one["work"] < plan["work"]);
  CHECK(one["cache"] == plan["cache"]);
  const std::string header = RunFine({"plan", pack, "--header", "--ctx", "64", "--batch", "2"}).out;
  CHECK(header.find(" " + plan["arena"].dump() + "  /* of the arena") != std::string::npos);
  const std::string source = RunFine({"plan", pack, "--source", "--kv", "q8", "--v", "q4"}).out;
  CHECK(source.find("{&kFormatF32, &kFormatQ4_0, &kFormatQ8_0, &kFormatIQ4_NL};") != std::string::npos);
  CHECK(source.find("  .bytes = " + plan["model"].dump() + ",") != std::string::npos);
  CHECK(source.find("{\" {text}<|im_end|>\", 17}") != std::string::npos);
  CheckError({"plan", kIntent}, 1, "thimble pack");
  CheckError({"plan", kTied}, 1, "thimble.prompt");
}

}  // namespace
}  // namespace thimble::test
