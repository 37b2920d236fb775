// SPDX-License-Identifier: Apache-2.0
//
// See ids.h.
#include "ids.h"

#include <algorithm>
#include <charconv>

namespace thimble::program {

Encoded::Encoded(Tokenizer& tokenizer, std::string_view text, Specials specials) {
  tokens_.resize(tokenizer.MaxTokens(text.size()));
  const Result<size_t> count = tokenizer.Encode(text, specials, tokens_);
  error_ = count.error();
  tokens_.resize(count ? *count : 0);
}

Error ParseIds(std::string_view text, size_t count, std::vector<Token>* ids) {
  constexpr std::string_view kBetween = ", \t\r\n";
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(kBetween), text.size()));
    if (text.empty()) return {};
    const std::string_view word = text.substr(0, text.find_first_of(kBetween));
    Token id = 0;
    const auto [end, problem] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (problem != std::errc{} || end != word.data() + word.size() || id < 0) {
      return {Status::kBadArgument, "token ids are whole numbers, with commas or blanks between", word};
    }
    if (static_cast<size_t>(id) >= count) {
      return {Status::kBadArgument, "this id is not in the vocabulary", word};
    }
    ids->push_back(id);
    text.remove_prefix(word.size());
  }
}

}  // namespace thimble::program
