// SPDX-License-Identifier: Apache-2.0
//
// Products of Q4_0 and Q8_0 as they lie in a file, and activations in 8 bits, by SMLAD: two products of 16 bits and
// their sum in one instruction. Two rows at a time, for one token or for two, whose codes are widened to 16 bits first,
// in the order in which weights come out of their words. The loops over blocks are in assembly language: they need
// every register that there is, and a compiler that does not find them all takes twice as many instructions.
#include <arm_acle.h>

#include "arm/dsp.h"
#include "arm/float_vector.h"
#include "core/portable.h"
#include "quant/q4_0.h"
#include "quant/q8_0.h"

namespace thimble {
namespace {

constexpr size_t kBlock = Activations::kBlock;
constexpr size_t kPairs = kBlock / 2;

/// A block of widened activations of kTokens tokens.
template <size_t kTokens>
struct WideBlock {
  int32_t start[kTokens];  // the sum of the codes, times what is subtracted from a code of the weights
  float scale[kTokens];
  uint32_t pairs[kPairs][kTokens];
};

/// Blocks of two rows of Q4_0. The words of weights lie on 2 bytes, which a load of one word may. `mask` stands in a
/// register because only there the shift of `and` is free.
struct Nibbles {
  static constexpr size_t kBytes = sizeof(BlockQ4_0);
  static constexpr int32_t kMinus = 8;
  static_assert(kBytes == 18, "the steps of row0 and row1 below");

  /// The place in WideBlock::pairs of the values 4i and 4i + 2; that of 4i + 1 and 4i + 3 is kOdd behind it.
  static constexpr size_t Place(size_t i) { return i % 4 * 4 + i / 4; }
  static constexpr size_t kOdd = 2;

