// SPDX-License-Identifier: Apache-2.0
//
// IQ4_XS, portable: plain loops, the float operations in ggml's order. The layout is told in iq4_xs.h; no intrinsics
// here.
#include "quant/iq4_xs.h"

#include "quant/half.h"
#include "quant/iq4_nl.h"

namespace thimble {
namespace {

void DecodeBlock(const BlockIQ4_XS& block, float* __restrict x) {
  const float d = F32FromF16(block.d);
  for (size_t sub = 0; sub < 8; ++sub) {
    const uint8_t* qs = block.qs + 16 * sub;
    const int low = (block.scales_l[sub / 2] >> (4 * (sub % 2))) & 15;
    const int high = (block.scales_h >> (2 * sub)) & 3;
    const float scale = d * static_cast<float>((low | high << 4) - 32);
    for (size_t j = 0; j < 16; ++j) {
      x[32 * sub + j] = scale * static_cast<float>(kLevelsIQ4[qs[j] & 15]);
      x[32 * sub + 16 + j] = scale * static_cast<float>(kLevelsIQ4[qs[j] >> 4]);
    }
  }
}

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* block = reinterpret_cast<const BlockIQ4_XS*>(blocks);
  for (size_t i = 0; i < count; ++i) DecodeBlock(block[i], x + i * BlockIQ4_XS::kSize);
}

}  // namespace

constinit const Format kFormatIQ4_XS = {
    .type = Type::kIQ4_XS,
    .name = "IQ4_XS",
    .block_size = BlockIQ4_XS::kSize,
    .block_bytes = sizeof(BlockIQ4_XS),
    .decode = Decode,
    .encode = nullptr,
};

}  // namespace thimble
