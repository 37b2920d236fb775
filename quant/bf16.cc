// SPDX-License-Identifier: Apache-2.0
//
// BF16, portable: plain loops over the conversions of half.h. No intrinsics here.
#include "quant/bf16.h"

#include <algorithm>

#include "quant/half.h"
#include "quant/lanes.h"

namespace thimble {
namespace {

constexpr size_t kTile = 256;  // values decoded at a time by Dot
static_assert(kTile % kLanes == 0);

void Decode(const std::byte* blocks, size_t count, float* x) {
  const auto* half = reinterpret_cast<const uint16_t*>(blocks);
  for (size_t i = 0; i < count; ++i) x[i] = F32FromBF16(half[i]);
}

float Dot(const std::byte* blocks, size_t count, const float* x) {
  float w[kTile];
  Lanes lanes;
  for (size_t i = 0; i < count; i += kTile) {
    const size_t n = std::min(kTile, count - i);
    Decode(blocks + i * sizeof(uint16_t), n, w);
    lanes.Add(w, x + i, n);
  }
  return lanes.Fold();
}

}  // namespace

constinit const Format kFormatBF16 = {
    .type = Type::kBF16,
    .name = "BF16",
    .block_size = 1,
    .block_bytes = sizeof(uint16_t),
    .decode = Decode,
    .dot = Dot,
    .encode = nullptr,
};

}  // namespace thimble
