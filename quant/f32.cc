// SPDX-License-Identifier: Apache-2.0
//
// F32, portable: copies.
#include "quant/f32.h"

#include <cstring>

namespace thimble {
namespace {

void Decode(const std::byte* blocks, size_t count, float* x) { std::memcpy(x, blocks, count * sizeof(float)); }

void Encode(const float* x, size_t count, std::byte* blocks) { std::memcpy(blocks, x, count * sizeof(float)); }

}  // namespace

constinit const Format kFormatF32 = {
    .type = Type::kF32,
    .name = "F32",
    .block_size = 1,
    .block_bytes = sizeof(float),
    .decode = Decode,
    .encode = Encode,
};

}  // namespace thimble
