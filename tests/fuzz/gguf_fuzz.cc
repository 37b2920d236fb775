// SPDX-License-Identifier: Apache-2.0
//
// A libFuzzer target: any bytes, opened as a GGUF and loaded as a model. Build with clang++
// -fsanitize=fuzzer,address,undefined.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "io/error_text.h"
#include "io/load_qwen35.h"

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
  }
  char text[300];
  ErrorText(error, text);
  return 0;
}
