// SPDX-License-Identifier: Apache-2.0
//
// F16: IEEE half precision, little endian, a block is one value of 2 bytes; also what a key/value cache is written in.
// This pair owns reading and writing; the conversion itself stands in half.h.
#pragma once

#include "quant/format.h"

namespace thimble {

extern const Format kFormatF16;

}  // namespace thimble
