// SPDX-License-Identifier: Apache-2.0
//
// NL3, portable: plain loops. The layout is told in nl3.h; no intrinsics here.
#include "quant/nl3.h"

#include "quant/half.h"
#include "quant/levels.h"

namespace thimble {
namespace {

constexpr LevelCodes<8> kCodes(kLevelsNL3);

void DecodeBlock(const BlockNL3& block, float* __restrict x) {
  const float d = F32FromF16(block.d);
  for (size_t j = 0; j < 32; ++j) {
    const int low = block.ql[j % 8] >> (j / 8 * 2) & 3;
    const int high = block.qh[j % 4] >> (j / 4) & 1;
    x[j] = d * static_cast<float>(kLevelsNL3[low | high << 2]);
  }
}

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* block = reinterpret_cast<const BlockNL3*>(blocks);
  for (size_t i = 0; i < count; ++i) DecodeBlock(block[i], x + i * BlockNL3::kSize);
}

void Encode(const float* x, size_t count, std::byte* blocks) {
  auto* block = reinterpret_cast<BlockNL3*>(blocks);
  for (size_t i = 0; i < count; ++i) {
    uint8_t codes[BlockNL3::kSize];
    block[i] = {.d = kCodes.Encode(x + i * BlockNL3::kSize, codes), .ql = {}, .qh = {}};
    for (size_t j = 0; j < BlockNL3::kSize; ++j) {
      block[i].ql[j % 8] = static_cast<uint8_t>(block[i].ql[j % 8] | (codes[j] & 3) << (j / 8 * 2));
      block[i].qh[j % 4] = static_cast<uint8_t>(block[i].qh[j % 4] | (codes[j] >> 2) << (j / 4));
    }
  }
}

}  // namespace

constinit const Format kFormatNL3 = {
    .type = Type::kNL3,
    .name = "NL3",
    .block_size = BlockNL3::kSize,
    .block_bytes = sizeof(BlockNL3),
    .decode = Decode,
    .encode = Encode,
};

}  // namespace thimble
