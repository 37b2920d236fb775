// SPDX-License-Identifier: Apache-2.0
//
// Proves the keys of a tokenizer.
#include "io/tokenizer_view.h"

#include <algorithm>
#include <string_view>

namespace thimble {
namespace {

constexpr std::string_view kPreKey = "tokenizer.ggml.pre";
constexpr std::string_view kNfcKey = "tokenizer.ggml.normalizer.nfc";
constexpr std::string_view kLowercaseKey = "tokenizer.ggml.normalizer.lowercase";
constexpr std::string_view kStripAccentsKey = "tokenizer.ggml.normalizer.strip_accents";
constexpr std::string_view kEosKey = "tokenizer.ggml.eos_token_id";
constexpr std::string_view kEotKey = "tokenizer.ggml.eot_token_id";

/// A bool that may be absent.
Error ReadBool(const Gguf& file, std::string_view key, bool& value) {
  const auto found = file.Find(key);
  if (!found) return {};
  if (!found->AsBool()) return {Status::kBadFile, "this key must be true or false", key};
  value = *found->AsBool();
  return {};
}

}  // namespace

Result<TokenizerView> TokenizerView::Read(const Gguf& file) {
  Result<TokenizerView> view = ReadKeys(file);
  if (!view) return view.error();
  const Result<TokenIndex> index = TokenIndex::Read(file, view->vocabulary);
  if (!index) return index.error();
  if (Error error = view->SetIndex(file, index->words()); !error.ok()) return error;
  return view;
}

Result<TokenizerView> TokenizerView::ReadKeys(const Gguf& file) {
  TokenizerView view;
  const Result<Vocabulary> vocabulary = Vocabulary::Read(file);
  if (!vocabulary) return vocabulary.error();
  view.vocabulary = *vocabulary;
  const auto pre = file.Find(kPreKey);
  if (!pre) return Error{Status::kNotFound, "the file has no tokenizer, or not all of one", kPreKey};
  const auto name = pre->AsString();
  if (!name) return Error{Status::kBadFile, "this key must be a string", kPreKey};
  if (*name != "qwen35" && *name != "qwen2") {
    return Error{Status::kUnsupported, "only the pre-tokenizers qwen35 and qwen2 are supported", kPreKey, *name};
  }
  view.pre = *name == "qwen35" ? PreTokenizer::kQwen35 : PreTokenizer::kQwen2;
  for (const std::string_view key : {kLowercaseKey, kStripAccentsKey}) {
    bool wanted = false;
    if (Error error = ReadBool(file, key, wanted); !error.ok()) return error;
    if (wanted) {
      return Error{Status::kUnsupported, "this normalisation of text is not supported; normal form C is", key};
    }
  }
  if (Error error = ReadBool(file, kNfcKey, view.nfc); !error.ok()) return error;
  return view;
}

Error TokenizerView::SetIndex(const Gguf& file, const uint32_t* words) {
  index = words;
  const TokenIndex tokens(vocabulary, words);
  for (const uint32_t token : tokens.specials()) {
    const std::string_view text = tokens.Text(static_cast<Token>(token));
    if (text.empty()) continue;
    const auto first = static_cast<unsigned char>(text[0]);
    special_begins[first / 64] |= uint64_t{1} << first % 64;
  }
  const auto add_end = [this](Token token) {
    const auto last = end_tokens.begin() + static_cast<ptrdiff_t>(end_count);
    if (std::find(end_tokens.begin(), last, token) == last) end_tokens[end_count++] = token;
  };
  for (const std::string_view key : {kEosKey, kEotKey}) {
    const auto value = file.Find(key);
    if (!value) continue;
    const auto id = value->AsUnsigned();
    if (!id || *id >= vocabulary.size)
      return {Status::kBadFile, "this key must be a token's number", key, {}, id.value_or(0)};
    add_end(static_cast<Token>(*id));
  }
  for (const std::string_view text : {"<|im_end|>", "<|endoftext|>"}) {
    if (const Token token = tokens.FindSpecial(text); token >= 0) add_end(token);
  }
  return {};
}

}  // namespace thimble
