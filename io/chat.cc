// SPDX-License-Identifier: Apache-2.0
//
// The renderer: walks a conversation once and hands pieces to a Writer, which makes text or tokens of them.
#include "io/chat.h"

#include <cstring>

#include "io/white_space.h"

namespace thimble {
namespace {

std::string_view TrimNewlinesLeft(std::string_view s) {
  while (s.starts_with('\n')) s.remove_prefix(1);
  return s;
}

std::string_view TrimNewlinesRight(std::string_view s) {
  while (s.ends_with('\n')) s.remove_suffix(1);
  return s;
}

/// Takes the pieces of a rendering in order. Text: copies them. Tokens: gathers the text between special tokens, since
/// merges cross the borders of pieces, and encodes each stretch as one. Counts on when there is no more room.
class Writer {
 public:
  explicit Writer(std::span<char> out) : text_(out) {}
  Writer(std::span<char> scratch, Tokenizer& tokenizer, std::span<Token> out)
      : text_(scratch), tokenizer_(&tokenizer), out_(out) {}

  /// What the template says: special tokens are recognised in it, each within one piece.
  void Own(std::string_view text) {
    while (tokenizer_ != nullptr) {
      const Tokenizer::Special special = tokenizer_->NextSpecial(text);
      if (special.bytes == 0) break;
      Given(text.substr(0, special.at));
      EndStretch();
      Push(special.token);
      text.remove_prefix(special.at + special.bytes);
    }
    Given(text);
  }

  /// What a person, a tool or a model wrote: text.
  void Given(std::string_view text) {
    if (!text.empty() && used_ <= text_.size() && text.size() <= text_.size() - used_) {
      std::memcpy(text_.data() + used_, text.data(), text.size());
    }
    used_ += text.size();
  }

  Result<size_t> Finish() {
    if (tokenizer_ != nullptr) EndStretch();
    const size_t needed = tokenizer_ != nullptr ? longest_ : used_;
    if (needed > text_.size()) {
      constexpr const char* kWhat = "the buffer for the conversation's text is too small; it needs this many bytes";
      return Error{Status::kTooSmall, kWhat, {}, {}, needed};
    }
    if (!error_.ok()) return error_;
    if (tokenizer_ == nullptr) return used_;
    if (count_ > out_.size()) {
      constexpr const char* kWhat = "the buffer for the conversation's tokens is too small; it needs this many";
      return Error{Status::kTooSmall, kWhat, {}, {}, count_};
    }
    return count_;
  }

 private:
  void EndStretch() {
    if (used_ > longest_) longest_ = used_;
    if (used_ != 0 && used_ <= text_.size() && error_.ok()) {
      const std::span<Token> room = out_.subspan(count_ < out_.size() ? count_ : out_.size());
      const Result<size_t> encoded = tokenizer_->Encode({text_.data(), used_}, Specials::kText, room);
      if (encoded) {
        count_ += *encoded;
      } else if (encoded.error().status == Status::kTooSmall) {
        count_ += static_cast<size_t>(encoded.error().at);
      } else {
        error_ = encoded.error();
      }
    }
    used_ = 0;
  }

  void Push(Token token) {
    if (count_ < out_.size()) out_[count_] = token;
    ++count_;
  }

