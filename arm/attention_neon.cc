// SPDX-License-Identifier: Apache-2.0
//
// Coded rows of the cache for processors without SDOT: Cortex-A53, A72.
#include "arm/codes_neon.h"

namespace thimble {

template <>
struct Codes<Neon> : NeonCodes<Neon> {};

template const CodedFormat* FindCodedFormat<Neon>(Type type);

}  // namespace thimble
