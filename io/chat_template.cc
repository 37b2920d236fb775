// SPDX-License-Identifier: Apache-2.0
//
// Detection of chat templates: reads a Jinja template only as far as needed to know that io/chat.cc prints the same.
// Nothing is ever interpreted.
#include <cstring>
#include <iterator>
#include <optional>

#include "io/chat.h"
#include "io/white_space.h"

namespace thimble {
namespace {

/// A stretch of a Jinja template: text that is printed, the inside of {{ }}, or the inside of {% %}.
struct Piece {
  enum class Kind : uint8_t { kText, kOutput, kStatement, kEnd, kBroken };
  Kind kind = Kind::kEnd;
  std::string_view text;
};

/// Cuts a template into pieces with Jinja's whitespace control as Hugging Face sets it: trim_blocks (no newline behind
/// %}), lstrip_blocks (no indentation before {%), no newline at the very end. Comments vanish.
class TemplateReader {
 public:
  explicit TemplateReader(std::string_view jinja) : rest_(jinja) {
    if (rest_.ends_with('\n')) rest_.remove_suffix(1);
  }

  Piece Next() {
    while (!rest_.empty()) {
      if (!in_tag_) {
        const std::string_view text = ReadText();
        if (!text.empty()) return {Piece::Kind::kText, text};
      } else {
        const Piece piece = ReadTag();
        if (piece.kind != Piece::Kind::kEnd) return piece;
      }
    }
    return {};
  }

 private:
  /// Up to the next tag, which rest_ then begins with.
  std::string_view ReadText() {
    size_t begin = rest_.find('{');
    while (begin != rest_.npos && !IsTag(rest_.substr(begin))) begin = rest_.find('{', begin + 1);
    if (begin == rest_.npos) begin = rest_.size();
    std::string_view text = rest_.substr(0, begin);
    rest_.remove_prefix(begin);
    in_tag_ = true;
    if (rest_.size() < 3) return text;
    if (rest_[2] == '-') return TrimRight(text);
    if (rest_[2] != '+' && rest_[1] != '{') {
      const size_t line = text.rfind('\n') + 1;  // 0 when there is no newline
      if ((line > 0 || at_line_start_) && TrimLeft(text.substr(line)).empty()) text = text.substr(0, line);
    }
    return text;
  }

  /// The tag that rest_ begins with; kEnd for a comment.
  Piece ReadTag() {
    const char kind = rest_[1];
    const char close[] = {kind == '{' ? '}' : kind, '}'};
    const size_t end = FindClose({close, 2}, kind != '#');
    if (end == rest_.npos) {
      rest_ = {};
      return {Piece::Kind::kBroken, {}};
    }
    std::string_view inside = rest_.substr(2, end - 2);
    rest_.remove_prefix(end + 2);
    const bool keeps = inside.ends_with('+');
    const bool strips = inside.ends_with('-');
    if (keeps || strips) inside.remove_suffix(1);
    if (inside.starts_with('+') || inside.starts_with('-')) inside.remove_prefix(1);
    const std::string_view behind = rest_;
    if (strips) {
      rest_ = TrimLeft(rest_);
    } else if (!keeps && kind != '{' && rest_.starts_with('\n')) {
      rest_.remove_prefix(1);
    }
    const size_t eaten = behind.size() - rest_.size();
    at_line_start_ = eaten > 0 && behind[eaten - 1] == '\n';
    in_tag_ = false;
    if (kind == '#') return {};
    return {kind == '{' ? Piece::Kind::kOutput : Piece::Kind::kStatement, Trim(inside)};
  }

  static bool IsTag(std::string_view s) { return s.size() >= 2 && (s[1] == '{' || s[1] == '%' || s[1] == '#'); }

  /// Where the tag's closing mark stands, outside of string literals when it has such.
  size_t FindClose(std::string_view close, bool has_strings) const {
    char quote = 0;
    for (size_t i = 2; i + 1 < rest_.size(); ++i) {
      const char c = rest_[i];
      if (quote != 0) {
        if (c == '\\') ++i;
        if (c == quote) quote = 0;
      } else if (has_strings && (c == '\'' || c == '"')) {
        quote = c;
      } else if (rest_.substr(i, 2) == close) {
        return i;
      }
    }
    return rest_.npos;
  }