  std::span<char> text_;            // everything, or the present stretch
  size_t used_ = 0;                 // bytes that text_ holds or would hold
  size_t longest_ = 0;              // stretch, bytes
  Tokenizer* tokenizer_ = nullptr;  // null: text
  std::span<Token> out_;
  size_t count_ = 0;  // tokens that out_ holds or would hold
  Error error_;
};

constexpr std::string_view kRoleNames[] = {"system", "user", "assistant", "tool"};

constexpr std::string_view kToolsBegin =
    "<|im_start|>system\n# Tools\n\nYou have access to the following functions:\n\n<tools>";
constexpr std::string_view kToolsEnd =
    "\n</tools>\n\nIf you choose to call a function ONLY reply in the following format with NO suffix:\n\n"
    "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n"
    "<parameter=example_parameter_2>\nThis is the value for the second parameter\nthat can span\nmultiple lines\n"
    "</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\nReminder:\n"
    "- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within "
    "<tool_call></tool_call> XML tags\n- Required parameters MUST be specified\n"
    "- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT "
    "after\n- If there is no function call available, answer the question like normal with your current knowledge and "
    "do "
    "not tell the user about function calls\n</IMPORTANT>";

Error BadMessage(const char* what, size_t index) { return {Status::kBadArgument, what, {}, {}, index}; }

/// The answer's start that the caller's wish and the template come to.
Result<AnswerStart> ChooseStart(const ChatTemplate& chat, Thinking thinking) {
  if (thinking == Thinking::kTemplate) return chat.start;
  const bool on = thinking == Thinking::kOn;
  if (chat.format == ChatFormat::kQwen35) return on ? AnswerStart::kThinkOpen : AnswerStart::kThinkClosed;
  if (on == (chat.start == AnswerStart::kThinkOpen)) return chat.start;
  return Error{
      Status::kUnsupported,
      "this file's chat template has no switch for thinking; leave the switch out, or use the built-in Qwen3.5 "
      "template (--template builtin)"};
}

void RenderStart(AnswerStart start, Writer& out) {
  out.Own("<|im_start|>assistant\n");
  if (start == AnswerStart::kThinkOpen) out.Own("<think>\n");
  if (start == AnswerStart::kThinkClosed) out.Own("<think>\n\n</think>\n\n");
}

/// What follows an answer goes on behind its <|im_end|> and says only what the model has not seen.
Error CheckAfterAnswer(const Conversation& conversation) {
  if (!conversation.tools.empty()) {
    return BadMessage("tools belong to the beginning of a conversation; the model has seen them before its answer", 0);
  }
  if (conversation.messages.empty()) return BadMessage("no message follows the answer", 0);
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    const Role role = conversation.messages[i].role;
    if (role != Role::kUser && role != Role::kTool)
      return BadMessage("only user and tool messages follow an answer", i);
  }
  return {};
}

/// The system turn: tools, then what the first message says when it is the system's.
void RenderSystem(const Conversation& conversation, Writer& out) {
  const Message& first = conversation.messages[0];
  const bool has_system = first.role == Role::kSystem;
  const std::string_view content = has_system ? Trim(first.content) : std::string_view{};
  if (!conversation.tools.empty()) {
    out.Own(kToolsBegin);
    for (const std::string_view tool : conversation.tools) {
      out.Own("\n");
      out.Given(tool);
    }
    out.Own(kToolsEnd);
    if (!content.empty()) out.Own("\n\n");
  } else if (has_system) {
    out.Own("<|im_start|>system\n");
  } else {
    return;
  }
  out.Given(content);
  out.Own("<|im_end|>\n");
}

/// The last user message that is not the answer of a tool in disguise; answers behind it keep their thinking.
Result<size_t> LastQuestion(std::span<const Message> messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    if (messages[i].role != Role::kUser) continue;
    const std::string_view content = Trim(messages[i].content);
    if (!content.starts_with("<tool_response>") || !content.ends_with("</tool_response>")) return i;
  }
  return BadMessage("no message of this conversation is a user's question", 0);
}

void RenderArgument(const ChatTemplate& chat, const ToolArgument& argument, Writer& out) {
  out.Own("<parameter=");
  out.Given(argument.name);
  out.Own(">\n");
  const bool as_python = argument.is_json && !chat.json_literals;
  if (as_python && argument.value == "true") {
    out.Own("True");
  } else if (as_python && argument.value == "false") {
    out.Own("False");
  } else if (as_python && argument.value == "null") {
    out.Own("None");
  } else {
    out.Given(argument.value);
  }
  out.Own("\n</parameter>\n");
}

void RenderAnswer(const ChatTemplate& chat, const Message& message, bool with_thinking, Writer& out) {
  std::string_view content = Trim(message.content);
  std::string_view reasoning = message.reasoning;
  if (!message.has_reasoning) {
    constexpr std::string_view kOpen = "<think>", kClose = "</think>";
    reasoning = {};
    if (const size_t first = content.find(kClose); first != content.npos) {
      reasoning = TrimNewlinesRight(content.substr(0, first));
      if (const size_t open = reasoning.rfind(kOpen); open != reasoning.npos) {
        reasoning.remove_prefix(open + kOpen.size());
      }
      content = TrimNewlinesLeft(content.substr(content.rfind(kClose) + kClose.size()));
    }
  }
  out.Own("<|im_start|>assistant\n");
  if (with_thinking) {
    out.Own("<think>\n");
    out.Given(Trim(reasoning));
    out.Own("\n</think>\n\n");
  }
  out.Given(content);
  bool first = true;
  for (const ToolCall& call : message.tool_calls) {
    if (!first) out.Own("\n");
    if (first && !Trim(content).empty()) out.Own("\n\n");
    first = false;
    out.Own("<tool_call>\n<function=");
    out.Given(call.name);
    out.Own(">\n");
    for (const ToolArgument& argument : call.arguments) RenderArgument(chat, argument, out);
    out.Own("</function>\n</tool_call>");
  }
  out.Own("<|im_end|>\n");
}

