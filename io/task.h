// SPDX-License-Identifier: Apache-2.0
//
// What a model file says about its own use: the thimble.* keys that make `classify MODEL TEXT` complete. Reads and
// proves them, prepares a text as they ask, and turns prompt and text into tokens. It neither runs the model nor
// chooses.
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

/// A closed-set question. All views are of the file.
struct Task {
  static constexpr std::string_view kTextMark = "{text}";  // where the prompt takes the text

  std::string_view prompt;           // thimble.prompt: special tokens spelled out, kTextMark once
  GgufStrings choices;               // thimble.choices: the answers as the model gives them; may be empty
  GgufStrings labels;                // thimble.labels: their names for people, in the same order; may be empty
  std::string_view out_of_scope;     // thimble.out_of_scope: the label that means none of the others; may be empty
  float threshold = 0.0f;            // thimble.threshold: a best probability below this is uncertain
  bool lowercase_ascii = false;      // thimble.normalize has "lowercase-ascii": A-Z to a-z
  bool strip_closing_marks = false;  // thimble.normalize has "strip-closing-marks": white space and . ? ! at the end go
};

/// Reads thimble.*. kNotFound without thimble.prompt; kBadFile for values of the wrong kind or number; kUnsupported for
/// a step of thimble.normalize that this version does not know.
Result<Task> ReadTask(const Gguf& file);

/// The name for people of answer `i`: its label, or where there are none the answer. Null behind the last.
std::string_view AnswerName(const Task& task, size_t i);

/// The token of every answer, which must all be special tokens, in order, and their number. kUnsupported for one that
/// is none; kTooSmall, with the number, when `tokens` has not so many.
Result<size_t> FindAnswers(const Task& task, const Tokenizer& tokenizer, std::span<Token> tokens);

/// Writes `text` as the task wants it to `out` (of at least text.size() bytes, which may begin where `text` does) and
/// returns its length.
size_t NormaliseText(const Task& task, std::string_view text, std::span<char> out);

/// Writes the tokens of `prompt` with `text` in the place of kTextMark, and returns their number. Special tokens are
/// recognised in the prompt only: a text cannot end its own turn. `scratch` holds prompt.size() + text.size() bytes.
/// Errors: those of Tokenizer::Encode; kBadArgument when the prompt does not hold kTextMark exactly once.
Result<size_t> EncodePrompt(std::string_view prompt, std::string_view text, Tokenizer& tokenizer,
                            std::span<char> scratch, std::span<Token> out);

}  // namespace thimble
