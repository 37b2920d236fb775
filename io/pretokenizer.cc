// SPDX-License-Identifier: Apache-2.0
//
// The alternatives of the expression, in its order; each function matches one and returns its length in bytes, or 0.
#include "io/pretokenizer.h"

namespace thimble {

namespace {

class Matcher {
 public:
  Matcher(std::string_view text, PreTokenizer pre, const TextRules& rules) : text_(text), pre_(pre), rules_(rules) {}

  size_t Match() const {
    const TextChar c = Read(0);
    if (size_t n = MatchContraction(); n != 0) return n;
    if (size_t n = MatchWord(c); n != 0) return n;
    if (c.kind == CharClass::kNumber) return c.bytes;
    if (size_t n = MatchSymbols(c); n != 0) return n;
    return MatchSpaces();
  }

 private:
  TextChar Read(size_t at) const {
    TextChar c = ReadChar(rules_, text_, at);
    if (c.kind == CharClass::kMark && pre_ == PreTokenizer::kQwen2) c.kind = CharClass::kOther;
    return c;
  }

  static bool IsLineBreak(const TextChar& c) { return c.point == '\r' || c.point == '\n'; }
  static bool IsWord(const TextChar& c) { return c.kind == CharClass::kLetter || c.kind == CharClass::kMark; }
  static bool IsSymbol(const TextChar& c) { return c.bytes != 0 && c.kind == CharClass::kOther; }

  /// (?i:'s|'t|'re|'ve|'m|'ll|'d). U+017F, the long s, is a case of s; no other letter has a case beyond ASCII.
  size_t MatchContraction() const {
    if (text_[0] != '\'' || text_.size() < 2) return 0;
    const auto lower = [this](size_t i) { return i < text_.size() ? text_[i] | 0x20 : 0; };
    const int a = lower(1);
    const int b = lower(2);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return text_.starts_with("'\u017f") ? 3 : 0;
  }

  /// [^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+
  size_t MatchWord(const TextChar& c) const {
    size_t end = 0;
    if (IsWord(c)) {
      end = c.bytes;
    } else if (c.kind != CharClass::kNumber && !IsLineBreak(c) && IsWord(Read(c.bytes))) {
      end = c.bytes;
    } else {
      return 0;
    }
    for (TextChar next = Read(end); IsWord(next); next = Read(end)) end += next.bytes;
    return end;
  }

  /// [ ]?[^\s\p{L}\p{M}\p{N}]+[\r\n]*
  size_t MatchSymbols(const TextChar& c) const {
    size_t end = c.point == ' ' ? 1 : 0;
    if (!IsSymbol(Read(end))) return 0;
    for (TextChar next = Read(end); IsSymbol(next); next = Read(end)) end += next.bytes;
    while (end < text_.size() && (text_[end] == '\r' || text_[end] == '\n')) ++end;
    return end;
  }

  /// \s*[\r\n]+, then \s+(?!\S), then \s+: up to the last line break of the run; else all of a run that ends the text;
  /// else all but its last character, which goes with what follows; else that one.
  size_t MatchSpaces() const {
    size_t end = 0;
    size_t last = 0;        // where the last character of the run begins
    size_t after_line = 0;  // end of the last line break
    for (TextChar c = Read(0); c.kind == CharClass::kSpace; c = Read(end)) {
      last = end;
      end += c.bytes;
      if (IsLineBreak(c)) after_line = end;
    }
    if (after_line != 0) return after_line;
    return end == text_.size() || last == 0 ? end : last;
  }

  std::string_view text_;
  PreTokenizer pre_;
  const TextRules& rules_;
};

}  // namespace

size_t FirstPiece(std::string_view text, PreTokenizer pre, const TextRules& rules) {
  return Matcher(text, pre, rules).Match();
}

}  // namespace thimble
