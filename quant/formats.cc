// SPDX-License-Identifier: Apache-2.0
//
// Formats by their numbers, and the names of all tensor types of ggml and of our own. Which formats there are,
// Formats() says, which a program may define for itself: nothing here names one.
#include <iterator>

#include "quant/format.h"

namespace thimble {
namespace {

// Names of the numbers from 0 on, one behind the other; empty: a number that ggml has withdrawn.
constexpr char kGgmlNames[] =
    "F32\0F16\0Q4_0\0Q4_1\0\0\0Q5_0\0Q5_1\0Q8_0\0Q8_1\0Q2_K\0Q3_K\0Q4_K\0Q5_K\0Q6_K\0Q8_K\0IQ2_XXS\0IQ2_XS\0IQ3_XXS\0"
    "IQ1_S\0IQ4_NL\0IQ3_S\0IQ2_S\0IQ4_XS\0I8\0I16\0I32\0I64\0F64\0IQ1_M\0BF16\0\0\0\0TQ1_0\0TQ2_0\0\0\0\0MXFP4\0NVFP4\0"
    "Q1_0\0Q2_0";
constexpr char kOwnNames[] = "QB4\0QB3\0NL3";  // from kQB4 on

// Name `i` of those up to `end`, the zero behind the last; empty when there are not so many.
const char* NameAt(const char* name, const char* end, uint32_t i) {
  for (; i > 0 && name < end; ++name) i -= *name == '\0' ? 1 : 0;
  return name;
}

}  // namespace

const Format* FindFormat(uint32_t ggml_type) {
  for (const Format* format : Formats()) {
    if (static_cast<uint32_t>(format->type) == ggml_type) return format;
  }
  return nullptr;
}

const char* TypeName(uint32_t ggml_type) {
  constexpr uint32_t kFirstOwn = static_cast<uint32_t>(Type::kQB4);
  const char* name = ggml_type < kFirstOwn ? NameAt(kGgmlNames, std::end(kGgmlNames) - 1, ggml_type)
                                           : NameAt(kOwnNames, std::end(kOwnNames) - 1, ggml_type - kFirstOwn);
  return *name != '\0' ? name : "unknown";
}

}  // namespace thimble
