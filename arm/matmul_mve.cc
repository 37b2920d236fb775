// SPDX-License-Identifier: Apache-2.0
//
// Products of Q4_0 and Q8_0 as they lie in a file, and activations in 8 bits, by Helium: sixteen products and their sum
// in one instruction. Four rows at a time, whose scales are gathered into one vector. The loops over blocks are in
// assembly language: of eight vector registers a compiler has too few.
#include "arm/board_isa.h"

#ifdef THIMBLE_MVE
#include <arm_mve.h>

#include "arm/mve.h"
#include "core/portable.h"
#include "quant/q4_0.h"
#include "quant/q8_0.h"

namespace thimble {
namespace {

constexpr size_t kBlock = Activations::kBlock;
constexpr size_t kRows = 4;

/// Four rows, `step` bytes apart, and a token that they are multiplied with.
struct Group {
  const std::byte* row;
  size_t step;
  size_t blocks;
  const int8_t* codes;
  const float* scales;
  const int32_t* sums;
};

// What the loops are made of. q0 and q1 hold the codes of a token's block, q2 and q3 those of a row's; row0 points to
// the scale of its block, the other rows behind it. The macros are the preprocessor's, so that the compiler can count
// their instructions. vcvtb stands with q0 because binutils 2.40 encodes twice the number of its registers.
// clang-format off
#define THIMBLE_MULTIPLY(sum)           \
  "vmlav.s8 " sum ", q2, q0\n\t"        \
  "vmlava.s8 " sum ", q3, q1\n\t"
#define THIMBLE_NIBBLES(address)        \
  "vldrb.u8 q3, " address "\n\t"        \
  "vand q2, q3, %q[low]\n\t"            \
  "vshr.u8 q3, q3, #4\n\t"
#define THIMBLE_BYTES(first, second)    \
  "vldrb.u8 q2, " first "\n\t"          \
  "vldrb.u8 q3, " second "\n\t"
#define THIMBLE_FOUR_ROWS(row0, row1, row2, row3, minus, bytes) \
  "dls lr, %[blocks]\n\t"                                       \
  "1:\n\t"                                                      \
  "vldrb.u8 q0, [%[codes]], #16\n\t"                            \
  "vldrb.u8 q1, [%[codes]], #16\n\t"                            \
  row0 THIMBLE_MULTIPLY("%[s]")                                 \
  row2 THIMBLE_MULTIPLY("%[t]")                                 \
  "vmov q4[2], q4[0], %[s], %[t]\n\t"                           \
  row1 THIMBLE_MULTIPLY("%[s]")                                 \
  row3 THIMBLE_MULTIPLY("%[t]")                                 \
  "vmov q4[3], q4[1], %[s], %[t]\n\t"                           \
  "vldrh.u32 q0, [%[row0], %q[offsets]]\n\t"                    \
  "add %[row0], #" bytes "\n\t"                                 \
  "vcvtb.f32.f16 q0, q0\n\t"                                    \
  "ldr %[s], [%[scales]], #4\n\t"                               \
  minus                                                         \
  "vcvt.f32.s32 q4, q4\n\t"                                     \
  "vmul.f32 q0, q0, %[s]\n\t"                                   \
  "vfma.f32 %q[total], q4, q0\n\t"                              \
  "le lr, 1b"
// clang-format on

struct Nibbles {
  static constexpr size_t kBytes = sizeof(BlockQ4_0);
  static_assert(kBytes == 18);

  /// Row `row0` and those behind it times the token, a row a lane.
  [[gnu::always_inline]] static float32x4_t Multiply(const Group& g, const std::byte* row0, uint32x4_t offsets) {
    const std::byte *row1 = row0 + g.step + 2, *row2 = row1 + g.step, *row3 = row2 + g.step;
    const int8_t* codes = g.codes;
    const float* scales = g.scales;
    const int32_t* sums = g.sums;
    float32x4_t total = vdupq_n_f32(0.0f);
    int32_t s, t;
    asm volatile(THIMBLE_FOUR_ROWS(THIMBLE_NIBBLES("[%[row0], #2]"), THIMBLE_NIBBLES("[%[row1]], #18"),
                                   THIMBLE_NIBBLES("[%[row2]], #18"), THIMBLE_NIBBLES("[%[row3]], #18"),
                                   "ldr %[t], [%[sums]], #4\n\t"
                                   "lsl %[t], %[t], #3\n\t"
                                   "vsub.i32 q4, q4, %[t]\n\t",
                                   "18")
                 : [total] "+w"(total), [row0] "+r"(row0), [row1] "+r"(row1), [row2] "+r"(row2), [row3] "+r"(row3),
                   [codes] "+r"(codes), [scales] "+r"(scales), [sums] "+r"(sums), [s] "=&Te"(s), [t] "=&Te"(t)
                 : [blocks] "r"(g.blocks), [offsets] "w"(offsets), [low] "w"(vdupq_n_u8(15))
                 : "lr", "q0", "q1", "q2", "q3", "q4", "memory");
    return total;
  }
};

struct Bytes {
  static constexpr size_t kBytes = sizeof(BlockQ8_0);
  static_assert(kBytes == 34);

