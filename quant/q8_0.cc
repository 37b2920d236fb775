// SPDX-License-Identifier: Apache-2.0
//
// Q8_0, portable: plain loops, the float operations in ggml's order. The layout is told in q8_0.h; no intrinsics here.
#include "quant/q8_0.h"

#include "quant/half.h"

namespace thimble {
namespace {

void DecodeBlock(const BlockQ8_0& block, float* __restrict x) {
  const float d = F32FromF16(block.d);
  for (size_t j = 0; j < 32; ++j) x[j] = static_cast<float>(block.qs[j]) * d;
}

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* block = reinterpret_cast<const BlockQ8_0*>(blocks);
  for (size_t i = 0; i < count; ++i) DecodeBlock(block[i], x + i * BlockQ8_0::kSize);
}

void Encode(const float* x, size_t count, std::byte* blocks) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  constexpr uint16_t kNoNumber = 0x7e00;
  auto* block = reinterpret_cast<BlockQ8_0*>(blocks);
  for (size_t b = 0; b < count; ++b, x += BlockQ8_0::kSize) {
    uint32_t highest = 0;
    for (size_t i = 0; i < BlockQ8_0::kSize; ++i) {
      const uint32_t magnitude = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu;
      highest = magnitude > highest ? magnitude : highest;
    }
    block[b].d = F16FromF32(std::bit_cast<float>(highest) / 127);
    if ((block[b].d & 0x7c00) == 0x7c00) block[b].d = kNoNumber;
    const float scale = F32FromF16(block[b].d);
    const float inverse = scale > 0 ? 1 / scale : 0;
    for (size_t i = 0; i < BlockQ8_0::kSize; ++i) {
      float code = (x[i] * inverse + kRound) - kRound;
      code = code > -127 ? code : -127;
      code = code < 127 ? code : 127;
      block[b].qs[i] = static_cast<int8_t>(code);
    }
  }
}

}  // namespace

constinit const Format kFormatQ8_0 = {
    .type = Type::kQ8_0,
    .name = "Q8_0",
    .block_size = BlockQ8_0::kSize,
    .block_bytes = sizeof(BlockQ8_0),
    .decode = Decode,
    .encode = Encode,
};

}  // namespace thimble
