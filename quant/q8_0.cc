// SPDX-License-Identifier: Apache-2.0
//
// Q8_0, portable: plain loops, the float operations in ggml's order. The layout is told in q8_0.h; no intrinsics here.
#include "quant/q8_0.h"

#include "quant/half.h"
#include "quant/lanes.h"

namespace thimble {
namespace {

void DecodeBlock(const BlockQ8_0& block, float* x) {
  const float d = F32FromF16(block.d);
  for (size_t j = 0; j < 32; ++j) x[j] = static_cast<float>(block.qs[j]) * d;
}

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* block = reinterpret_cast<const BlockQ8_0*>(blocks);
  for (size_t i = 0; i < count; ++i) DecodeBlock(block[i], x + i * BlockQ8_0::kSize);
}

float Dot(const std::byte* blocks, size_t count, const float* x) {
  const auto* block = reinterpret_cast<const BlockQ8_0*>(blocks);
  float w[BlockQ8_0::kSize];
  Lanes lanes;
  for (size_t i = 0; i < count; ++i) {
    DecodeBlock(block[i], w);
    lanes.Add(w, x + i * BlockQ8_0::kSize, BlockQ8_0::kSize);
  }
  return lanes.Fold();
}

}  // namespace

constinit const Format kFormatQ8_0 = {
    .type = Type::kQ8_0,
    .name = "Q8_0",
    .block_size = BlockQ8_0::kSize,
    .block_bytes = sizeof(BlockQ8_0),
    .decode = Decode,
    .dot = Dot,
    .encode = nullptr,
};

}  // namespace thimble
