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

// What the loops are made of: w0 and w1 hold words of the two rows, u and v pairs of activations. The macros are the
// preprocessor's, so that the compiler can count their instructions.
// clang-format off
#define THIMBLE_LOAD_WEIGHTS(offset)             \
  "ldr %[w0], [%[row0], #" offset "]\n\t"        \
  "ldr %[w1], [%[row1], #" offset "]\n\t"
#define THIMBLE_LOAD_PAIRS "ldrd %[u], %[v], [%[wide]], #8\n\t"
// A pair of weights of each row, as `take` brings it out of the words, times the only token's in `x`.
#define THIMBLE_ONE(take, shift, x)              \
  take("%[w0]", shift)                           \
  "smlad %[a0], %[pair], " x ", %[a0]\n\t"       \
  take("%[w1]", shift)                           \
  "smlad %[a1], %[pair], " x ", %[a1]\n\t"
// Times the pairs of two tokens.
#define THIMBLE_TWO(take, shift)                 \
  THIMBLE_LOAD_PAIRS                             \
  take("%[w0]", shift)                           \
  "smlad %[a0], %[pair], %[u], %[a0]\n\t"        \
  "smlad %[b0], %[pair], %[v], %[b0]\n\t"        \
  take("%[w1]", shift)                           \
  "smlad %[a1], %[pair], %[u], %[a1]\n\t"        \
  "smlad %[b1], %[pair], %[v], %[b1]\n\t"
// A nibble; the shift is free where the mask lies in a register. A byte.
#define THIMBLE_NIBBLE(word, shift) "and %[pair], %[mask], " word shift "\n\t"
#define THIMBLE_BYTE(word, shift) "sxtb16 %[pair], " word shift "\n\t"

#define THIMBLE_NIBBLES_OF_ONE(offset)           \
  THIMBLE_LOAD_WEIGHTS(offset)                   \
  THIMBLE_LOAD_PAIRS                             \
  THIMBLE_ONE(THIMBLE_NIBBLE, "", "%[u]")        \
  THIMBLE_ONE(THIMBLE_NIBBLE, ", lsr #4", "%[v]") \
  THIMBLE_LOAD_PAIRS                             \
  THIMBLE_ONE(THIMBLE_NIBBLE, ", lsr #8", "%[u]") \
  THIMBLE_ONE(THIMBLE_NIBBLE, ", lsr #12", "%[v]")
#define THIMBLE_NIBBLES_OF_TWO(offset)           \
  THIMBLE_LOAD_WEIGHTS(offset)                   \
  THIMBLE_TWO(THIMBLE_NIBBLE, "")                \
  THIMBLE_TWO(THIMBLE_NIBBLE, ", lsr #4")        \
  THIMBLE_TWO(THIMBLE_NIBBLE, ", lsr #8")        \
  THIMBLE_TWO(THIMBLE_NIBBLE, ", lsr #12")
#define THIMBLE_BYTES_OF_ONE(offset)             \
  THIMBLE_LOAD_WEIGHTS(offset)                   \
  THIMBLE_LOAD_PAIRS                             \
  THIMBLE_ONE(THIMBLE_BYTE, "", "%[u]")          \
  THIMBLE_ONE(THIMBLE_BYTE, ", ror #8", "%[v]")
#define THIMBLE_BYTES_OF_TWO(offset)             \
  THIMBLE_LOAD_WEIGHTS(offset)                   \
  THIMBLE_TWO(THIMBLE_BYTE, "")                  \
  THIMBLE_TWO(THIMBLE_BYTE, ", ror #8")

