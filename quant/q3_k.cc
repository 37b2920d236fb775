// SPDX-License-Identifier: Apache-2.0
//
// Q3_K, portable: plain loops, the float operations in ggml's order. The layout is told in q3_k.h; no intrinsics here.
#include "quant/q3_k.h"

#include "quant/half.h"

namespace thimble {
namespace {

int ScaleCode(const uint8_t* scales, size_t sub) {
  const int low = (scales[sub % 8] >> (4 * (sub / 8))) & 15;
  const int high = (scales[8 + sub % 4] >> (2 * (sub / 4))) & 3;
  return low | high << 4;
}

void DecodeBlock(const BlockQ3_K& block, float* __restrict x) {
  const float d = F32FromF16(block.d);
  for (size_t sub = 0; sub < 16; ++sub) {
    const uint8_t* qs = block.qs + 32 * (sub / 8) + 16 * (sub % 2);
    const uint8_t* hmask = block.hmask + 16 * (sub % 2);
    const size_t shift = 2 * (sub / 2 % 4);
    const size_t bit = sub / 2;
    const float scale = d * static_cast<float>(ScaleCode(block.scales, sub) - 32);
    for (size_t l = 0; l < 16; ++l) {
      const int q = ((qs[l] >> shift) & 3) | ((hmask[l] >> bit) & 1) << 2;
      x[16 * sub + l] = scale * static_cast<float>(q - 4);
    }
  }
}

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* block = reinterpret_cast<const BlockQ3_K*>(blocks);
  for (size_t i = 0; i < count; ++i) DecodeBlock(block[i], x + i * BlockQ3_K::kSize);
}

}  // namespace

constinit const Format kFormatQ3_K = {
    .type = Type::kQ3_K,
    .name = "Q3_K",
    .block_size = BlockQ3_K::kSize,
    .block_bytes = sizeof(BlockQ3_K),
    .decode = Decode,
    .encode = nullptr,
};

}  // namespace thimble
