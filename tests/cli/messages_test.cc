// SPDX-License-Identifier: Apache-2.0
//
// Conversations as JSON: every golden conversation, written as an OpenAI client would, renders to Hugging Face's text;
// JSON is printed again as Python prints it (tests/golden/json_text.py); what is wrong is named.
#include "examples/thimble/messages.h"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

namespace thimble::program {
namespace {

using Json = nlohmann::ordered_json;

const std::string kData = std::string(THIMBLE_SOURCE_DIR) + "/tests/data/";

std::string ReadFile(const std::string& name) {
  std::ifstream in(kData + name, std::ios::binary);
  REQUIRE_MESSAGE(in, name);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A golden conversation: what a client sends, and what Hugging Face renders.
struct Case {
  std::string name, chat, thinking, text;
  bool prompt = true;
  Json messages = Json::array(), tools = Json::array();
  bool refused = false;

  void Take(const std::string& key, const std::string& value) {
    const auto call = [&]() -> Json& { return messages.back()["tool_calls"].back()["function"]; };
    if (key == "template") chat = value;
    if (key == "thinking") thinking = value;
    if (key == "prompt") prompt = value == "1";
    if (key == "tool") tools.push_back(Json::parse(value));
    if (key == "role") messages.push_back({{"role", value}});
    if (key == "content") messages.back()["content"] = value;
    if (key == "reasoning") messages.back()["reasoning_content"] = value;
    if (key == "call") {
      const Json function = {{"name", value}, {"arguments", Json::object()}};
      messages.back()["tool_calls"].push_back({{"type", "function"}, {"function", function}});
    }
    if (key == "argument") call()["arguments"][value] = nullptr;
    if (key == "value") call()["arguments"].back() = value;
    if (key == "json") call()["arguments"].back() = Json::parse(value);
    if (key == "text") text = value;
    if (key == "error") refused = true;
  }

  /// As clients of OpenAI's send them: arguments as a string of JSON.
  void QuoteArguments() {
    for (Json& message : messages) {
      if (!message.contains("tool_calls")) continue;
      for (Json& made : message["tool_calls"]) made["function"]["arguments"] = made["function"]["arguments"].dump();
    }
  }
};

std::vector<Case> GoldenCases() {
  const std::string bytes = ReadFile("chat/conversations.txt");
  std::vector<Case> cases;
  for (size_t at = 0; at < bytes.size();) {
    const size_t space = bytes.find(' ', at), line = bytes.find('\n', at);
    const std::string key = bytes.substr(at, space - at);
    const size_t size = std::stoul(bytes.substr(space + 1, line - space - 1));
    const std::string value = bytes.substr(line + 1, size);
    at = line + 1 + size + 1;
    if (key == "case") cases.emplace_back().name = value;
    if (!cases.empty()) cases.back().Take(key, value);
  }
  return cases;
}

ChatTemplate TemplateOf(const std::string& name) {
  ChatTemplate chat;
  chat.start = name == "off" ? AnswerStart::kThinkClosed : AnswerStart::kThinkOpen;
  chat.json_literals = name == "literals";
  return chat;
}

std::string Rendered(const Case& c, const Messages& messages) {
  Conversation conversation = messages.conversation();
  conversation.thinking = c.thinking == "on"    ? Thinking::kOn
                          : c.thinking == "off" ? Thinking::kOff
                                                : Thinking::kTemplate;
  conversation.add_generation_prompt = c.prompt;
  std::vector<char> out(65536);
  const Result<size_t> size = RenderText(TemplateOf(c.chat), conversation, out);
  return size ? std::string(out.data(), *size) : "refused";
}

TEST_CASE("every golden conversation, sent as JSON, is rendered as Hugging Face renders it") {
  size_t checked = 0;
  for (Case& c : GoldenCases()) {
    if (c.chat != "on" && c.chat != "off" && c.chat != "literals") continue;
    CAPTURE(c.name);
    for (const bool quoted : {false, true}) {
      if (quoted) c.QuoteArguments();
      const bool list = c.tools.empty() && !quoted;
      const Json whole = list ? c.messages : Json{{"model", "m"}, {"messages", c.messages}, {"tools", c.tools}};
      Messages messages;
      REQUIRE(messages.Parse(whole.dump(quoted ? 3 : -1, ' ', quoted)).ok());
      CHECK(Rendered(c, messages) == (c.refused ? "refused" : c.text));
      ++checked;
    }
  }
  CHECK(checked >= 160);
}

TEST_CASE("JSON is printed again as Python prints it") {
  const std::string lines = ReadFile("json/python.txt");
  size_t checked = 0;
  for (size_t at = 0; at < lines.size(); ++checked) {
    const size_t tab = lines.find('\t', at), end = lines.find('\n', at);
    const std::string written = lines.substr(at, tab - at);
    CAPTURE(written);
    JsonValue value;
    std::string problem;
    REQUIRE(ParseJson(written, &value, &problem));
    CHECK(value.Dump() == lines.substr(tab + 1, end - tab - 1));
    at = end + 1;
  }
  CHECK(checked >= 390);
}

TEST_CASE("text parts are joined, null is nothing, and a call may do without its wrapping") {
  Messages messages;
  REQUIRE(messages
              .Parse(R"([{"role":"user","content":[{"type":"text","text":"a "},{"text":"b"}]},
                         {"role":"assistant","content":null,"reasoning_content":null,
                          "tool_calls":[{"name":"f","arguments":""},{"function":{"name":"g"}}]},
                         {"role":"tool"}])")
              .ok());
  const auto& read = messages.conversation().messages;
  REQUIRE(read.size() == 3);
  CHECK(read[0].content == "a b");
  CHECK(read[1].content.empty());
  CHECK_FALSE(read[1].has_reasoning);
  REQUIRE(read[1].tool_calls.size() == 2);
  CHECK(read[1].tool_calls[0].name == "f");
  CHECK(read[1].tool_calls[1].name == "g");
  CHECK(read[1].tool_calls[1].arguments.empty());
  CHECK(read[2].role == Role::kTool);
}

TEST_CASE("what is wrong is named") {
  const std::string deep(65, '[');
  const std::string user = R"({"role":"user","content":"x"})";
  const std::pair<std::string, std::string> kWrong[] = {
      {"", "--messages"},
      {"{", "--messages"},
      {"3", "--messages"},
      {"{\"messages\":{}}", "--messages"},
      {"[\"\xff\"]", "--messages"},
      {"[1e999]", "--messages"},
      {deep, "--messages"},
      {"[3]", "messages[0].role"},
      {"[{\"role\":\"narrator\"}]", "messages[0].role"},
      {"[" + user + ",{\"role\":\"user\",\"content\":3}]", "messages[1].content"},
      {R"([{"role":"user","content":[{"type":"image_url","image_url":"x"}]}])", "messages[0].content[0]"},
      {R"([{"role":"assistant","reasoning_content":3}])", "messages[0].reasoning_content"},
      {R"([{"role":"assistant","tool_calls":{}}])", "messages[0].tool_calls"},
      {R"([{"role":"assistant","tool_calls":[{}]}])", "messages[0].tool_calls[0].function.name"},
      {R"([{"role":"assistant","tool_calls":[{"name":"f","arguments":[]}]}])",
       "messages[0].tool_calls[0].function.arguments"},
      {R"([{"role":"assistant","tool_calls":[{"name":"f","arguments":"{"}]}])",
       "messages[0].tool_calls[0].function.arguments"},
      {"{\"messages\":[" + user + "],\"tools\":{}}", "tools"}};
  for (const auto& wrong : kWrong) {
    const std::string &json = wrong.first, &where = wrong.second;
    CAPTURE(json);
    Messages messages;
    const Error error = messages.Parse(json);
    CHECK(error.status == Status::kBadArgument);
    CHECK(error.name == where);
    CHECK(*error.what != 0);
  }
  JsonValue value;
  std::string problem;
  CHECK(ParseJson(std::string(64, '[') + std::string(64, ']'), &value, &problem));
}

}  // namespace
}  // namespace thimble::program
