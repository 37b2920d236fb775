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
  int64_t t = 0, h = 0, w = 0;
};

/// For who fills a Model: frequencies[i] of pair i < dimension_count / 2, in 2^-64 turns per position: the product with
/// any position, modulo 2^64, is an angle without error, so that positions may grow for ever. Returns the factor on
/// cosine and sine (YaRN's attention factor, otherwise 1).
float RopeFrequencies(const RopeConfig& rope, uint64_t* frequencies);

/// cos_sin[2 i], cos_sin[2 i + 1] = cosine and sine of pair i at `position`, times `scale`.
void RopeAngles(const RopeConfig& rope, const uint64_t* frequencies, float scale, const Position& position,
                float* cos_sin);

/// Rotates the pairs (x[i], x[i + dimension_count / 2]) of one head in place.
void ApplyRope(const RopeConfig& rope, const float* cos_sin, float* x);

}  // namespace thimble
