// SPDX-License-Identifier: Apache-2.0
//
// F16, portable: plain loops over the conversions of half.h. No intrinsics here.
#include "quant/f16.h"

#include "quant/half.h"

namespace thimble {
namespace {

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* half = reinterpret_cast<const uint16_t*>(blocks);
  for (size_t i = 0; i < count; ++i) x[i] = F32FromF16(half[i]);
}

void Encode(const float* x, size_t count, std::byte* blocks) {
  auto* half = reinterpret_cast<uint16_t*>(blocks);
  for (size_t i = 0; i < count; ++i) half[i] = F16FromF32(x[i]);
}

}  // namespace

constinit const Format kFormatF16 = {
    .type = Type::kF16,
    .name = "F16",
    .block_size = 1,
    .block_bytes = sizeof(uint16_t),
    .decode = Decode,
    .encode = Encode,
};

}  // namespace thimble
