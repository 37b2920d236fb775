// SPDX-License-Identifier: Apache-2.0
//
// Products of Q4_0 and Q8_0 as they lie in a file, and activations in 8 bits, by SMLAD: two products of 16 bits and
// their sum in one instruction. Two rows at a time, for one token or for two, whose codes are widened to 16 bits first,
// every second one beside the next but one, as weights come out of their words. The loops over blocks are in assembly
// language: they need every register that there is, and a compiler that does not find them all takes twice as many
// instructions.
#include "arm/board_isa.h"

#ifdef THIMBLE_DSP
#include <arm_acle.h>

#include <bit>

#include "arm/dsp.h"
#include "arm/float_vector.h"
#include "core/portable.h"
#include "quant/q4_0.h"
#include "quant/q8_0.h"

namespace thimble {
namespace {

constexpr size_t kBlock = Activations::kBlock;
constexpr size_t kPairs = kBlock / 2;

/// A block of widened activations of kTokens tokens. pairs[2i] holds the values 4i and 4i + 2, pairs[2i + 1] those
/// behind them.
template <size_t kTokens>
struct WideBlock {
  int32_t start[kTokens];  // the sum of the codes, times what is subtracted from a code of the weights
  float scale[kTokens];
  uint32_t pairs[kPairs][kTokens];
};

// What the loops are made of: w0 and w1 hold words of the two rows, u and v pairs of activations. The macros are the
// preprocessor's, so that the compiler can count their instructions.
// clang-format off
#define THIMBLE_LOAD_WEIGHTS(offset)      \
  "ldr %[w0], [%[row0], #" offset "]\n\t" \
  "ldr %[w1], [%[row1], #" offset "]\n\t"
// `at`: bytes behind the beginning of a WideBlock and a bracket; the last load of a block leaves the pointer there.
#define THIMBLE_LOAD_PAIRS(at) "ldrd %[u], %[v], [%[wide], #" at "\n\t"
// A pair of weights of each row, as `take` brings it out of the words, times the only token's in `x`.
#define THIMBLE_ONE(take, shift, x)        \
  take("%[w0]", shift)                     \
  "smlad %[a0], %[pair], " x ", %[a0]\n\t" \
  take("%[w1]", shift)                     \
  "smlad %[a1], %[pair], " x ", %[a1]\n\t"
// Times the pairs of two tokens.
#define THIMBLE_TWO(take, shift, at)      \
  THIMBLE_LOAD_PAIRS(at)                  \
  take("%[w0]", shift)                    \
  "smlad %[a0], %[pair], %[u], %[a0]\n\t" \
  "smlad %[b0], %[pair], %[v], %[b0]\n\t" \
  take("%[w1]", shift)                    \
  "smlad %[a1], %[pair], %[u], %[a1]\n\t" \
  "smlad %[b1], %[pair], %[v], %[b1]\n\t"
// A nibble; the shift is free where the mask lies in a register. A byte.
#define THIMBLE_NIBBLE(word, shift) "and %[pair], %[mask], " word shift "\n\t"
#define THIMBLE_BYTE(word, shift) "sxtb16 %[pair], " word shift "\n\t"

// The word of weights at `offset` of a block, with the pairs at `low`, `high` and so on. A word of nibbles holds values
// of both halves of a block.
#define THIMBLE_NIBBLES_OF_ONE(offset, low, high) \
  THIMBLE_LOAD_WEIGHTS(offset)                    \
  THIMBLE_LOAD_PAIRS(low)                         \
  THIMBLE_ONE(THIMBLE_NIBBLE, "", "%[u]")         \
  THIMBLE_ONE(THIMBLE_NIBBLE, ", lsr #8", "%[v]") \
  THIMBLE_LOAD_PAIRS(high)                        \
  THIMBLE_ONE(THIMBLE_NIBBLE, ", lsr #4", "%[u]") \
  THIMBLE_ONE(THIMBLE_NIBBLE, ", lsr #12", "%[v]")
#define THIMBLE_NIBBLES_OF_TWO(offset, low_even, low_odd, high_even, high_odd) \
  THIMBLE_LOAD_WEIGHTS(offset)                                                 \
  THIMBLE_TWO(THIMBLE_NIBBLE, "", low_even)                                    \
  THIMBLE_TWO(THIMBLE_NIBBLE, ", lsr #8", low_odd)                             \
  THIMBLE_TWO(THIMBLE_NIBBLE, ", lsr #4", high_even)                           \
  THIMBLE_TWO(THIMBLE_NIBBLE, ", lsr #12", high_odd)
#define THIMBLE_BYTES_OF_ONE(offset, at) \
  THIMBLE_LOAD_WEIGHTS(offset)           \
  THIMBLE_LOAD_PAIRS(at)                 \
  THIMBLE_ONE(THIMBLE_BYTE, "", "%[u]")  \
  THIMBLE_ONE(THIMBLE_BYTE, ", ror #8", "%[v]")
#define THIMBLE_BYTES_OF_TWO(offset, even, odd) \
  THIMBLE_LOAD_WEIGHTS(offset)                  \
  THIMBLE_TWO(THIMBLE_BYTE, "", even)           \
  THIMBLE_TWO(THIMBLE_BYTE, ", ror #8", odd)

// A block: sums begin at WideBlock::start and end in floats, with the scales that stand before the rows' blocks. Where
// there are two tokens, `end` has to wait in a register for floats.
#define THIMBLE_ONE_TOKEN(block, bytes)                                                                          \
  uint32_t a0, a1, w0, w1, pair, u, v;                                                                           \
  asm volatile(                                                                                                  \
      "1:\n\t"                                                                                                   \
      "ldr %[a0], [%[wide], #8]!\n\t"                                                                            \
      "vldr s12, [%[wide], #4]\n\t"                                                                              \
      "mov %[a1], %[a0]\n\t"                                                                                     \
      block                                                                                                      \
      "ldrh %[w0], [%[row0]], #" bytes "\n\t"                                                                    \
      "ldrh %[w1], [%[row1]], #" bytes "\n\t"                                                                    \
      "vmov s14, s15, %[a0], %[a1]\n\t"                                                                          \
      "vcvt.f32.s32 s14, s14\n\t"                                                                                \
      "vcvt.f32.s32 s15, s15\n\t"                                                                                \
      "vmov s10, s11, %[w0], %[w1]\n\t"                                                                          \
      "vcvtb.f32.f16 s10, s10\n\t"                                                                               \
      "vcvtb.f32.f16 s11, s11\n\t"                                                                               \
      "vmul.f32 s10, s10, s12\n\t"                                                                               \
      "vmul.f32 s11, s11, s12\n\t"                                                                               \
      "vmul.f32 s14, s14, s10\n\t"                                                                               \
      "vmul.f32 s15, s15, s11\n\t"                                                                               \
      "vadd.f32 %[y0], %[y0], s14\n\t"                                                                           \
      "vadd.f32 %[y1], %[y1], s15\n\t"                                                                           \
      "cmp %[wide], %[end]\n\t"                                                                                  \
      "bne 1b"                                                                                                   \
      : [row0] "+r"(row0), [row1] "+r"(row1), [wide] "+r"(wide), [a0] "=&r"(a0), [a1] "=&r"(a1), [w0] "=&r"(w0), \
        [w1] "=&r"(w1), [pair] "=&r"(pair), [u] "=&r"(u), [v] "=&r"(v), [y0] "+t"(y[0][0]), [y1] "+t"(y[0][1])   \
      : [end] "r"(end), [mask] "r"(kMask)                                                                        \
      : "s10", "s11", "s12", "s14", "s15", "cc", "memory")
#define THIMBLE_TWO_TOKENS(block, bytes)                                                                         \
  uint32_t a0, a1, b0, b1, w0, w1, pair, u, v;                                                                   \
  asm volatile(                                                                                                  \
      "1:\n\t"                                                                                                   \
      "ldrd %[a0], %[b0], [%[wide], #8]!\n\t"                                                                    \
      "vldr d6, [%[wide], #8]\n\t"                                                                               \
      "mov %[a1], %[a0]\n\t"                                                                                     \
      "mov %[b1], %[b0]\n\t"                                                                                     \
      block                                                                                                      \
      "ldrh %[w0], [%[row0]], #" bytes "\n\t"                                                                    \
      "ldrh %[w1], [%[row1]], #" bytes "\n\t"                                                                    \
      "vmov s8, s9, %[w0], %[w1]\n\t"                                                                            \
      "vcvtb.f32.f16 s8, s8\n\t"                                                                                 \
      "vcvtb.f32.f16 s9, s9\n\t"                                                                                 \
      "vmov s14, s15, %[a0], %[a1]\n\t"                                                                          \
      "vcvt.f32.s32 s14, s14\n\t"                                                                                \
      "vcvt.f32.s32 s15, s15\n\t"                                                                                \
      "vmul.f32 s10, s8, s12\n\t"                                                                                \
      "vmul.f32 s11, s9, s12\n\t"                                                                                \
      "vmul.f32 s14, s14, s10\n\t"                                                                               \
      "vmul.f32 s15, s15, s11\n\t"                                                                               \
      "vadd.f32 %[y00], %[y00], s14\n\t"                                                                         \
      "vadd.f32 %[y01], %[y01], s15\n\t"                                                                         \
      "vmov s14, s15, %[b0], %[b1]\n\t"                                                                          \
      "vcvt.f32.s32 s14, s14\n\t"                                                                                \
      "vcvt.f32.s32 s15, s15\n\t"                                                                                \
      "vmul.f32 s10, s8, s13\n\t"                                                                                \
      "vmul.f32 s11, s9, s13\n\t"                                                                                \
      "vmul.f32 s14, s14, s10\n\t"                                                                               \
      "vmul.f32 s15, s15, s11\n\t"                                                                               \
      "vadd.f32 %[y10], %[y10], s14\n\t"                                                                         \
      "vadd.f32 %[y11], %[y11], s15\n\t"                                                                         \
      "vmov %[w0], %[end]\n\t"                                                                                   \
      "cmp %[wide], %[w0]\n\t"                                                                                   \
      "bne 1b"                                                                                                   \
      : [row0] "+r"(row0), [row1] "+r"(row1), [wide] "+r"(wide), [a0] "=&r"(a0), [a1] "=&r"(a1), [b0] "=&r"(b0), \
        [b1] "=&r"(b1), [w0] "=&r"(w0), [w1] "=&r"(w1), [pair] "=&r"(pair), [u] "=&r"(u), [v] "=&r"(v),          \
        [y00] "+t"(y[0][0]), [y01] "+t"(y[0][1]), [y10] "+t"(y[1][0]), [y11] "+t"(y[1][1])                       \
      : [end] "t"(std::bit_cast<float>(end)), [mask] "r"(kMask)                                                  \
      : "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "cc", "memory")
// clang-format on

constexpr uint32_t kMask = 0x000f000f;

/// Two rows of Q4_0. Words of weights lie on 2 bytes, which a load of one word may.
struct Nibbles {
  static_assert(sizeof(BlockQ4_0) == 18);

  /// y[t][r] += row r times token t; row1 is left at its end. `wide` and `end` are the addresses of the blocks of
  /// activations, less the 8 bytes that the first load of a block adds.
  [[gnu::always_inline]] static void Multiply(const std::byte* row0, const std::byte*& row1, uintptr_t wide,
                                              uintptr_t end, float (&y)[1][2]) {
    THIMBLE_ONE_TOKEN(THIMBLE_NIBBLES_OF_ONE("2", "8]", "40]") THIMBLE_NIBBLES_OF_ONE("6", "16]", "48]")
                          THIMBLE_NIBBLES_OF_ONE("10", "24]", "56]") THIMBLE_NIBBLES_OF_ONE("14", "32]", "64]!"),
                      "18");
  }
  [[gnu::always_inline]] static void Multiply(const std::byte* row0, const std::byte*& row1, uintptr_t wide,
                                              uintptr_t end, float (&y)[2][2]) {
    THIMBLE_TWO_TOKENS(THIMBLE_NIBBLES_OF_TWO("2", "16]", "24]", "80]", "88]") THIMBLE_NIBBLES_OF_TWO(
                           "6", "32]", "40]", "96]", "104]") THIMBLE_NIBBLES_OF_TWO("10", "48]", "56]", "112]", "120]")
                           THIMBLE_NIBBLES_OF_TWO("14", "64]", "72]", "128]", "136]!"),
                       "18");
  }
};

/// Two rows of Q8_0.
struct Bytes {
  static_assert(sizeof(BlockQ8_0) == 34);

  [[gnu::always_inline]] static void Multiply(const std::byte* row0, const std::byte*& row1, uintptr_t wide,
                                              uintptr_t end, float (&y)[1][2]) {
    THIMBLE_ONE_TOKEN(THIMBLE_BYTES_OF_ONE("2", "8]") THIMBLE_BYTES_OF_ONE("6", "16]") THIMBLE_BYTES_OF_ONE("10", "24]")
                          THIMBLE_BYTES_OF_ONE("14", "32]") THIMBLE_BYTES_OF_ONE("18", "40]") THIMBLE_BYTES_OF_ONE(
                              "22", "48]") THIMBLE_BYTES_OF_ONE("26", "56]") THIMBLE_BYTES_OF_ONE("30", "64]!"),
                      "34");
  }
  [[gnu::always_inline]] static void Multiply(const std::byte* row0, const std::byte*& row1, uintptr_t wide,
                                              uintptr_t end, float (&y)[2][2]) {
    THIMBLE_TWO_TOKENS(THIMBLE_BYTES_OF_TWO("2", "16]", "24]") THIMBLE_BYTES_OF_TWO("6", "32]", "40]")
                           THIMBLE_BYTES_OF_TWO("10", "48]", "56]") THIMBLE_BYTES_OF_TWO("14", "64]", "72]")
                               THIMBLE_BYTES_OF_TWO("18", "80]", "88]") THIMBLE_BYTES_OF_TWO("22", "96]", "104]")
                                   THIMBLE_BYTES_OF_TWO("26", "112]", "120]")
                                       THIMBLE_BYTES_OF_TWO("30", "128]", "136]!"),
                       "34");
  }
};

uint32_t EvenBytes(uint32_t word) { return static_cast<uint32_t>(__sxtb16(static_cast<int8x4_t>(word))); }
uint32_t OddBytes(uint32_t word) {
  uint32_t pair;
  asm("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
  return pair;
}

template <size_t kTokens>
[[gnu::noinline]] void Widen(const Activations& x, int32_t minus, WideBlock<kTokens>* wide) {
  const size_t blocks = x.cols / kBlock;
  for (size_t t = 0; t < kTokens; ++t) {
    const int8_t* codes = x.codes + t * x.cols;
    for (size_t b = 0; b < blocks; ++b) {
      wide[b].start[t] = -minus * x.sums[t * blocks + b];
      wide[b].scale[t] = x.scales[t * blocks + b];
#pragma GCC unroll 4
      for (size_t i = 0; i < kPairs; i += 2, codes += 4) {
        uint32_t word;
        __builtin_memcpy(&word, codes, sizeof(word));
        wide[b].pairs[i][t] = EvenBytes(word);
        wide[b].pairs[i + 1][t] = OddBytes(word);
      }
    }
  }
}

/// `count` pairs of rows, the second of each `second` bytes behind the first.
template <class Codes, size_t kTokens>
[[gnu::noinline]] void MultiplyPairs(const std::byte* row, size_t second, size_t count, const WideBlock<kTokens>* wide,
                                     const WideBlock<kTokens>* end, float* y, size_t y_stride) {
  constexpr uintptr_t kBefore = 8;
  const uintptr_t from = reinterpret_cast<uintptr_t>(wide) - kBefore;
  const uintptr_t to = reinterpret_cast<uintptr_t>(end) - kBefore;
  for (const float* last = y + 2 * count; y != last; y += 2) {
    const std::byte* next = row + second;
    float sums[kTokens][2] = {};
    Codes::Multiply(row, next, from, to, sums);
    row = next;
    Unroll<kTokens>([&](auto t) {
      y[t * y_stride] = sums[t][0];
      y[t * y_stride + 1] = sums[t][1];
    });
  }
}

template <size_t kTokens>
using Pairs = void(const std::byte* row, size_t second, size_t count, const WideBlock<kTokens>* wide,
                   const WideBlock<kTokens>* end, float* y, size_t y_stride);

/// How a format is multiplied.
struct Kind {
  int32_t minus;  // what its codes are too large by
  size_t bytes;   // of a block
  Pairs<1>* one;
  Pairs<2>* two;
};
constexpr Kind kQ4_0 = {8, sizeof(BlockQ4_0), MultiplyPairs<Nibbles, 1>, MultiplyPairs<Nibbles, 2>};
constexpr Kind kQ8_0 = {0, sizeof(BlockQ8_0), MultiplyPairs<Bytes, 1>, MultiplyPairs<Bytes, 2>};

/// Rows from `first` on times kTokens tokens.
template <size_t kTokens>
[[gnu::noinline]] void MultiplyTokens(const Kind& kind, Pairs<kTokens>* multiply, const std::byte* first, size_t rows,
                                      const Activations& x, float* y, size_t y_stride, std::byte* scratch) {
  auto* wide = reinterpret_cast<WideBlock<kTokens>*>(scratch);
  Widen(x, kind.minus, wide);
  const size_t blocks = x.cols / kBlock;
  const size_t bytes = blocks * kind.bytes;
  multiply(first, bytes, rows / 2, wide, wide + blocks, y, y_stride);
  if (rows % 2 == 0) return;
  float last[kTokens][2];
  multiply(first + (rows - 1) * bytes, 0, 1, wide, wide + blocks, last[0], 2);
  for (size_t t = 0; t < kTokens; ++t) y[t * y_stride + rows - 1] = last[t][0];
}

}  // namespace

void DspMatmul(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, size_t y_stride,
               std::byte* scratch) {
  const Kind* kind = w.format->type == Type::kQ4_0 ? &kQ4_0 : w.format->type == Type::kQ8_0 ? &kQ8_0 : nullptr;
  if (x.codes == nullptr || kind == nullptr) return PortableMatmul(w, begin, end, x, y, y_stride, scratch);
  const std::byte* first = w.tile(begin);
  const size_t rows = end - begin;
  size_t t = 0;
  for (; t + 2 <= x.tokens; t += 2) {
    MultiplyTokens<2>(*kind, kind->two, first, rows, x.From(t), y + t * y_stride, y_stride, scratch);
  }
  if (t < x.tokens) {
    MultiplyTokens<1>(*kind, kind->one, first, rows, x.From(t), y + t * y_stride, y_stride, scratch);
  }
}

}  // namespace thimble

#endif  // THIMBLE_DSP
