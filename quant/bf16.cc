// SPDX-License-Identifier: Apache-2.0
//
// BF16, portable: plain loops over the conversions of half.h. No intrinsics here.
#include "quant/bf16.h"

#include "quant/half.h"

namespace thimble {
namespace {

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* half = reinterpret_cast<const uint16_t*>(blocks);
  for (size_t i = 0; i < count; ++i) x[i] = F32FromBF16(half[i]);
}

}  // namespace

constinit const Format kFormatBF16 = {
    .type = Type::kBF16,
    .name = "BF16",
    .block_size = 1,
    .block_bytes = sizeof(uint16_t),
    .decode = Decode,
    .encode = nullptr,
};

}  // namespace thimble
