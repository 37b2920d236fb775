// SPDX-License-Identifier: Apache-2.0
//
// Coded rows of the cache for processors with SDOT.
#include "arm/codes_neon.h"
#include "arm/simd_neondot.h"

namespace thimble {

template <>
struct Codes<NeonDot> : NeonCodes<NeonDot> {};

template const CodedFormat* FindCodedFormat<NeonDot>(Type type);

}  // namespace thimble
