// SPDX-License-Identifier: Apache-2.0
//
// Cuts text into the pieces within which byte pairs are merged: Qwen's regular expression, matched by hand. It knows
// nothing of tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "io/unicode.h"

namespace thimble {

/// Which expression cuts, after tokenizer.ggml.pre. They differ in where marks (\p{M}) belong.
enum class PreTokenizer : uint8_t {
  kQwen35,  // with letters
  kQwen2,   // with symbols
};

/// Bytes of the first piece of `text`, which is not empty and of characters that `rules` know; the expression's end of
/// text is where `text` ends. Time is linear in the piece. The alternatives, of which the first that matches counts
/// (qwen2's are without \p{M}):
///   (?i:'s|'t|'re|'ve|'m|'ll|'d)
///   [^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+
///   \p{N}
///   [ ]?[^\s\p{L}\p{M}\p{N}]+[\r\n]*
///   \s*[\r\n]+
///   \s+(?!\S)
///   \s+
size_t FirstPiece(std::string_view text, PreTokenizer pre, const TextRules& rules);

}  // namespace thimble
