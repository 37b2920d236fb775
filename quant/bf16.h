// SPDX-License-Identifier: Apache-2.0
//
// BF16: the upper half of an F32, little endian, a block is one value of 2 bytes. This pair owns reading; the
// conversion itself stands in half.h.
#pragma once

#include "quant/format.h"

namespace thimble {

extern const Format kFormatBF16;

}  // namespace thimble
