// SPDX-License-Identifier: Apache-2.0
//
// Q6_K, portable: plain loops, the float operations in ggml's order. The layout is told in q6_k.h; no intrinsics here.
#include "quant/q6_k.h"

#include "quant/half.h"

namespace thimble {
namespace {

void DecodeBlock(const BlockQ6_K& block, float* __restrict x) {
  const float d = F32FromF16(block.d);
  for (size_t sub = 0; sub < 16; ++sub) {
    const size_t j = sub / 2 % 4;
    const uint8_t* ql = block.ql + 64 * (sub / 8) + 32 * (j % 2) + 16 * (sub % 2);
    const uint8_t* qh = block.qh + 32 * (sub / 8) + 16 * (sub % 2);
    const size_t low_shift = 4 * (j / 2);
    const size_t high_shift = 2 * j;
    const float scale = d * static_cast<float>(block.scales[sub]);
    for (size_t l = 0; l < 16; ++l) {
      const int q = ((ql[l] >> low_shift) & 15) | ((qh[l] >> high_shift) & 3) << 4;
      x[16 * sub + l] = scale * static_cast<float>(q - 32);
    }
  }
}

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* block = reinterpret_cast<const BlockQ6_K*>(blocks);
  for (size_t i = 0; i < count; ++i) DecodeBlock(block[i], x + i * BlockQ6_K::kSize);
}

}  // namespace

constinit const Format kFormatQ6_K = {
    .type = Type::kQ6_K,
    .name = "Q6_K",
    .block_size = BlockQ6_K::kSize,
    .block_bytes = sizeof(BlockQ6_K),
    .decode = Decode,
    .encode = nullptr,
};

}  // namespace thimble