  std::string_view rest_;
  bool in_tag_ = false;
  bool at_line_start_ = true;
};

/// What everything that Qwen3.5's template prints before its switch for thinking hashes to (FNV-1a of each {{ }} and a
/// zero byte, without those that raise an exception).
constexpr uint64_t kQwen35Outputs = 0x27bcabc193bd740d;

uint64_t HashOutput(uint64_t hash, std::string_view output) {
  for (const char c : output) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash * 0x100000001b3;
}

/// Whether the conditions that decide what is printed are Qwen3.5's, as far as they differ in known relatives.
bool HasQwen35Conditions(std::string_view jinja) {
  constexpr std::string_view kRequired[] = {
      "render_content(message.content, true)|trim",
      "content.startswith('<tool_response>') and content.endswith('</tool_response>')",
      "content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n')",
      "content.split('</think>')[-1].lstrip('\\n')",
      "loop.index0 > ns.last_query_index",
  };
  constexpr std::string_view kRefused[] = {"preserve_thinking is undefined", "set preserve_thinking",
                                           "set enable_thinking"};
  for (const std::string_view text : kRequired) {
    if (jinja.find(text) == jinja.npos) return false;
  }
  for (const std::string_view text : kRefused) {
    if (jinja.find(text) != jinja.npos) return false;
  }
  return true;
}

bool DetectQwen35(std::string_view jinja, ChatTemplate& chat) {
  constexpr std::string_view kOffGuard = "if enable_thinking is defined and enable_thinking is false";
  constexpr std::string_view kOnGuard = "if enable_thinking is defined and enable_thinking is true";
  constexpr std::string_view kOpen = "'<think>\\n'", kClosed = "'<think>\\n\\n</think>\\n\\n'";
  if (!HasQwen35Conditions(jinja)) return false;
  TemplateReader reader(jinja);
  uint64_t hash = 0xcbf29ce484222325;
  std::string_view guard;
  std::string_view end[5];  // what stands behind the guard: start, else, start, endif, endif
  size_t count = 0;
  for (Piece piece = reader.Next(); piece.kind != Piece::Kind::kEnd; piece = reader.Next()) {
    if (piece.kind == Piece::Kind::kText || piece.kind == Piece::Kind::kBroken) return false;
    if (!guard.empty()) {
      if (count == std::size(end)) return false;
      end[count++] = piece.text;
    } else if (piece.kind == Piece::Kind::kOutput) {
      if (!piece.text.starts_with("raise_exception(")) hash = HashOutput(hash, piece.text);
    } else if (piece.text == kOffGuard || piece.text == kOnGuard) {
      guard = piece.text;
    }
  }
  if (hash != kQwen35Outputs || end[1] != "else" || end[3] != "endif" || end[4] != "endif") return false;
  chat = {};
  chat.start = guard == kOffGuard ? AnswerStart::kThinkOpen : AnswerStart::kThinkClosed;
  chat.json_literals = jinja.find("args_value | string if args_value is string else args_value | tojson") != jinja.npos;
  return guard == kOffGuard ? end[0] == kClosed && end[2] == kOpen : end[0] == kOpen && end[2] == kClosed;
}

// A plain loop is reduced to what it prints, with these bytes for what is not text.
constexpr char kLoop = 1, kRole = 2, kContent = 3, kEndLoop = 4, kIfPrompt = 5, kEndIf = 6;

/// A short template, reduced; no longer valid once something was not understood.
class Outline {
 public:
  bool Statement(std::string_view text) {
    char word[64];
    size_t n = 0;
    for (const char c : text) {
      if (SpaceLength({&c, 1}) != 0) continue;
      if (n == sizeof word) return false;
      word[n++] = c;
    }
    const std::string_view s(word, n);
    if (s == "endfor") return Put(kEndLoop);
    if (s == "ifadd_generation_prompt") return Put(kIfPrompt);
    if (s == "endif") return Put(kEndIf);
    constexpr std::string_view kFor = "for", kIn = "inmessages";
    if (!s.starts_with(kFor) || !s.ends_with(kIn) || s.size() <= kFor.size() + kIn.size()) return false;
    const std::string_view name = s.substr(kFor.size(), s.size() - kFor.size() - kIn.size());
    if (name.size() > sizeof variable_ || !IsName(name)) return false;
    std::memcpy(variable_, name.data(), name.size());
    variable_size_ = name.size();
    return Put(kLoop);
  }