// A block: sums begin at WideBlock::start and end in floats, with the scales that stand before the rows' blocks.
#define THIMBLE_ONE_TOKEN(block, bytes)                                                                             \
  uint32_t a0, a1, w0, w1, pair, u, v;                                                                              \
  asm volatile(                                                                                                     \
      "1:\n\t"                                                                                                      \
      "ldr %[a0], [%[wide]], #4\n\t"                                                                                \
      "vldmia %[wide]!, {s12}\n\t"                                                                                  \
      "mov %[a1], %[a0]\n\t"                                                                                        \
      block                                                                                                         \
      "ldrh %[w0], [%[row0]], #" bytes "\n\t"                                                                       \
      "ldrh %[w1], [%[row1]], #" bytes "\n\t"                                                                       \
      "vmov s14, s15, %[a0], %[a1]\n\t"                                                                             \
      "vcvt.f32.s32 s14, s14\n\t"                                                                                   \
      "vcvt.f32.s32 s15, s15\n\t"                                                                                   \
      "vmov s10, s11, %[w0], %[w1]\n\t"                                                                             \
      "vcvtb.f32.f16 s10, s10\n\t"                                                                                  \
      "vcvtb.f32.f16 s11, s11\n\t"                                                                                  \
      "vmul.f32 s10, s10, s12\n\t"                                                                                  \
      "vmul.f32 s11, s11, s12\n\t"                                                                                  \
      "vmul.f32 s14, s14, s10\n\t"                                                                                  \
      "vmul.f32 s15, s15, s11\n\t"                                                                                  \
      "vadd.f32 %[y0], %[y0], s14\n\t"                                                                              \
      "vadd.f32 %[y1], %[y1], s15\n\t"                                                                              \
      "cmp %[wide], %[end]\n\t"                                                                                     \
      "bne 1b"                                                                                                      \
      : [row0] "+r"(row0), [row1] "+r"(row1), [wide] "+r"(wide), [a0] "=&r"(a0), [a1] "=&r"(a1), [w0] "=&r"(w0),    \
        [w1] "=&r"(w1), [pair] "=&r"(pair), [u] "=&r"(u), [v] "=&r"(v), [y0] "+t"(y[0][0]), [y1] "+t"(y[0][1])      \
      : [end] "r"(end), [mask] "r"(kMask)                                                                           \
      : "s10", "s11", "s12", "s14", "s15", "cc", "memory")