  [[gnu::always_inline]] static float32x4_t Multiply(const Group& g, const std::byte* row0, uint32x4_t offsets) {
    const std::byte *row1 = row0 + g.step + 2, *row2 = row1 + g.step, *row3 = row2 + g.step;
    const int8_t* codes = g.codes;
    const float* scales = g.scales;
    float32x4_t total = vdupq_n_f32(0.0f);
    int32_t s, t;
    asm volatile(THIMBLE_FOUR_ROWS(THIMBLE_BYTES("[%[row0], #2]", "[%[row0], #18]"),
                                   THIMBLE_BYTES("[%[row1]], #16", "[%[row1]], #18"),
                                   THIMBLE_BYTES("[%[row2]], #16", "[%[row2]], #18"),
                                   THIMBLE_BYTES("[%[row3]], #16", "[%[row3]], #18"), "", "34")
                 : [total] "+w"(total), [row0] "+r"(row0), [row1] "+r"(row1), [row2] "+r"(row2), [row3] "+r"(row3),
                   [codes] "+r"(codes), [scales] "+r"(scales), [s] "=&Te"(s), [t] "=&Te"(t)
                 : [blocks] "r"(g.blocks), [offsets] "w"(offsets)
                 : "lr", "q0", "q1", "q2", "q3", "q4", "memory");
    return total;
  }
};

/// y[0 .. 4 * count) = rows of `count` groups, one behind the other; of each only the lanes in `lanes`.
template <class Codes>
[[gnu::noinline]] void MultiplyGroups(const Group& group, size_t count, mve_pred16_t lanes, float* y) {
  const uint32x4_t offsets = vmulq_n_u32(vidupq_n_u32(0, 1), static_cast<uint32_t>(group.step));
  const std::byte* row = group.row;
  for (; count > 0; --count, row += kRows * group.step, y += kRows) {
    vstrwq_p_f32(y, Codes::Multiply(group, row, offsets), lanes);
  }
}

template <class Codes>
void Multiply(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride) {
  constexpr mve_pred16_t kAll = 0xffff, kFirst = 0x000f;
  const size_t blocks = x.cols / kBlock;
  const size_t step = blocks * Codes::kBytes;
  const size_t rows = end - begin;
  const std::byte* first = w.data + begin * step;
  for (size_t t = 0; t < x.tokens; ++t, y += y_stride) {
    Group group = {first, step, blocks, x.codes + t * x.cols, x.scales + t * blocks, x.sums + t * blocks};
    MultiplyGroups<Codes>(group, rows / kRows, kAll, y);
    if (rows % kRows == 0) continue;
    if (rows > kRows) {  // some rows again: they get the same
      group.row = first + (rows - kRows) * step;
      MultiplyGroups<Codes>(group, 1, kAll, y + rows - kRows);
      continue;
    }
    group.step = 0;
    for (size_t r = 0; r < rows; ++r, group.row += step) MultiplyGroups<Codes>(group, 1, kFirst, y + r);
  }
}

}  // namespace

void MveMatmul(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
               std::byte* scratch) {
  if (x.codes != nullptr && w.format->type == Type::kQ4_0) {
    Multiply<Nibbles>(w, begin, end, x, y, y_stride);
  } else if (x.codes != nullptr && w.format->type == Type::kQ8_0) {
    Multiply<Bytes>(w, begin, end, x, y, y_stride);
  } else {
    PortableMatmul(w, begin, end, x, y, y_stride, scratch);
  }
}

}  // namespace thimble

#endif  // THIMBLE_MVE
