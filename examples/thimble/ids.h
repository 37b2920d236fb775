// SPDX-License-Identifier: Apache-2.0
//
// Lists of tokens as the commands meet them: from text, and from numbers that someone typed.
#pragma once

#include <string_view>
#include <vector>

#include "core/error.h"
#include "io/tokenizer.h"

namespace thimble::program {

/// The tokens of `text`, or the error; at most one token for each byte that the tokenizer was bound for.
class Encoded {
 public:
  Encoded(Tokenizer& tokenizer, std::string_view text, Specials specials);

  explicit operator bool() const { return error_.ok(); }
  const Error& error() const { return error_; }
  const std::vector<Token>& operator*() const { return tokens_; }

 private:
  std::vector<Token> tokens_;
  Error error_;
};

/// Appends the ids of "1,2 3", each below `count`. kBadArgument names the first word that is not such a number, as a
/// view of `text`.
Error ParseIds(std::string_view text, size_t count, std::vector<Token>* ids);

}  // namespace thimble::program
