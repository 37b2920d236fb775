// SPDX-License-Identifier: Apache-2.0
//
// Q5_1, portable: plain loops, the float operations in ggml's order. The layout is told in q5_1.h; no intrinsics here.
#include "quant/q5_1.h"

#include <cstring>

#include "quant/half.h"

namespace thimble {
namespace {

void DecodeBlock(const BlockQ5_1& block, float* __restrict x) {
  const float d = F32FromF16(block.d);
  const float m = F32FromF16(block.m);
  uint32_t fifth;
  std::memcpy(&fifth, block.qh, sizeof(fifth));
  for (size_t j = 0; j < 16; ++j) {
    const uint32_t low = (block.qs[j] & 15u) | ((fifth >> j) & 1) << 4;
    const uint32_t high = (block.qs[j] >> 4) | ((fifth >> (j + 16)) & 1) << 4;
    x[j] = static_cast<float>(static_cast<int32_t>(low)) * d + m;
    x[j + 16] = static_cast<float>(static_cast<int32_t>(high)) * d + m;
  }
}

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* block = reinterpret_cast<const BlockQ5_1*>(blocks);
  for (size_t i = 0; i < count; ++i) DecodeBlock(block[i], x + i * BlockQ5_1::kSize);
}

}  // namespace

constinit const Format kFormatQ5_1 = {
    .type = Type::kQ5_1,
    .name = "Q5_1",
    .block_size = BlockQ5_1::kSize,
    .block_bytes = sizeof(BlockQ5_1),
    .decode = Decode,
    .encode = nullptr,
};

}  // namespace thimble
