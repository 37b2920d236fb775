// SPDX-License-Identifier: Apache-2.0
//
// XNNPACK reads our tiles: its micro-kernel for processors with dotprod, called directly on QB4, computes what plain
// sums give. So the layout is the one that qb4.h says, judged by somebody else. Elsewhere XNNPACK has no kernel of this
// shape, and the test says that it was skipped.
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

#include "arm/cpu.h"
#include "core/weights.h"
#include "quant/half.h"
#include "quant/qb4.h"
#include "tests/xnnpack_gemm.h"

extern "C" thimble::XnnGemm xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c4__neondot;

int main() {
  using namespace thimble;
  constexpr int kSkipped = 77;
  constexpr size_t kRows = 48, kCols = 160, kBlocks = kCols / Qb4::kBlock;
  if (!DescribeCpu().dotprod) {
    std::puts("skipped: this processor has no dotprod");
    return kSkipped;
  }
  std::mt19937 random(1);
  const auto between = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  std::vector<int8_t> codes(kRows * kCols), x(kCols);
  std::vector<uint16_t> scales(kRows * kBlocks);
  for (int8_t& code : codes) code = static_cast<int8_t>(between(-8, 7));
  for (int8_t& code : x) code = static_cast<int8_t>(between(-127, 127));
  for (uint16_t& scale : scales) scale = BF16FromF32(static_cast<float>(between(-64, 64)) / 64.0f);
  std::vector<std::byte> tiles(static_cast<size_t>(MatrixBytes(kFormatQB4, kRows, kBlocks)));
  const Matrix w{&kFormatQB4, tiles.data(), kRows, kCols};
  for (size_t begin = 0; begin < kRows; begin += Qb4::kRows) {
    std::vector<PackedRow> rows;
    for (size_t r = begin; r < begin + Qb4::kRows; ++r) rows.push_back({&codes[r * kCols], &scales[r * kBlocks]});
    kFormatQB4.encode_tile(rows.data(), Qb4::kRows, kBlocks, &tiles[begin / Qb4::kRows * w.tile_bytes()]);
  }

  const float infinity = std::numeric_limits<float>::infinity();
  const XnnParams params = {-infinity, infinity, Qb4::kBlock};
  const XnnRow row = {5, 0.03125f};  // a zero point needs the sums of the rows
  std::vector<float> y(kRows);
  xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c4__neondot(1, kRows, kCols, x.data(), kCols, tiles.data(), y.data(),
                                                       kRows * sizeof(float), Qb4::kRows * sizeof(float), &params,
                                                       &row);
  int wrong = 0;
  for (size_t r = 0; r < kRows; ++r) {
    double sum = 0.0, magnitude = 0.0;
    for (size_t k = 0; k < kCols; ++k) {
      const double value = codes[r * kCols + k] * static_cast<double>(F32FromBF16(scales[r * kBlocks + k / 32])) *
                           (x[k] - row.zero_point) * static_cast<double>(row.scale);
      sum += value;
      magnitude += std::fabs(value);
    }
    if (!(std::fabs(static_cast<double>(y[r]) - sum) <= 1e-6 * magnitude)) ++wrong;
  }
  std::printf("%d of %zu results differ\n", wrong, kRows);
  return wrong == 0 ? 0 : 1;
}
