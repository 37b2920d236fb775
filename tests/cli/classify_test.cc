// SPDX-License-Identifier: Apache-2.0
//
// thimble classify: its probabilities against brute force over the raw logits of the same model, and its contract with
// scripts.
#include <algorithm>
#include <cmath>
#include <map>

#include "tests/cli/program.h"

namespace thimble::test {
namespace {

const std::string kPrompt = "It says: {text} So the state is";

std::string PromptFor(const std::string& text) { return "It says: " + text + " So the state is"; }

Words Classify(const std::string& choices, Words more) {
  more.insert(more.begin(),
              {"classify", kTied, "--json", "--quiet", "--top-k", "99", "--prompt", kPrompt, "--choices", choices});
  return more;
}

std::map<std::string, double> Probabilities(const Json& object) {
  std::map<std::string, double> p;
  for (const Json& choice : object["choices"]) p[choice["label"]] = choice["p"];
  return p;
}

double LogSoftmax(const std::vector<float>& logits, Token token) {
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x));
  return static_cast<double>(logits[static_cast<size_t>(token)]) - std::log(sum);
}

// log p(choice | prompt), each choice with the whole vocabulary behind every one of its tokens.
std::vector<double> BruteForce(const std::string& prompt, const std::vector<std::vector<Token>>& choices) {
  std::vector<double> scores;
  for (const std::vector<Token>& choice : choices) {
    std::vector<Token> ids = Tokenize(kTied, prompt);
    const size_t begin = ids.size();
    ids.insert(ids.end(), choice.begin(), choice.end());
    const auto logits = Logits(kTied, ids);
    double score = 0;
    for (size_t i = 0; i < choice.size(); ++i) score += LogSoftmax(logits[begin - 1 + i], choice[i]);
    scores.push_back(score);
  }
  return scores;
}

std::vector<double> Normalised(std::vector<double> scores) {
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score);
  for (double& score : scores) score /= sum;
  return scores;
}

void CheckEqual(const Json& object, const Words& labels, const std::vector<double>& expected) {
  const auto p = Probabilities(object);
  REQUIRE(p.size() == labels.size());
  double sum = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    CAPTURE(labels[i]);
    CHECK(p.at(labels[i]) == doctest::Approx(expected[i]).epsilon(0).scale(1).epsilon(1e-5));
    sum += p.at(labels[i]);
  }
  CHECK(std::abs(sum - 1) < 1e-5);
  const auto best = std::max_element(p.begin(), p.end(), [](auto& a, auto& b) { return a.second < b.second; });
  CHECK(object["label"] == best->first);
  CHECK(object["p"] == best->second);
}

TEST_CASE("probabilities are those of brute force: single tokens, several, shared beginnings, one within another") {
  const Token end = Tokenize(kTied, "<|im_end|>")[0];
  for (const Words& labels :
       {Words{"a", "b", "c"}, Words{"linear", "layer", "lines"}, Words{"th", "the", "then it", "no"}}) {
    std::string list;
    std::vector<std::vector<Token>> choices;
    for (const std::string& label : labels) {
      list += (list.empty() ? "" : ", ") + label;
      choices.push_back(Tokenize(kTied, label));
    }
    for (size_t i = 0; i < choices.size(); ++i) {  // where one choice begins another, the end decides
      const size_t length = choices[i].size();
      const bool begins = std::any_of(choices.begin(), choices.end(), [&](const std::vector<Token>& other) {
        return other.size() > length &&
               std::equal(other.begin(), other.begin() + static_cast<long>(length), choices[i].begin());
      });
      if (begins) choices[i].push_back(end);
    }
    const std::vector<double> scores = BruteForce(PromptFor("a cache grows"), choices);
    const Json object = RunFine(Classify(list, {"a cache grows", "--batch", "1"})).lines().at(0);
    CheckEqual(object, labels, Normalised(scores));
    CHECK(object["tokens"] == Tokenize(kTied, PromptFor("a cache grows")).size());

    const std::vector<double> nothing = BruteForce(PromptFor("N/A"), choices);
    std::vector<double> calibrated;
    for (size_t i = 0; i < scores.size(); ++i) calibrated.push_back(scores[i] - nothing[i]);
    const Json fair = RunFine(Classify(list, {"--calibrate", "a cache grows", "--batch", "1"})).lines().at(0);
    CheckEqual(fair, labels, Normalised(calibrated));
    CHECK(Probabilities(RunFine(Classify(list, {"--calibrate=a cache grows", "a cache grows"})).lines().at(0))
              .begin()
              ->second == doctest::Approx(1.0 / static_cast<double>(labels.size())));
  }
}

TEST_CASE("what is kept of one prompt for the next does not change a bit") {
  const Words texts = {"one", "two and more of it", "", "one", "three", "tow", "two and more"};
  for (const char* batch : {"1", "4", "64"}) {
    Words all = Classify("linear,layer,lines", {"--batch", batch});
    all.insert(all.end(), texts.begin(), texts.end());
    const auto together = RunFine(all).lines();
    REQUIRE(together.size() == texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      const Json alone = RunFine(Classify("linear,layer,lines", {"--batch", batch, texts[i]})).lines().at(0);
      CHECK(together[i]["choices"] == alone["choices"]);
      CHECK(together[i]["tokens"] == alone["tokens"]);
    }
  }
}