  /// Terms joined by + or ~: string literals, the message's role and content.
  bool Output(std::string_view text) {
    for (;;) {
      text = TrimLeft(text);
      if (text.empty()) return false;
      if (!(text[0] == '\'' || text[0] == '"' ? Literal(text) : Field(text))) return false;
      text = TrimLeft(text);
      if (text.empty()) return true;
      if (text[0] != '+' && text[0] != '~') return false;
      text.remove_prefix(1);
    }
  }

  bool Text(std::string_view text) {
    for (const char c : text) {
      if (static_cast<unsigned char>(c) < '\t' || !Put(c)) return false;
    }
    return true;
  }

  std::string_view view() const { return {data_, size_}; }

 private:
  bool Literal(std::string_view& text) {
    const char quote = text[0];
    for (size_t i = 1; i < text.size(); ++i) {
      char c = text[i];
      if (c == quote) {
        text.remove_prefix(i + 1);
        return true;
      }
      if (c == '\\') {
        if (++i == text.size()) return false;
        if (text[i] != 'n' && text[i] != '\\' && text[i] != '\'' && text[i] != '"') return false;
        c = text[i] == 'n' ? '\n' : text[i];
      }
      if (!Text({&c, 1})) return false;
    }
    return false;
  }

  bool Field(std::string_view& text) {
    const std::string_view variable(variable_, variable_size_);
    if (variable.empty() || !text.starts_with(variable)) return false;
    text.remove_prefix(variable.size());
    constexpr struct {
      std::string_view spelling;
      char mark;
    } kFields[] = {{"['role']", kRole},       {"[\"role\"]", kRole},       {".role", kRole},
                   {"['content']", kContent}, {"[\"content\"]", kContent}, {".content", kContent}};
    for (const auto& field : kFields) {
      if (!text.starts_with(field.spelling)) continue;
      text.remove_prefix(field.spelling.size());
      return Put(field.mark);
    }
    return false;
  }

  static bool IsName(std::string_view s) {
    for (const char c : s) {
      if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_')) return false;
    }
    return true;
  }

  bool Put(char c) {
    if (size_ == sizeof data_) return false;
    data_[size_++] = c;
    return true;
  }

  char data_[160];
  size_t size_ = 0;
  char variable_[32];
  size_t variable_size_ = 0;
};

/// Takes `head` off the front of `s` when it is there.
bool Skip(std::string_view& s, std::string_view head) {
  if (!s.starts_with(head)) return false;
  s.remove_prefix(head.size());
  return true;
}

bool DetectChatMl(std::string_view jinja, ChatTemplate& chat) {
  Outline outline;
  TemplateReader reader(jinja);
  for (Piece piece = reader.Next(); piece.kind != Piece::Kind::kEnd; piece = reader.Next()) {
    const bool understood = piece.kind == Piece::Kind::kText        ? outline.Text(piece.text)
                            : piece.kind == Piece::Kind::kOutput    ? outline.Output(piece.text)
                            : piece.kind == Piece::Kind::kStatement ? outline.Statement(piece.text)
                                                                    : false;
    if (!understood) return false;
  }
  std::string_view s = outline.view();
  chat = {.format = ChatFormat::kChatMl};
  if (!Skip(s, "\1<|im_start|>\2\n\3<|im_end|>")) return false;
  chat.newline_after_turn = Skip(s, "\n");
  if (!Skip(s, "\4\5<|im_start|>assistant\n")) return false;
  chat.start = Skip(s, "<think>\n\n</think>\n\n") ? AnswerStart::kThinkClosed
               : Skip(s, "<think>\n")             ? AnswerStart::kThinkOpen
                                                  : AnswerStart::kPlain;
  return s == "\6";
}

}  // namespace

Result<ChatTemplate> DetectTemplate(std::string_view jinja) {
  ChatTemplate chat;
  if (DetectQwen35(jinja, chat) || DetectChatMl(jinja, chat)) return chat;
  return Error{
      Status::kUnsupported,
      "this chat template is not one that is known here; use the built-in Qwen3.5 template (--template builtin) "
      "or none (--raw)",
      "tokenizer.chat_template"};
}

Result<ChatTemplate> DetectTemplate(const Gguf& file) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  const std::optional<GgufValue> value = file.Find(kKey);
  if (!value) {
    return Error{
        Status::kNotFound,
        "this file has no chat template; use the built-in Qwen3.5 template (--template builtin) or none (--raw)", kKey};
  }
  const std::optional<std::string_view> text = value->AsString();
  if (!text) return Error{Status::kBadFile, "the chat template is not a string", kKey};
  return DetectTemplate(*text);
}

}  // namespace thimble
