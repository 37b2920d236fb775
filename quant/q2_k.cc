// SPDX-License-Identifier: Apache-2.0
//
// Q2_K, portable: plain loops, the float operations in ggml's order. The layout is told in q2_k.h; no intrinsics here.
#include "quant/q2_k.h"

#include "quant/half.h"

namespace thimble {
namespace {

void DecodeBlock(const BlockQ2_K& block, float* __restrict x) {
  const float d = F32FromF16(block.d);
  const float dmin = F32FromF16(block.dmin);
  for (size_t sub = 0; sub < 16; ++sub) {
    const uint8_t* qs = block.qs + 32 * (sub / 8) + 16 * (sub % 2);
    const size_t shift = 2 * (sub / 2 % 4);
    const float scale = d * static_cast<float>(block.scales[sub] & 15);
    const float minimum = dmin * static_cast<float>(block.scales[sub] >> 4);
    for (size_t l = 0; l < 16; ++l) x[16 * sub + l] = scale * static_cast<float>((qs[l] >> shift) & 3) - minimum;
  }
}

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* block = reinterpret_cast<const BlockQ2_K*>(blocks);
  for (size_t i = 0; i < count; ++i) DecodeBlock(block[i], x + i * BlockQ2_K::kSize);
}

}  // namespace

constinit const Format kFormatQ2_K = {
    .type = Type::kQ2_K,
    .name = "Q2_K",
    .block_size = BlockQ2_K::kSize,
    .block_bytes = sizeof(BlockQ2_K),
    .decode = Decode,
    .encode = nullptr,
};

}  // namespace thimble
