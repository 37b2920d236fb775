// SPDX-License-Identifier: Apache-2.0
//
// The rotation that spreads a head's values evenly before they are kept in few bits. Nothing here knows a cache.
#pragma once

#include <cstddef>

#include "quant/format.h"

namespace thimble {

/// Whether rows of the cache in this format are rotated: up to 5 bits per value.
constexpr bool IsRotated(const Format& format) { return 8 * format.block_bytes <= 5 * format.block_size; }

/// x[n] = H x with the Walsh-Hadamard matrix of n rows, divided by sqrt(n): orthonormal and symmetric, so its own
/// inverse. Where n is no power of two, in pieces of the largest one that divides it. QuaRot: Ashkboos et al.,
/// "Outlier- free 4-bit inference in rotated LLMs", 2024.
void Rotate(float* x, size_t n);

}  // namespace thimble
