// SPDX-License-Identifier: Apache-2.0
//
// What the tokenizer needs of Unicode: UTF-8, the classes that its pre-tokenizer asks for, and normalisation form C.
// Each in the version that Hugging Face's tokenizers has: 16 for classes, 9 for form C. Bytes that are not UTF-8 are
// carried through unchanged, each as a character of its own. No memory, no locale.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace thimble {

/// One reading of UTF-8 (Unicode 16, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF).
struct Utf8Char {
  enum class Kind : uint8_t {
    kWhole,   // a character
    kBroken,  // the longest beginning of a character that can not be continued so; at least one byte
    kCut,     // the text ends within a character
  };
  uint32_t point;  // the code point, if whole
  uint32_t bytes;  // how many this reading covers; 0 for an empty text
  Kind kind;
};

Utf8Char ReadUtf8(std::string_view text);

/// Writes a code point, or a raw byte, to `out` (4 bytes of room); returns how many bytes.
size_t WriteUtf8(uint32_t point, char* out);

/// Stands for byte b that is not part of a character: kRawByte + b. Other values are code points.
inline constexpr uint32_t kRawByte = 0x110000;

/// The class of a code point as regular expressions see it. Raw bytes are kOther.
enum class CharClass : uint8_t {
  kOther,   // punctuation, symbols, control characters, unassigned code points
  kSpace,   // \s, the property White_Space
  kNumber,  // \p{N}
  kLetter,  // \p{L}
  kMark,    // \p{M}
};

/// One character of a text: a code point or a raw byte.
struct TextChar {
  uint32_t point;
  uint32_t bytes;  // 0 at the end of the text
  CharClass kind;
};

/// What is known of characters. A program that binds its tokenizer with kLatin does not link the tables of kUnicode, 28
/// KiB.
struct TextRules {
  const uint32_t* runs;  // classes of the code points; the layout stands in unicode.cc
  size_t run_count;
  uint32_t first_unknown;  // code point from which on the runs say what is not known; kRawByte: all is
  // Null where every text of known characters is in form C. What they do is told below.
  bool (*is_surely_nfc)(std::string_view text);
  size_t (*to_nfc)(std::string_view text, uint32_t* points, uint32_t* spare, char* out);
};
extern const TextRules kUnicode;
/// The languages of western and central Europe, as they are usually written: up to U+02FF, and from U+2002 to U+20CF,
/// where typographic quotes and dashes and currency signs are.
extern const TextRules kLatin;

/// Where the first character that is not known begins, or text.size(). Raw bytes are known.
size_t FindUnknown(const TextRules& rules, std::string_view text);

/// The character that begins at `at` (at <= text.size()), which is known.
TextChar ReadChar(const TextRules& rules, std::string_view text, size_t at);

/// How many times longer than its UTF-8 a text may become in form C (Unicode Standard Annex 15: U+1D160).
inline constexpr size_t kNfcGrowth = 3;

/// True when the text is in form C for certain; false when only ToNfc can tell.
bool IsSurelyNfc(std::string_view text);

/// Writes `text` in form C to `out` and returns its length in bytes. Raw bytes stay and separate what is around them.
/// `points`, `spare` and `out` have kNfcGrowth * text.size() elements each. Time is linear, however the marks stand.
size_t ToNfc(std::string_view text, uint32_t* points, uint32_t* spare, char* out);

}  // namespace thimble
