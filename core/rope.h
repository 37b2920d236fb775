// SPDX-License-Identifier: Apache-2.0
//
// Rotary position embedding with interleaved M-RoPE sections and YaRN: its tables and its application to a head.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/config.h"

namespace thimble {

/// Where a token stands for the rotary embedding: time, height, width. For text all three are equal.
struct Position {
  int32_t t = 0, h = 0, w = 0;
};

/// frequencies[i] of pair i < dimension_count / 2, in radians per position; returns the factor on cosine and sine
/// (YaRN's attention factor, otherwise 1).
float RopeFrequencies(const RopeConfig& rope, float* frequencies);

/// cos_sin[2 i], cos_sin[2 i + 1] = cosine and sine of pair i at `position`, times `scale`.
void RopeAngles(const RopeConfig& rope, const float* frequencies, float scale, const Position& position,
                float* cos_sin);

/// Rotates the pairs (x[i], x[i + dimension_count / 2]) of one head in place.
void ApplyRope(const RopeConfig& rope, const float* cos_sin, float* x);

}  // namespace thimble
