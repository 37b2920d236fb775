// SPDX-License-Identifier: Apache-2.0
//
// IQ4_NL, portable: plain loops, the float operations in ggml's order. The layout is told in iq4_nl.h; no intrinsics
// here.
#include "quant/iq4_nl.h"

#include "quant/half.h"
#include "quant/levels.h"

namespace thimble {
namespace {

constexpr LevelCodes<16> kCodes(kLevelsIQ4);

void DecodeBlock(const BlockIQ4_NL& block, float* __restrict x) {
  const float d = F32FromF16(block.d);
  for (size_t j = 0; j < 16; ++j) {
    x[j] = d * static_cast<float>(kLevelsIQ4[block.qs[j] & 15]);
    x[j + 16] = d * static_cast<float>(kLevelsIQ4[block.qs[j] >> 4]);
  }
}

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* block = reinterpret_cast<const BlockIQ4_NL*>(blocks);
  for (size_t i = 0; i < count; ++i) DecodeBlock(block[i], x + i * BlockIQ4_NL::kSize);
}

void Encode(const float* x, size_t count, std::byte* blocks) {
  auto* block = reinterpret_cast<BlockIQ4_NL*>(blocks);
  for (size_t i = 0; i < count; ++i) {
    uint8_t codes[BlockIQ4_NL::kSize];
    block[i].d = kCodes.Encode(x + i * BlockIQ4_NL::kSize, codes);
    for (size_t j = 0; j < 16; ++j) block[i].qs[j] = static_cast<uint8_t>(codes[j] | codes[j + 16] << 4);
  }
}

}  // namespace

constinit const Format kFormatIQ4_NL = {
    .type = Type::kIQ4_NL,
    .name = "IQ4_NL",
    .block_size = BlockIQ4_NL::kSize,
    .block_bytes = sizeof(BlockIQ4_NL),
    .decode = Decode,
    .encode = Encode,
};

}  // namespace thimble
