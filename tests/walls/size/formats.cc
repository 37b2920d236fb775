// SPDX-License-Identifier: Apache-2.0
//
// The formats of the programs whose size is counted: those of examples/intent/intent-q4_0.gguf and of a cache in 8
// bits. The library's own list, which would bring all others, is not linked.
#include "quant/f32.h"
#include "quant/q4_0.h"
#include "quant/q8_0.h"

namespace thimble {

std::span<const Format* const> Formats() {
  static constexpr const Format* kFormats[] = {&kFormatF32, &kFormatQ4_0, &kFormatQ8_0};
  return kFormats;
}

}  // namespace thimble