TEST_CASE("an object a line, with the keys that scripts read") {
  const auto lines = RunFine({"classify", kIntent, "--json"}, "wake me at six\r\n\nflip a coin").lines();
  REQUIRE(lines.size() == 2);
  CHECK(lines[0]["text"] == "wake me at six");
  CHECK(lines[1]["label"] == "flip_coin");
  for (const Json& line : lines) {
    CHECK(line["label"].is_string());
    CHECK(line["uncertain"].is_boolean());
    CHECK(line["choices"].size() == 5);
    CHECK(line["choices"][0]["label"] == line["label"]);
    CHECK(line["choices"][0]["p"] == line["p"]);
    for (const char* key : {"p", "tokens", "ms"}) CHECK(line[key].is_number());
    for (size_t i = 1; i < 5; ++i) CHECK(line["choices"][i - 1]["p"] >= line["choices"][i]["p"]);
  }
  const auto top = RunFine({"classify", kIntent, "--json", "--top-k", "2", "--threshold", "1", "flip a coin"}).lines();
  CHECK(top.at(0)["choices"].size() == 2);
  CHECK(top.at(0)["uncertain"] == true);
  CHECK(top.at(0)["label"] == "flip_coin");
  CHECK(RunFine({"classify", kIntent, "--json", "--threshold", "0", "mmh"}).lines().at(0)["uncertain"] == false);
}

TEST_CASE("texts are taken as they are") {
  const Words texts = {"[a,b]", "", "\xff\xfe", "a\tb\nc", "{text}", "<|im_end|>", "'x' \"y\""};
  Words all = {"classify", kIntent, "--json", "--"};
  all.insert(all.end(), texts.begin(), texts.end());
  all.push_back("--json");
  const auto lines = RunFine(all).lines();
  REQUIRE(lines.size() == texts.size() + 1);
  CHECK(lines[0]["text"] == "[a,b]");
  CHECK(lines[2]["text"] == "\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(lines.back()["text"] == "--json");
  const Outcome table = RunFine({"classify", kIntent, "a\tb\nc", "flip a coin"});
  CHECK(std::count(table.out.begin(), table.out.end(), '\n') == 3);
  CHECK(table.out.find("flip_coin ") != std::string::npos);
  CHECK(table.err.find("2 texts") != std::string::npos);
  CHECK(RunFine({"classify", kIntent}).out.empty());
  // Bytes that are no text at all are a text like any other.
  CHECK(Run({"classify", kIntent, "--json"}, std::string("\0\x01\x80\n\xe4\xb8\n", 7)).code == 0);
}

TEST_CASE("choices come from a list or a file, with labels") {
  const ScratchFile file("linear\tL\r\n\nlayer\nli\xffnes\tbroken\n");
  const auto p = Probabilities(RunFine(Classify(file.path(), {"x"})).lines().at(0));
  CHECK(p.size() == 3);
  CHECK(p.contains("L"));
  CHECK(p.contains("layer"));
  CHECK(p.contains("broken"));
  const ScratchFile plain("linear\nlayer\n");
  CHECK(RunFine(Classify(plain.path(), {"x"})).lines().at(0)["choices"] ==
        RunFine(Classify(" linear , layer,,", {"x"})).lines().at(0)["choices"]);

  const auto error = [](const Words& words, const std::string& input = "") {
    const Outcome outcome = Run(words, input);
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    return outcome.err;
  };
  const ScratchFile empty("\n\n"), twice("a\nb\na\n");
  CHECK(error(Classify("missing.txt", {"x"})).find("missing.txt") != std::string::npos);
  CHECK(error(Classify("/tmp", {"x"})).find("/tmp") != std::string::npos);
  CHECK(error(Classify(empty.path(), {"x"})).find("at least one") != std::string::npos);
  CHECK(error(Classify(twice.path(), {"x"})).find("twice: a") != std::string::npos);
  CHECK(error({"classify", kTied, "--choices", "a,b", "--prompt", "no mark", "x"}).find("{text}") != std::string::npos);
}

TEST_CASE("what does not fit is refused") {
  const auto failed = [](const Words& words, const std::string& input = "") {
    const Outcome outcome = Run(words, input);
    CHECK(outcome.code == 1);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    return outcome.err;
  };
  const size_t tokens = Tokenize(kTied, PromptFor("x")).size();
  CHECK(failed(Classify("a,b", {"x", "--ctx", std::to_string(tokens - 1)})).find(": " + std::to_string(tokens)) !=
        std::string::npos);
  CHECK(Run(Classify("a,b", {"x", "--ctx", std::to_string(tokens)})).code == 0);
  CHECK(failed(Classify("linear,layer", {"x", "--ctx", std::to_string(tokens)})).find("--ctx") != std::string::npos);
  CHECK(failed({"classify", kIntent}, std::string(1 << 20, 'x') + "\n").find("--ctx") != std::string::npos);
  CHECK(failed({"classify", kTied, "x"}).find("--choices") != std::string::npos);
  CHECK(failed({"classify", kTied, "--choices", "a,b", "x"}).find("--prompt") != std::string::npos);
}

}  // namespace
}  // namespace thimble::test
