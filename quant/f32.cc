// SPDX-License-Identifier: Apache-2.0
//
// F32, portable: copies, and the dot that every other format's dot must equal.
#include "quant/f32.h"

#include <cstring>

#include "quant/lanes.h"

namespace thimble {
namespace {

void Decode(const std::byte* blocks, size_t count, float* x) { std::memcpy(x, blocks, count * sizeof(float)); }

float Dot(const std::byte* blocks, size_t count, const float* x) {
  return DotF32(reinterpret_cast<const float*>(blocks), x, count);
}

void Encode(const float* x, size_t count, std::byte* blocks) { std::memcpy(blocks, x, count * sizeof(float)); }

}  // namespace

constinit const Format kFormatF32 = {
    .type = Type::kF32,
    .name = "F32",
    .block_size = 1,
    .block_bytes = sizeof(float),
    .decode = Decode,
    .dot = Dot,
    .encode = Encode,
};

}  // namespace thimble
