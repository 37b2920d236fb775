// SPDX-License-Identifier: Apache-2.0
//
// The one list of formats, and the names of all tensor types of ggml. A new format is a line in kFormats and its pair
// of files; nothing else in this room knows how many there are.
#include <iterator>

#include "quant/bf16.h"
#include "quant/f16.h"
#include "quant/f32.h"
#include "quant/format.h"
#include "quant/iq4_nl.h"
#include "quant/iq4_xs.h"
#include "quant/nl3.h"
#include "quant/q2_k.h"
#include "quant/q3_k.h"
#include "quant/q4_0.h"
#include "quant/q4_1.h"
#include "quant/q4_k.h"
#include "quant/q5_0.h"
#include "quant/q5_1.h"
#include "quant/q5_k.h"
#include "quant/q6_k.h"
#include "quant/q8_0.h"
#include "quant/qb3.h"
#include "quant/qb4.h"

namespace thimble {
namespace {

constexpr const Format* kFormats[] = {
    &kFormatF32,    &kFormatF16,    &kFormatQ4_0, &kFormatQ4_1, &kFormatQ5_0, &kFormatQ5_1,
    &kFormatQ8_0,   &kFormatQ2_K,   &kFormatQ3_K, &kFormatQ4_K, &kFormatQ5_K, &kFormatQ6_K,
    &kFormatIQ4_NL, &kFormatIQ4_XS, &kFormatBF16, &kFormatQB4,  &kFormatQB3,  &kFormatNL3,
};

// By number. Null: a number that ggml has withdrawn.
constexpr const char* kTypeNames[] = {
    "F32",   "F16",    "Q4_0",  "Q4_1",  nullptr, nullptr,   "Q5_0",   "Q5_1",    "Q8_0",  "Q8_1",   "Q2_K",
    "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K",  "Q8_K",  "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S",
    "IQ2_S", "IQ4_XS", "I8",    "I16",   "I32",   "I64",     "F64",    "IQ1_M",   "BF16",  nullptr,  nullptr,
    nullptr, "TQ1_0",  "TQ2_0", nullptr, nullptr, nullptr,   "MXFP4",  "NVFP4",   "Q1_0",  "Q2_0",
};

}  // namespace

std::span<const Format* const> Formats() { return kFormats; }

const Format* FindFormat(uint32_t ggml_type) {
  for (const Format* format : kFormats) {
    if (static_cast<uint32_t>(format->type) == ggml_type) return format;
  }
  return nullptr;
}

const char* TypeName(uint32_t ggml_type) {
  if (const Format* format = FindFormat(ggml_type); format != nullptr) return format->name;
  if (ggml_type >= std::size(kTypeNames) || kTypeNames[ggml_type] == nullptr) return "unknown";
  return kTypeNames[ggml_type];
}

}  // namespace thimble