#define THIMBLE_TWO_TOKENS(block, bytes)                                                                            \
  uint32_t a0, a1, b0, b1, w0, w1, pair, u, v;                                                                      \
  asm volatile(                                                                                                     \
      "1:\n\t"                                                                                                      \
      "ldrd %[a0], %[b0], [%[wide]], #8\n\t"                                                                        \
      "vldmia %[wide]!, {s12, s13}\n\t"                                                                             \
      "mov %[a1], %[a0]\n\t"                                                                                        \
      "mov %[b1], %[b0]\n\t"                                                                                        \
      block                                                                                                         \
      "ldrh %[w0], [%[row0]], #" bytes "\n\t"                                                                       \
      "ldrh %[w1], [%[row1]], #" bytes "\n\t"                                                                       \
      "vmov s8, s9, %[w0], %[w1]\n\t"                                                                               \
      "vcvtb.f32.f16 s8, s8\n\t"                                                                                    \
      "vcvtb.f32.f16 s9, s9\n\t"                                                                                    \
      "vmov s14, s15, %[a0], %[a1]\n\t"                                                                             \
      "vcvt.f32.s32 s14, s14\n\t"                                                                                   \
      "vcvt.f32.s32 s15, s15\n\t"                                                                                   \
      "vmul.f32 s10, s8, s12\n\t"                                                                                   \
      "vmul.f32 s11, s9, s12\n\t"                                                                                   \
      "vmul.f32 s14, s14, s10\n\t"                                                                                  \
      "vmul.f32 s15, s15, s11\n\t"                                                                                  \
      "vadd.f32 %[y00], %[y00], s14\n\t"                                                                            \
      "vadd.f32 %[y01], %[y01], s15\n\t"                                                                            \
      "vmov s14, s15, %[b0], %[b1]\n\t"                                                                             \
      "vcvt.f32.s32 s14, s14\n\t"                                                                                   \
      "vcvt.f32.s32 s15, s15\n\t"                                                                                   \
      "vmul.f32 s10, s8, s13\n\t"                                                                                   \
      "vmul.f32 s11, s9, s13\n\t"                                                                                   \
      "vmul.f32 s14, s14, s10\n\t"                                                                                  \
      "vmul.f32 s15, s15, s11\n\t"                                                                                  \
      "vadd.f32 %[y10], %[y10], s14\n\t"                                                                            \
      "vadd.f32 %[y11], %[y11], s15\n\t"                                                                            \
      "cmp %[wide], %[end]\n\t"                                                                                     \
      "bne 1b"                                                                                                      \
      : [row0] "+r"(row0), [row1] "+r"(row1), [wide] "+r"(wide), [a0] "=&r"(a0), [a1] "=&r"(a1), [b0] "=&r"(b0),    \
        [b1] "=&r"(b1), [w0] "=&r"(w0), [w1] "=&r"(w1), [pair] "=&r"(pair), [u] "=&r"(u), [v] "=&r"(v),             \
        [y00] "+t"(y[0][0]), [y01] "+t"(y[0][1]), [y10] "+t"(y[1][0]), [y11] "+t"(y[1][1])                          \
      : [end] "r"(end), [mask] "r"(kMask)                                                                           \
      : "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "cc", "memory")
// clang-format on

constexpr uint32_t kMask = 0x000f000f;

/// Two rows of Q4_0. Words of weights lie on 2 bytes, which a load of one word may.
struct Nibbles {
  static constexpr size_t kBytes = sizeof(BlockQ4_0);
  static constexpr int32_t kMinus = 8;
  static_assert(kBytes == 18);

  /// The place in WideBlock::pairs of the values 4i and 4i + 2; that of 4i + 1 and 4i + 3 is kOdd behind it.
  static constexpr size_t Place(size_t i) { return i % 4 * 4 + i / 4; }
  static constexpr size_t kOdd = 2;

  /// y[t][r] += row r times token t.
  [[gnu::always_inline]] static void Multiply(const std::byte* row0, const std::byte* row1, const WideBlock<1>* wide,
                                              const WideBlock<1>* end, float (&y)[1][2]) {
    THIMBLE_ONE_TOKEN(THIMBLE_NIBBLES_OF_ONE("2") THIMBLE_NIBBLES_OF_ONE("6") THIMBLE_NIBBLES_OF_ONE("10")
                          THIMBLE_NIBBLES_OF_ONE("14"),
                      "18");
  }
  [[gnu::always_inline]] static void Multiply(const std::byte* row0, const std::byte* row1, const WideBlock<2>* wide,
                                              const WideBlock<2>* end, float (&y)[2][2]) {
    THIMBLE_TWO_TOKENS(THIMBLE_NIBBLES_OF_TWO("2") THIMBLE_NIBBLES_OF_TWO("6") THIMBLE_NIBBLES_OF_TWO("10")
                           THIMBLE_NIBBLES_OF_TWO("14"),
                       "18");
  }
};

/// Two rows of Q8_0.
struct Bytes {
  static constexpr size_t kBytes = sizeof(BlockQ8_0);
  static constexpr int32_t kMinus = 0;
  static_assert(kBytes == 34);

  static constexpr size_t Place(size_t i) { return 2 * i; }
  static constexpr size_t kOdd = 1;

  [[gnu::always_inline]] static void Multiply(const std::byte* row0, const std::byte* row1, const WideBlock<1>* wide,
                                              const WideBlock<1>* end, float (&y)[1][2]) {
    THIMBLE_ONE_TOKEN(THIMBLE_BYTES_OF_ONE("2") THIMBLE_BYTES_OF_ONE("6") THIMBLE_BYTES_OF_ONE("10")
                          THIMBLE_BYTES_OF_ONE("14") THIMBLE_BYTES_OF_ONE("18") THIMBLE_BYTES_OF_ONE("22")
                              THIMBLE_BYTES_OF_ONE("26") THIMBLE_BYTES_OF_ONE("30"),
                      "34");
  }
  [[gnu::always_inline]] static void Multiply(const std::byte* row0, const std::byte* row1, const WideBlock<2>* wide,
                                              const WideBlock<2>* end, float (&y)[2][2]) {
    THIMBLE_TWO_TOKENS(THIMBLE_BYTES_OF_TWO("2") THIMBLE_BYTES_OF_TWO("6") THIMBLE_BYTES_OF_TWO("10")
                           THIMBLE_BYTES_OF_TWO("14") THIMBLE_BYTES_OF_TWO("18") THIMBLE_BYTES_OF_TWO("22")
                               THIMBLE_BYTES_OF_TWO("26") THIMBLE_BYTES_OF_TWO("30"),
                       "34");
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
