// SPDX-License-Identifier: Apache-2.0
//
// The full list of formats. A new format is a line in kFormats and its pair of files; nothing else in this room knows
// how many there are. It stands alone in this file: a program with a Formats() of its own never links it.
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

}  // namespace

std::span<const Format* const> Formats() { return kFormats; }

}  // namespace thimble
