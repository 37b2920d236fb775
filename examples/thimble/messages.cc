// SPDX-License-Identifier: Apache-2.0
//
// See messages.h.
#include "messages.h"

namespace thimble::program {
namespace {

using Kind = JsonValue::Kind;

bool IsNothing(const JsonValue* value) { return value == nullptr || value->is(Kind::kNull); }

std::string At(const std::string& list, size_t i) { return list + "[" + std::to_string(i) + "]"; }

bool RoleOf(std::string_view text, Role* role) {
  constexpr std::pair<std::string_view, Role> kRoles[] = {
      {"system", Role::kSystem}, {"user", Role::kUser}, {"assistant", Role::kAssistant}, {"tool", Role::kTool}};
  for (const auto& [name, value] : kRoles) {
    if (text == name) return *role = value, true;
  }
  return false;
}

}  // namespace

Error Messages::Wrong(std::string what, std::string where) {
  what_ = std::move(what);
  where_ = std::move(where);
  return {Status::kBadArgument, what_.c_str(), where_};
}

Error Messages::Parse(std::string_view json) {
  std::string problem;
  if (!ParseJson(json, &root_, &problem)) return Wrong(problem, "--messages");
  const JsonValue* list = root_.is(Kind::kList) ? &root_ : root_.Find("messages");
  if (list == nullptr || !list->is(Kind::kList)) {
    return Wrong("there must be a list of messages, or an object that has one as \"messages\"", "--messages");
  }
  messages_.resize(list->items.size());
  for (size_t i = 0; i < messages_.size(); ++i) {
    const Error error = ReadMessage(list->items[i], At("messages", i), &messages_[i]);
    if (!error.ok()) return error;
  }
  const JsonValue* tools = root_.Find("tools");
  if (!IsNothing(tools)) {
    if (!tools->is(Kind::kList)) return Wrong("this must be a list", "tools");
    for (const JsonValue& tool : tools->items) tools_.push_back(Keep(tool.Dump()));
  }
  conversation_.messages = messages_;
  conversation_.tools = tools_;
  return {};
}

Error Messages::ReadMessage(const JsonValue& value, const std::string& where, Message* message) {
  const JsonValue* role = value.Find("role");
  if (role == nullptr || !role->is(Kind::kString) || !RoleOf(role->text, &message->role)) {
    return Wrong("this must be system, user, assistant or tool", where + ".role");
  }
  const Error content = ReadContent(value.Find("content"), where + ".content", &message->content);
  if (!content.ok()) return content;
  const JsonValue* reasoning = value.Find("reasoning_content");
  if (!IsNothing(reasoning)) {
    if (!reasoning->is(Kind::kString)) return Wrong("this must be a text", where + ".reasoning_content");
    message->reasoning = reasoning->text;
    message->has_reasoning = true;
  }
  const JsonValue* calls = value.Find("tool_calls");
  if (IsNothing(calls)) return {};
  if (!calls->is(Kind::kList)) return Wrong("this must be a list", where + ".tool_calls");
  std::vector<ToolCall>& kept = calls_.emplace_back(calls->items.size());
  for (size_t i = 0; i < kept.size(); ++i) {
    const Error error = ReadCall(calls->items[i], At(where + ".tool_calls", i), &kept[i]);
    if (!error.ok()) return error;
  }
  message->tool_calls = kept;
  return {};
}

Error Messages::ReadContent(const JsonValue* value, const std::string& where, std::string_view* content) {
  if (IsNothing(value)) return {};
  if (value->is(Kind::kString)) {
    *content = value->text;
    return {};
  }
  if (!value->is(Kind::kList)) return Wrong("this must be a text or a list of text parts", where);
  std::string parts;
  for (size_t i = 0; i < value->items.size(); ++i) {
    const JsonValue* text = value->items[i].Find("text");
    if (text == nullptr || !text->is(Kind::kString)) return Wrong("only parts of text can be read", At(where, i));
    parts += text->text;
  }
  *content = Keep(std::move(parts));
  return {};
}

Error Messages::ReadCall(const JsonValue& value, const std::string& where, ToolCall* call) {
  const JsonValue* function = value.Find("function");
  if (function == nullptr) function = &value;
  const JsonValue* name = function->Find("name");
  if (name == nullptr || !name->is(Kind::kString)) return Wrong("this must be a text", where + ".function.name");
  call->name = name->text;
  return ReadArguments(function->Find("arguments"), where + ".function.arguments", call);
}

Error Messages::ReadArguments(const JsonValue* value, const std::string& where, ToolCall* call) {
  if (IsNothing(value)) return {};
  if (value->is(Kind::kString)) {
    if (value->text.empty()) return {};
    std::string problem;
    JsonValue& parsed = parsed_.emplace_back();
    if (!ParseJson(value->text, &parsed, &problem)) return Wrong(problem, where);
    value = &parsed;
  }
  if (!value->is(Kind::kObject)) return Wrong("this must be an object, or the JSON text of one", where);
  std::vector<ToolArgument>& kept = arguments_.emplace_back();
  for (size_t i = 0; i < value->items.size(); ++i) {
    const JsonValue& item = value->items[i];
    const bool is_text = item.is(Kind::kString);
    kept.push_back({value->keys[i], is_text ? item.text : Keep(item.Dump()), !is_text});
  }
  call->arguments = kept;
  return {};
}

}  // namespace thimble::program
