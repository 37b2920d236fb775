// SPDX-License-Identifier: Apache-2.0
//
// The formats that these programs read and write: those of their model's tensors, and a cache in 8 bits. The library's
// own list, which would bring all others, is not linked.
#include "quant/f32.h"
#include "quant/q4_0.h"
#include "quant/q8_0.h"

namespace thimble {

std::span<const Format* const> Formats() {
  static constexpr const Format* kFormats[] = {&kFormatF32, &kFormatQ4_0, &kFormatQ8_0};
  return kFormats;
}

}  // namespace thimble