  /// y[r] += row r times a token.
  static void Multiply(const std::byte* row0, const std::byte* row1, const WideBlock<1>* wide, const WideBlock<1>* end,
                       float (&y)[1][2]) {
    uint32_t a0, a1, w0, w1, pair, u, v;
    asm volatile(
        R"(
      1:
        ldr     %[a0], [%[wide]], #4
        vldmia  %[wide]!, {s12}
        mov     %[a1], %[a0]
      .irp offset, 2, 6, 10, 14
        ldr     %[w0], [%[row0], #\offset]
        ldr     %[w1], [%[row1], #\offset]
        ldrd    %[u], %[v], [%[wide]], #8
        and     %[pair], %[mask], %[w0]
        smlad   %[a0], %[pair], %[u], %[a0]
        and     %[pair], %[mask], %[w1]
        smlad   %[a1], %[pair], %[u], %[a1]
        and     %[pair], %[mask], %[w0], lsr #4
        smlad   %[a0], %[pair], %[v], %[a0]
        and     %[pair], %[mask], %[w1], lsr #4
        smlad   %[a1], %[pair], %[v], %[a1]
        ldrd    %[u], %[v], [%[wide]], #8
        and     %[pair], %[mask], %[w0], lsr #8
        smlad   %[a0], %[pair], %[u], %[a0]
        and     %[pair], %[mask], %[w1], lsr #8
        smlad   %[a1], %[pair], %[u], %[a1]
        and     %[pair], %[mask], %[w0], lsr #12
        smlad   %[a0], %[pair], %[v], %[a0]
        and     %[pair], %[mask], %[w1], lsr #12
        smlad   %[a1], %[pair], %[v], %[a1]
      .endr
        ldrh    %[w0], [%[row0]], #18
        ldrh    %[w1], [%[row1]], #18
        vmov    s14, s15, %[a0], %[a1]
        vcvt.f32.s32 s14, s14
        vcvt.f32.s32 s15, s15
        vmov    s10, s11, %[w0], %[w1]
        vcvtb.f32.f16 s10, s10
        vcvtb.f32.f16 s11, s11
        vmul.f32 s10, s10, s12
        vmul.f32 s11, s11, s12
        vmul.f32 s14, s14, s10
        vmul.f32 s15, s15, s11
        vadd.f32 %[y0], %[y0], s14
        vadd.f32 %[y1], %[y1], s15
        cmp     %[wide], %[end]
        bne     1b
    )"
        : [row0] "+r"(row0), [row1] "+r"(row1), [wide] "+r"(wide), [a0] "=&r"(a0), [a1] "=&r"(a1), [w0] "=&r"(w0),
          [w1] "=&r"(w1), [pair] "=&r"(pair), [u] "=&r"(u), [v] "=&r"(v), [y0] "+t"(y[0][0]), [y1] "+t"(y[0][1])
        : [end] "r"(end), [mask] "r"(0x000f000f)
        : "s10", "s11", "s12", "s14", "s15", "cc", "memory");
  }

  /// y[t][r] += row r times token t.
  static void Multiply(const std::byte* row0, const std::byte* row1, const WideBlock<2>* wide, const WideBlock<2>* end,
                       float (&y)[2][2]) {
    uint32_t a0, a1, b0, b1, w0, w1, pair, u, v;
    asm volatile(R"(
      1:
        ldrd    %[a0], %[b0], [%[wide]], #8
        vldmia  %[wide]!, {s12, s13}
        mov     %[a1], %[a0]
        mov     %[b1], %[b0]
      .irp offset, 2, 6, 10, 14
        ldr     %[w0], [%[row0], #\offset]
        ldr     %[w1], [%[row1], #\offset]
        ldrd    %[u], %[v], [%[wide]], #8
        and     %[pair], %[mask], %[w0]
        smlad   %[a0], %[pair], %[u], %[a0]
        smlad   %[b0], %[pair], %[v], %[b0]
        and     %[pair], %[mask], %[w1]
        smlad   %[a1], %[pair], %[u], %[a1]
        smlad   %[b1], %[pair], %[v], %[b1]
      .irp shift, 4, 8, 12
        ldrd    %[u], %[v], [%[wide]], #8
        and     %[pair], %[mask], %[w0], lsr #\shift
        smlad   %[a0], %[pair], %[u], %[a0]
        smlad   %[b0], %[pair], %[v], %[b0]
        and     %[pair], %[mask], %[w1], lsr #\shift
        smlad   %[a1], %[pair], %[u], %[a1]
        smlad   %[b1], %[pair], %[v], %[b1]
      .endr
      .endr
        ldrh    %[w0], [%[row0]], #18
        ldrh    %[w1], [%[row1]], #18
        vmov    s8, s9, %[w0], %[w1]
        vcvtb.f32.f16 s8, s8
        vcvtb.f32.f16 s9, s9
        vmov    s14, s15, %[a0], %[a1]
        vcvt.f32.s32 s14, s14
        vcvt.f32.s32 s15, s15
        vmul.f32 s10, s8, s12
        vmul.f32 s11, s9, s12
        vmul.f32 s14, s14, s10
        vmul.f32 s15, s15, s11
        vadd.f32 %[y00], %[y00], s14
        vadd.f32 %[y01], %[y01], s15
        vmov    s14, s15, %[b0], %[b1]
        vcvt.f32.s32 s14, s14
        vcvt.f32.s32 s15, s15
        vmul.f32 s10, s8, s13
        vmul.f32 s11, s9, s13
        vmul.f32 s14, s14, s10
        vmul.f32 s15, s15, s11
        vadd.f32 %[y10], %[y10], s14
        vadd.f32 %[y11], %[y11], s15
        cmp     %[wide], %[end]
        bne     1b
    )"
                 : [row0] "+r"(row0), [row1] "+r"(row1), [wide] "+r"(wide), [a0] "=&r"(a0), [a1] "=&r"(a1),
                   [b0] "=&r"(b0), [b1] "=&r"(b1), [w0] "=&r"(w0), [w1] "=&r"(w1), [pair] "=&r"(pair), [u] "=&r"(u),
                   [v] "=&r"(v), [y00] "+t"(y[0][0]), [y01] "+t"(y[0][1]), [y10] "+t"(y[1][0]), [y11] "+t"(y[1][1])
                 : [end] "r"(end), [mask] "r"(0x000f000f)
                 : "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "cc", "memory");
  }
};

/// The same of Q8_0.
struct Bytes {
  static constexpr size_t kBytes = sizeof(BlockQ8_0);
  static constexpr int32_t kMinus = 0;
  static_assert(kBytes == 34, "the steps of row0 and row1 below");

  static constexpr size_t Place(size_t i) { return 2 * i; }
  static constexpr size_t kOdd = 1;

  static void Multiply(const std::byte* row0, const std::byte* row1, const WideBlock<1>* wide, const WideBlock<1>* end,
                       float (&y)[1][2]) {
    uint32_t a0, a1, w0, w1, pair, u, v;
    asm volatile(
        R"(
      1:
        ldr     %[a0], [%[wide]], #4
        vldmia  %[wide]!, {s12}
        mov     %[a1], %[a0]
      .irp offset, 2, 6, 10, 14, 18, 22, 26, 30
        ldr     %[w0], [%[row0], #\offset]
        ldr     %[w1], [%[row1], #\offset]
        ldrd    %[u], %[v], [%[wide]], #8
        sxtb16  %[pair], %[w0]
        smlad   %[a0], %[pair], %[u], %[a0]
        sxtb16  %[pair], %[w1]
        smlad   %[a1], %[pair], %[u], %[a1]
        sxtb16  %[pair], %[w0], ror #8
        smlad   %[a0], %[pair], %[v], %[a0]
        sxtb16  %[pair], %[w1], ror #8
        smlad   %[a1], %[pair], %[v], %[a1]
      .endr
        ldrh    %[w0], [%[row0]], #34
        ldrh    %[w1], [%[row1]], #34
        vmov    s14, s15, %[a0], %[a1]
        vcvt.f32.s32 s14, s14
        vcvt.f32.s32 s15, s15
        vmov    s10, s11, %[w0], %[w1]
        vcvtb.f32.f16 s10, s10
        vcvtb.f32.f16 s11, s11
        vmul.f32 s10, s10, s12
        vmul.f32 s11, s11, s12
        vmul.f32 s14, s14, s10
        vmul.f32 s15, s15, s11
        vadd.f32 %[y0], %[y0], s14
        vadd.f32 %[y1], %[y1], s15
        cmp     %[wide], %[end]
        bne     1b
    )"
        : [row0] "+r"(row0), [row1] "+r"(row1), [wide] "+r"(wide), [a0] "=&r"(a0), [a1] "=&r"(a1), [w0] "=&r"(w0),
          [w1] "=&r"(w1), [pair] "=&r"(pair), [u] "=&r"(u), [v] "=&r"(v), [y0] "+t"(y[0][0]), [y1] "+t"(y[0][1])
        : [end] "r"(end)
        : "s10", "s11", "s12", "s14", "s15", "cc", "memory");
  }

  static void Multiply(const std::byte* row0, const std::byte* row1, const WideBlock<2>* wide, const WideBlock<2>* end,
                       float (&y)[2][2]) {
    uint32_t a0, a1, b0, b1, w0, w1, pair, u, v;
    asm volatile(R"(
      1:
        ldrd    %[a0], %[b0], [%[wide]], #8
        vldmia  %[wide]!, {s12, s13}
        mov     %[a1], %[a0]
        mov     %[b1], %[b0]
      .irp offset, 2, 6, 10, 14, 18, 22, 26, 30
        ldr     %[w0], [%[row0], #\offset]
        ldr     %[w1], [%[row1], #\offset]
        ldrd    %[u], %[v], [%[wide]], #8
        sxtb16  %[pair], %[w0]
        smlad   %[a0], %[pair], %[u], %[a0]
        smlad   %[b0], %[pair], %[v], %[b0]
        sxtb16  %[pair], %[w1]
        smlad   %[a1], %[pair], %[u], %[a1]
        smlad   %[b1], %[pair], %[v], %[b1]
        ldrd    %[u], %[v], [%[wide]], #8
        sxtb16  %[pair], %[w0], ror #8
        smlad   %[a0], %[pair], %[u], %[a0]
        smlad   %[b0], %[pair], %[v], %[b0]
        sxtb16  %[pair], %[w1], ror #8
        smlad   %[a1], %[pair], %[u], %[a1]
        smlad   %[b1], %[pair], %[v], %[b1]
      .endr
        ldrh    %[w0], [%[row0]], #34
        ldrh    %[w1], [%[row1]], #34
        vmov    s8, s9, %[w0], %[w1]
        vcvtb.f32.f16 s8, s8
        vcvtb.f32.f16 s9, s9
        vmov    s14, s15, %[a0], %[a1]
        vcvt.f32.s32 s14, s14
        vcvt.f32.s32 s15, s15
        vmul.f32 s10, s8, s12
        vmul.f32 s11, s9, s12
        vmul.f32 s14, s14, s10
        vmul.f32 s15, s15, s11
        vadd.f32 %[y00], %[y00], s14
        vadd.f32 %[y01], %[y01], s15
        vmov    s14, s15, %[b0], %[b1]
        vcvt.f32.s32 s14, s14
        vcvt.f32.s32 s15, s15
        vmul.f32 s10, s8, s13
        vmul.f32 s11, s9, s13
        vmul.f32 s14, s14, s10
        vmul.f32 s15, s15, s11
        vadd.f32 %[y10], %[y10], s14
        vadd.f32 %[y11], %[y11], s15
        cmp     %[wide], %[end]
        bne     1b
    )"
                 : [row0] "+r"(row0), [row1] "+r"(row1), [wide] "+r"(wide), [a0] "=&r"(a0), [a1] "=&r"(a1),
                   [b0] "=&r"(b0), [b1] "=&r"(b1), [w0] "=&r"(w0), [w1] "=&r"(w1), [pair] "=&r"(pair), [u] "=&r"(u),
                   [v] "=&r"(v), [y00] "+t"(y[0][0]), [y01] "+t"(y[0][1]), [y10] "+t"(y[1][0]), [y11] "+t"(y[1][1])
                 : [end] "r"(end)
                 : "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "cc", "memory");
  }
};

uint32_t EvenBytes(uint32_t word) { return static_cast<uint32_t>(__sxtb16(static_cast<int8x4_t>(word))); }
uint32_t OddBytes(uint32_t word) {
  uint32_t pair;
  asm("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
  return pair;
}

template <class Codes, size_t kTokens>
[[gnu::noinline]] void Widen(const Activations& x, WideBlock<kTokens>* wide) {
  const size_t blocks = x.cols / kBlock;
  for (size_t t = 0; t < kTokens; ++t) {
    const int8_t* codes = x.codes + t * x.cols;
    for (size_t b = 0; b < blocks; ++b, codes += kBlock) {
      wide[b].start[t] = -Codes::kMinus * x.sums[t * blocks + b];
      wide[b].scale[t] = x.scales[t * blocks + b];
      Unroll<kBlock / 4>([&](auto i) {
        uint32_t word;
        __builtin_memcpy(&word, codes + 4 * i, sizeof(word));
        wide[b].pairs[Codes::Place(i)][t] = EvenBytes(word);
        wide[b].pairs[Codes::Place(i) + Codes::kOdd][t] = OddBytes(word);
      });
    }
  }
}

/// `count` pairs of rows, the second of each `second` bytes behind the first.
template <class Codes, size_t kTokens>
[[gnu::noinline]] void MultiplyPairs(const std::byte* row, size_t second, size_t count, const WideBlock<kTokens>* wide,
                                     const WideBlock<kTokens>* end, float* y, size_t y_stride) {
  for (; count > 0; --count, row += 2 * second, y += 2) {
    float sums[kTokens][2] = {};
    Codes::Multiply(row, row + second, wide, end, sums);
    Unroll<kTokens>([&](auto t) {
      y[t * y_stride] = sums[t][0];
      y[t * y_stride + 1] = sums[t][1];
    });
  }
}

template <class Codes, size_t kTokens>
void MultiplyTokens(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                    std::byte* scratch) {
  auto* wide = reinterpret_cast<WideBlock<kTokens>*>(scratch);
  Widen<Codes>(x, wide);
  const size_t blocks = x.cols / kBlock;
  const size_t bytes = blocks * Codes::kBytes;
  const size_t rows = end - begin;
  MultiplyPairs<Codes>(w.data + begin * bytes, bytes, rows / 2, wide, wide + blocks, y, y_stride);
  if (rows % 2 == 0) return;
  float last[kTokens][2];
  MultiplyPairs<Codes>(w.data + (end - 1) * bytes, 0, 1, wide, wide + blocks, last[0], 2);
  for (size_t t = 0; t < kTokens; ++t) y[t * y_stride + rows - 1] = last[t][0];
}

template <class Codes>
void MultiplyAll(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
                 std::byte* scratch) {
  size_t t = 0;
  for (; t + 2 <= x.tokens; t += 2) {
    MultiplyTokens<Codes, 2>(w, begin, end, x.From(t), y + t * y_stride, y_stride, scratch);
  }
  if (t < x.tokens) MultiplyTokens<Codes, 1>(w, begin, end, x.From(t), y + t * y_stride, y_stride, scratch);
}

}  // namespace

void DspMatmul(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
               std::byte* scratch) {
  if (x.codes != nullptr && w.format->type == Type::kQ4_0) {
    MultiplyAll<Nibbles>(w, begin, end, x, y, y_stride, scratch);
  } else if (x.codes != nullptr && w.format->type == Type::kQ8_0) {
    MultiplyAll<Bytes>(w, begin, end, x, y, y_stride, scratch);
  } else {
    PortableMatmul(w, begin, end, x, y, y_stride, scratch);
  }
}

}  // namespace thimble
