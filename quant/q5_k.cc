// SPDX-License-Identifier: Apache-2.0
//
// Q5_K, portable: plain loops, the float operations in ggml's order. The layout is told in q5_k.h; no intrinsics here.
#include "quant/q5_k.h"

#include "quant/half.h"
#include "quant/k_scales.h"

namespace thimble {
namespace {

void DecodeBlock(const BlockQ5_K& block, float* __restrict x) {
  const float d = F32FromF16(block.d);
  const float dmin = F32FromF16(block.dmin);
  for (size_t sub = 0; sub < 8; ++sub) {
    const uint8_t* qs = block.qs + 32 * (sub / 2);
    const size_t shift = 4 * (sub % 2);
    const KScale code = KScaleOf(block.scales, sub);
    const float scale = d * static_cast<float>(code.scale);
    const float minimum = dmin * static_cast<float>(code.minimum);
    for (size_t l = 0; l < 32; ++l) {
      const int q = ((qs[l] >> shift) & 15) | ((block.qh[l] >> sub) & 1) << 4;
      x[32 * sub + l] = scale * static_cast<float>(q) - minimum;
    }
  }
}

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* block = reinterpret_cast<const BlockQ5_K*>(blocks);
  for (size_t i = 0; i < count; ++i) DecodeBlock(block[i], x + i * BlockQ5_K::kSize);
}

}  // namespace

constinit const Format kFormatQ5_K = {
    .type = Type::kQ5_K,
    .name = "Q5_K",
    .block_size = BlockQ5_K::kSize,
    .block_bytes = sizeof(BlockQ5_K),
    .decode = Decode,
    .encode = nullptr,
};

}  // namespace thimble
