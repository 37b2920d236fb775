// SPDX-License-Identifier: Apache-2.0
//
// Q4_0, portable: plain loops, the float operations in ggml's order. The layout is told in q4_0.h; no intrinsics here.
#include "quant/q4_0.h"

#include "quant/half.h"

namespace thimble {
namespace {

void DecodeBlock(const BlockQ4_0& block, float* __restrict x) {
  const float d = F32FromF16(block.d);
  for (size_t j = 0; j < 16; ++j) {
    x[j] = static_cast<float>((block.qs[j] & 15) - 8) * d;
    x[j + 16] = static_cast<float>((block.qs[j] >> 4) - 8) * d;
  }
}

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* block = reinterpret_cast<const BlockQ4_0*>(blocks);
  for (size_t i = 0; i < count; ++i) DecodeBlock(block[i], x + i * BlockQ4_0::kSize);
}

}  // namespace

constinit const Format kFormatQ4_0 = {
    .type = Type::kQ4_0,
    .name = "Q4_0",
    .block_size = BlockQ4_0::kSize,
    .block_bytes = sizeof(BlockQ4_0),
    .decode = Decode,
    .encode = nullptr,
};

}  // namespace thimble
