// SPDX-License-Identifier: Apache-2.0
//
// Turns a stream of tokens into text that can be shown at once: no character is ever cut in two. It prints what it is
// given, control tokens too; whether to push them is its caller's choice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/arena.h"
#include "core/config.h"
#include "core/error.h"
#include "io/tokenizer.h"

namespace thimble {

class StreamDecoder {
 public:
  /// Takes 4 * max_token_bytes() and a few bytes of `arena`. `tokenizer` must outlive it and may still be a measuring
  /// one when the arena is. kTooSmall, kTooLarge: memory.
  static Result<StreamDecoder> Bind(const Tokenizer& tokenizer, Arena& arena);

  /// The text that `token` completes, perhaps none; valid until the next call. Bytes that begin a character wait for
  /// the rest; those that can not be part of one become U+FFFD, one for each maximal subpart (Unicode 3.9), as Hugging
  /// Face writes them.
  std::string_view Push(Token token);

  /// What was still waiting, as U+FFFD. The next Push begins anew.
  std::string_view Finish();

 private:
  static constexpr size_t kMaxWaiting = 3;  // bytes of a character that lacks at least one

  const Tokenizer* tokenizer_ = nullptr;
  char* bytes_ = nullptr;  // [kMaxWaiting + max_token_bytes()]: what waits, then the token's
  char* text_ = nullptr;   // three times as many: each byte may become U+FFFD
  size_t waiting_ = 0;
};

}  // namespace thimble
