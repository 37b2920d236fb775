// SPDX-License-Identifier: Apache-2.0
//
// The vectors of arm/gguf_blocks.h where there is SMMLA too: that multiplies two rows with two tokens, so for one token
// nothing beats SDOT.
#pragma once

#include "arm/simd_neondot.h"

namespace thimble {

template <>
struct Simd<NeonI8mm> : SdotVectors<NeonI8mm> {};

}  // namespace thimble
