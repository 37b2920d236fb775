// SPDX-License-Identifier: Apache-2.0
//
// Q5_0, portable: plain loops, the float operations in ggml's order. The layout is told in q5_0.h; no intrinsics here.
#include "quant/q5_0.h"

#include <cstring>

#include "quant/half.h"

namespace thimble {
namespace {

void DecodeBlock(const BlockQ5_0& block, float* __restrict x) {
  const float d = F32FromF16(block.d);
  uint32_t fifth;
  std::memcpy(&fifth, block.qh, sizeof(fifth));
  for (size_t j = 0; j < 16; ++j) {
    const uint32_t low = (block.qs[j] & 15u) | ((fifth >> j) & 1) << 4;
    const uint32_t high = (block.qs[j] >> 4) | ((fifth >> (j + 16)) & 1) << 4;
    x[j] = static_cast<float>(static_cast<int32_t>(low) - 16) * d;
    x[j + 16] = static_cast<float>(static_cast<int32_t>(high) - 16) * d;
  }
}

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* block = reinterpret_cast<const BlockQ5_0*>(blocks);
  for (size_t i = 0; i < count; ++i) DecodeBlock(block[i], x + i * BlockQ5_0::kSize);
}

}  // namespace

constinit const Format kFormatQ5_0 = {
    .type = Type::kQ5_0,
    .name = "Q5_0",
    .block_size = BlockQ5_0::kSize,
    .block_bytes = sizeof(BlockQ5_0),
    .decode = Decode,
    .encode = nullptr,
};

}  // namespace thimble
