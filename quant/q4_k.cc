// SPDX-License-Identifier: Apache-2.0
//
// Q4_K, portable: plain loops, the float operations in ggml's order. The layout is told in q4_k.h; no intrinsics here.
#include "quant/q4_k.h"

#include "quant/half.h"
#include "quant/k_scales.h"

namespace thimble {
namespace {

void DecodeBlock(const BlockQ4_K& block, float* __restrict x) {
  const float d = F32FromF16(block.d);
  const float dmin = F32FromF16(block.dmin);
  for (size_t sub = 0; sub < 8; ++sub) {
    const uint8_t* qs = block.qs + 32 * (sub / 2);
    const size_t shift = 4 * (sub % 2);
    const KScale code = KScaleOf(block.scales, sub);
    const float scale = d * static_cast<float>(code.scale);
    const float minimum = dmin * static_cast<float>(code.minimum);
    for (size_t l = 0; l < 32; ++l) x[32 * sub + l] = scale * static_cast<float>((qs[l] >> shift) & 15) - minimum;
  }
}

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* block = reinterpret_cast<const BlockQ4_K*>(blocks);
  for (size_t i = 0; i < count; ++i) DecodeBlock(block[i], x + i * BlockQ4_K::kSize);
}

}  // namespace

constinit const Format kFormatQ4_K = {
    .type = Type::kQ4_K,
    .name = "Q4_K",
    .block_size = BlockQ4_K::kSize,
    .block_bytes = sizeof(BlockQ4_K),
    .decode = Decode,
    .encode = nullptr,
};

}  // namespace thimble