/// Results that follow each other share one user turn. One at the very beginning of a conversation gets no turn opened,
/// since the template opens it only behind another message.
void RenderToolResult(const Conversation& conversation, size_t i, Writer& out) {
  const std::span<const Message> messages = conversation.messages;
  if (i == 0 ? conversation.after_answer : messages[i - 1].role != Role::kTool) out.Own("<|im_start|>user");
  out.Own("\n<tool_response>\n");
  out.Given(Trim(messages[i].content));
  out.Own("\n</tool_response>");
  if (i + 1 == messages.size() || messages[i + 1].role != Role::kTool) out.Own("<|im_end|>\n");
}

Error RenderQwen35(const ChatTemplate& chat, const Conversation& conversation, Writer& out) {
  const std::span<const Message> messages = conversation.messages;
  if (messages.empty()) return BadMessage("a conversation needs at least one message", 0);
  size_t last_question = 0;
  if (conversation.after_answer) {
    out.Own("\n");
  } else {
    RenderSystem(conversation, out);
    const Result<size_t> found = LastQuestion(messages);
    if (!found) return found.error();
    last_question = *found;
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    switch (messages[i].role) {
      case Role::kSystem:
        if (i != 0) return BadMessage("a system message must be the first one", i);
        break;
      case Role::kUser:
        out.Own("<|im_start|>user\n");
        out.Given(Trim(messages[i].content));
        out.Own("<|im_end|>\n");
        break;
      case Role::kAssistant:
        RenderAnswer(chat, messages[i], i > last_question, out);
        break;
      case Role::kTool:
        RenderToolResult(conversation, i, out);
        break;
      default:
        return BadMessage("a message has a role that does not exist", i);
    }
  }
  return {};
}

Error RenderChatMl(const ChatTemplate& chat, const Conversation& conversation, Writer& out) {
  constexpr const char* kNoTools =
      "this file's chat template has no tools; use the built-in Qwen3.5 template (--template builtin)";
  if (!conversation.tools.empty()) return {Status::kUnsupported, kNoTools};
  const std::string_view newline = chat.newline_after_turn ? "\n" : "";
  if (conversation.after_answer) out.Own(newline);
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    const Message& message = conversation.messages[i];
    if (message.role > Role::kTool) return BadMessage("a message has a role that does not exist", i);
    if (!message.tool_calls.empty()) return {Status::kUnsupported, kNoTools, {}, {}, i};
    out.Own("<|im_start|>");
    out.Own(kRoleNames[static_cast<size_t>(message.role)]);
    out.Own("\n");
    out.Given(message.content);
    out.Own("<|im_end|>");
    out.Own(newline);
  }
  return {};
}

Result<size_t> Render(const ChatTemplate& chat, const Conversation& conversation, Writer& out) {
  if (conversation.after_answer) {
    if (const Error error = CheckAfterAnswer(conversation); !error.ok()) return error;
  }
  const Result<AnswerStart> start = ChooseStart(chat, conversation.thinking);
  if (!start) return start.error();
  const Error error = chat.format == ChatFormat::kQwen35 ? RenderQwen35(chat, conversation, out)
                                                         : RenderChatMl(chat, conversation, out);
  if (!error.ok()) return error;
  if (conversation.add_generation_prompt) RenderStart(*start, out);
  return out.Finish();
}

}  // namespace

Result<size_t> RenderText(const ChatTemplate& chat, const Conversation& conversation, std::span<char> out) {
  Writer writer(out);
  return Render(chat, conversation, writer);
}

Result<size_t> RenderTokens(const ChatTemplate& chat, const Conversation& conversation, Tokenizer& tokenizer,
                            std::span<char> scratch, std::span<Token> out) {
  Writer writer(scratch, tokenizer, out);
  return Render(chat, conversation, writer);
}

}  // namespace thimble
