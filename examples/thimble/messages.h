// SPDX-License-Identifier: Apache-2.0
//
// A conversation as a JSON file in OpenAI's shape: a list of messages, or an object with "messages" and "tools". It
// reads and owns; what a template makes of it is io/chat.h's business.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "io/chat.h"
#include "json_value.h"

namespace thimble::program {

class Messages {
 public:
  Messages() = default;
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;

  /// Reads a conversation. A message has a role (system, user, assistant, tool), a content (text, a list of text parts,
  /// or null), and perhaps reasoning_content and tool_calls, whose arguments are an object or the JSON text of one.
  /// Other keys are passed over. kBadArgument names the value that is wrong; the error's views live as long as this.
  Error Parse(std::string_view json);

  /// What was read, as views.
  const Conversation& conversation() const { return conversation_; }

 private:
  Error Wrong(std::string what, std::string where);
  Error ReadMessage(const JsonValue& value, const std::string& where, Message* message);
  Error ReadContent(const JsonValue* value, const std::string& where, std::string_view* content);
  Error ReadCall(const JsonValue& value, const std::string& where, ToolCall* call);
  Error ReadArguments(const JsonValue* value, const std::string& where, ToolCall* call);
  std::string_view Keep(std::string text) { return texts_.emplace_back(std::move(text)); }

  JsonValue root_;
  std::string what_, where_;  // of an error
  std::deque<std::string> texts_;
  std::deque<JsonValue> parsed_;  // arguments that were JSON within a string
  std::deque<std::vector<ToolArgument>> arguments_;
  std::deque<std::vector<ToolCall>> calls_;
  std::vector<Message> messages_;
  std::vector<std::string_view> tools_;
  Conversation conversation_;
};

}  // namespace thimble::program
