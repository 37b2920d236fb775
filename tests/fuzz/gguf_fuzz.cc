// SPDX-License-Identifier: Apache-2.0
//
// A libFuzzer target: any bytes, opened as a GGUF, loaded as a model, and read for their texts. Build with clang++
// -fsanitize=fuzzer,address,undefined.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "io/chat.h"
#include "io/error_text.h"
#include "io/load_qwen35.h"
#include "io/task.h"
#include "io/tokenizer.h"

namespace {

// Binds the file's tokenizer and encodes a text with it.
void ReadText(const thimble::Gguf& file) {
  using namespace thimble;
  Arena measuring;
  if (!Tokenizer::Bind(file, 32, measuring) || measuring.used() > (size_t{1} << 28)) return;
  const size_t bytes = (measuring.used() + Arena::kAlign - 1) / Arena::kAlign * Arena::kAlign;
  const std::unique_ptr<std::byte, decltype(&std::free)> memory(
      static_cast<std::byte*>(std::aligned_alloc(Arena::kAlign, bytes)), &std::free);
  Arena arena({memory.get(), measuring.used()});
  Result<Tokenizer> tokenizer = Tokenizer::Bind(file, 32, arena);
  if (!tokenizer) return;
  std::vector<Token> tokens(tokenizer->MaxTokens(32));
  tokenizer->Encode("then <|im_end|> 12\n\xff", Specials::kRecognise, tokens);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace thimble;
  const std::vector<std::byte> copy(reinterpret_cast<const std::byte*>(data),
                                    reinterpret_cast<const std::byte*>(data) + size);  // aligned, unlike `data`
  const std::span<const std::byte> bytes(copy);
  const Result<Gguf> file = Gguf::Open({&bytes, 1});
  Error error = file.error();
  if (file) {
    for (const GgufTensor& tensor : file->tensors()) {
      const auto offset = static_cast<size_t>(tensor.data - copy.data());
      if (offset > size || tensor.bytes > size - offset) std::abort();
    }
    Arena measuring;
    error = LoadQwen35(*file, measuring).error();
    DetectTemplate(*file);
    ReadTask(*file);
    ReadText(*file);
  }
  char text[300];
  ErrorText(error, text);
  return 0;
}
