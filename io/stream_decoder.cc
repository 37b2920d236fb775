// SPDX-License-Identifier: Apache-2.0
//
// Reads UTF-8 from what waited and what came, and keeps what is cut at the end.
#include "io/stream_decoder.h"

#include <algorithm>

#include "io/unicode.h"

namespace thimble {

namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

}  // namespace

Result<StreamDecoder> StreamDecoder::Bind(const Tokenizer& tokenizer, Arena& arena) {
  StreamDecoder decoder;
  decoder.tokenizer_ = &tokenizer;
  const size_t room = kMaxWaiting + tokenizer.max_token_bytes();
  decoder.bytes_ = arena.Take<char>(room);
  decoder.text_ = arena.Take<char>(room, kReplacement.size());
  if (Error error = arena.error(); !error.ok()) return error;
  return decoder;
}

std::string_view StreamDecoder::Push(Token token) {
  const size_t came = tokenizer_->Decode(token, {bytes_ + waiting_, tokenizer_->max_token_bytes()});
  std::string_view bytes = {bytes_, waiting_ + came};
  char* end = text_;
  while (!bytes.empty()) {
    const Utf8Char c = ReadUtf8(bytes);
    if (c.kind == Utf8Char::Kind::kCut) break;
    const std::string_view shown = c.kind == Utf8Char::Kind::kWhole ? bytes.substr(0, c.bytes) : kReplacement;
    end = std::copy(shown.begin(), shown.end(), end);
    bytes.remove_prefix(c.bytes);
  }
  waiting_ = bytes.size();
  std::copy(bytes.begin(), bytes.end(), bytes_);
  return {text_, static_cast<size_t>(end - text_)};
}

std::string_view StreamDecoder::Finish() {
  const bool cut = waiting_ != 0;
  waiting_ = 0;
  return cut ? kReplacement : std::string_view();
}

}  // namespace thimble
