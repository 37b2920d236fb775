// SPDX-License-Identifier: Apache-2.0
//
// F32: IEEE single precision, little endian, a block is one value of 4 bytes. This pair owns reading and writing.
#pragma once

#include "quant/format.h"

namespace thimble {

extern const Format kFormatF32;

}  // namespace thimble
