// SPDX-License-Identifier: Apache-2.0
//
// Q4_1, portable: plain loops, the float operations in ggml's order. The layout is told in q4_1.h; no intrinsics here.
#include "quant/q4_1.h"

#include "quant/half.h"

namespace thimble {
namespace {

void DecodeBlock(const BlockQ4_1& block, float* __restrict x) {
  const float d = F32FromF16(block.d);
  const float m = F32FromF16(block.m);
  for (size_t j = 0; j < 16; ++j) {
    x[j] = static_cast<float>(block.qs[j] & 15) * d + m;
    x[j + 16] = static_cast<float>(block.qs[j] >> 4) * d + m;
  }
}

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* block = reinterpret_cast<const BlockQ4_1*>(blocks);
  for (size_t i = 0; i < count; ++i) DecodeBlock(block[i], x + i * BlockQ4_1::kSize);
}

}  // namespace

constinit const Format kFormatQ4_1 = {
    .type = Type::kQ4_1,
    .name = "Q4_1",
    .block_size = BlockQ4_1::kSize,
    .block_bytes = sizeof(BlockQ4_1),
    .decode = Decode,
    .encode = nullptr,
};

}  // namespace thimble
