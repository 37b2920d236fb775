// SPDX-License-Identifier: Apache-2.0
//
// Conversations to tokens: Qwen3.5's chat template, rendered by code, not by an interpreter of templates. What a person
// or a tool wrote stays text, whatever it spells; it never reads tools' JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/config.h"
#include "core/error.h"
#include "io/gguf.h"
#include "io/tokenizer.h"

namespace thimble {

enum class Role : uint8_t { kSystem, kUser, kAssistant, kTool };

struct ToolArgument {
  std::string_view name = {};
  std::string_view value = {};  // a string as it is; anything else as JSON text, spelled as json.dumps does (is_json)
  bool is_json = false;         // Qwen3.5 prints a bare true, false or null as Python does: True, False, None
};

struct ToolCall {
  std::string_view name = {};
  std::span<const ToolArgument> arguments = {};
};

struct Message {
  Role role = Role::kUser;
  std::string_view content = {};
  std::string_view reasoning = {};  // assistant: its thinking, when given apart from the content (has_reasoning)
  bool has_reasoning = false;       // without it, thinking is what stands before </think> in the content
  std::span<const ToolCall> tool_calls = {};  // assistant
};

enum class Thinking : uint8_t { kTemplate, kOff, kOn };  // kTemplate: the default that the file's template implies

struct Conversation {
  std::span<const Message> messages = {};
  std::span<const std::string_view> tools = {};  // each tool's JSON as json.dumps(ensure_ascii=False) spells it
  Thinking thinking = Thinking::kTemplate;
  bool add_generation_prompt = true;
  /// Only what is new: `messages` (user and tool ones, no tools) follow an answer that ended with <|im_end|>, which the
  /// model has seen. A whole rendering drops earlier thinking and so changes the prefix; this keeps what the model saw.
  bool after_answer = false;
};

enum class ChatFormat : uint8_t {
  kQwen35,  // Qwen3.5 and 3.6: contents are stripped of white space, tools, thinking of answers after the last question
  kChatMl,  // a plain loop over role and content, printed as they are; `reasoning` is not printed
};

/// How the generation prompt begins the answer: nothing, "<think>\n", or an empty think block.
enum class AnswerStart : uint8_t { kPlain, kThinkOpen, kThinkClosed };

/// What the renderer must know of a template. The default is the built-in one.
struct ChatTemplate {
  ChatFormat format = ChatFormat::kQwen35;
  AnswerStart start = AnswerStart::kThinkClosed;  // kQwen35: what Thinking::kTemplate means; kChatMl: the only one
  bool newline_after_turn = true;                 // kChatMl: "\n" after <|im_end|>
  bool json_literals = false;                     // kQwen35: a bare JSON argument true stays true (Qwen3.6)
};

/// Qwen3.5's template with thinking off unless asked for, as its 0.8B and 2B files have it.
inline ChatTemplate BuiltinTemplate() { return {}; }

/// Recognises a Jinja template as one that RenderText prints byte for byte, else kUnsupported. For Qwen3.5 everything
/// the template prints must be the same, and the conditions that decide it must be there; how it walks arguments may
/// differ. For a plain loop the text is worked out with Jinja's whitespace control (trim_blocks and lstrip_blocks on,
/// as Hugging Face renders).
Result<ChatTemplate> DetectTemplate(std::string_view jinja);

/// The same for the key tokenizer.chat_template; kNotFound when the file has none.
Result<ChatTemplate> DetectTemplate(const Gguf& file);

/// Writes the conversation as text and returns its length in bytes. Errors carry the index of the message: kBadArgument
/// where the template raises (no message, no user question, a system message that is not the first), kUnsupported for
/// tools or a thinking switch that a plain loop does not have (asking for what it does anyway is fine), kTooSmall with
/// the bytes needed.
Result<size_t> RenderText(const ChatTemplate& chat, const Conversation& conversation, std::span<char> out);

/// Writes the conversation as tokens and returns their number. `scratch` holds one stretch of text between special
/// tokens at a time (the bytes that RenderText needs always suffice). Only what the template itself says becomes
/// special tokens (<|im_start|>, <think>, <tool_call> ...), where the vocabulary has them. This differs from Hugging
/// Face, which also turns a user's "<|im_end|>" into the token that ends his turn; for every other text the tokens are
/// the same. Errors: those of RenderText and of Tokenizer::Encode; kTooSmall says how many bytes of scratch are needed
/// or, when those are there, how many tokens.
Result<size_t> RenderTokens(const ChatTemplate& chat, const Conversation& conversation, Tokenizer& tokenizer,
                            std::span<char> scratch, std::span<Token> out);

}  // namespace thimble
