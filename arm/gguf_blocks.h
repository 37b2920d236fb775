// SPDX-License-Identifier: Apache-2.0
//
// GGUF's blocks in 8 bits: how the codes and scales of each format come out of its bytes, and what is done with them, a
// product with one token or unpacking. Everything is written once, in the vectors of Simd<Isa> (simd_<isa>.h, to be
// included before); no intrinsics here.
//
// Rows are read in groups of 256 values: one block of a k-format, eight blocks of a format of 32. A format is a struct
// with
//   Block              the layout
//   kType              its type
//   kSub               values that share a scale: 16 or 32
//   kMagnitude         no code as Codes gives it is larger
//   kOffset            what is to be subtracted from it
//   kSigned            codes are two's complement; else from zero up
//   kMinimums          a value is scale * code - minimum, and kOffset only centres the codes of Unpack
//   Codes<half>(w, c)  c[4] = the codes of values 128 half to 128 half + 127
//   Scales(w, ...)     k-formats: integer scales of eight times 32 values; with minimums, these too; or, where 16
//   values
//                      share a scale, those of the even 16 and of the odd
// Members of blocks are named by their offsets, since a vector may hold more rows than one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "arm/matmul.h"
#include "arm/simd.h"
#include "quant/iq4_nl.h"
#include "quant/iq4_xs.h"
#include "quant/q3_k.h"
#include "quant/q4_0.h"
#include "quant/q4_k.h"
#include "quant/q5_k.h"
#include "quant/q6_k.h"
#include "quant/q8_0.h"

namespace thimble {

template <class S>
struct BlocksQ4_0 {
  using Block = BlockQ4_0;
  static constexpr Type kType = Type::kQ4_0;
  static constexpr int kSub = 32, kMagnitude = 15, kOffset = 8;
  static constexpr bool kSigned = false, kMinimums = false;

  template <size_t half>
  static void Codes(const typename S::Rows& w, typename S::Bytes (&c)[4]) {
    for (size_t i = 0; i < 4; ++i) c[i] = S::Nibbles(w, (4 * half + i) * sizeof(Block) + offsetof(Block, qs));
  }
};

template <class S>
struct BlocksQ8_0 {
  using Block = BlockQ8_0;
  static constexpr Type kType = Type::kQ8_0;
  static constexpr int kSub = 32, kMagnitude = 128, kOffset = 0;
  static constexpr bool kSigned = true, kMinimums = false;

  template <size_t half>
  static void Codes(const typename S::Rows& w, typename S::Bytes (&c)[4]) {
    for (size_t i = 0; i < 4; ++i) c[i] = S::Load(w, (4 * half + i) * sizeof(Block) + offsetof(Block, qs));
  }
};

template <class S>
struct BlocksIQ4_NL {
  using Block = BlockIQ4_NL;
  static constexpr Type kType = Type::kIQ4_NL;
  static constexpr int kSub = 32, kMagnitude = 127, kOffset = 0;
  static constexpr bool kSigned = true, kMinimums = false;

  template <size_t half>
  static void Codes(const typename S::Rows& w, typename S::Bytes (&c)[4]) {
    for (size_t i = 0; i < 4; ++i) {
      c[i] = S::Lookup(kLevelsIQ4, S::Nibbles(w, (4 * half + i) * sizeof(Block) + offsetof(Block, qs)));
    }
  }
};

template <class S>
struct BlocksIQ4_XS {
  using Block = BlockIQ4_XS;
  static constexpr Type kType = Type::kIQ4_XS;
  static constexpr int kSub = 32, kMagnitude = 127, kOffset = 0;
  static constexpr bool kSigned = true, kMinimums = false;

  template <size_t half>
  static void Codes(const typename S::Rows& w, typename S::Bytes (&c)[4]) {
    for (size_t i = 0; i < 4; ++i) {
      c[i] = S::Lookup(kLevelsIQ4, S::Nibbles(w, offsetof(Block, qs) + 64 * half + 16 * i));
    }
  }
  static typename S::Ints Scales(const typename S::Rows& w) {
    return S::ScalesIQ4XS(w, offsetof(Block, scales_h), offsetof(Block, scales_l));
  }
};

template <class S>
struct BlocksQ3_K {
  using Block = BlockQ3_K;
  static constexpr Type kType = Type::kQ3_K;
  static constexpr int kSub = 16, kMagnitude = 7, kOffset = 4;
  static constexpr bool kSigned = false, kMinimums = false;

  template <size_t half>
  static void Codes(const typename S::Rows& w, typename S::Bytes (&c)[4]) {
    constexpr int kBit = 4 * half;
    const auto low = S::Load(w, offsetof(Block, qs) + 32 * half);
    const auto high = S::Load(w, offsetof(Block, hmask));
    c[3] = S::template Merge<4>(S::template Field<6, 3>(low), S::template Shift<kBit + 1>(high));
    c[2] = S::template Merge<4>(S::template Field<4, 3>(low), S::template Shift<kBit>(high));
    c[1] = S::template Merge<4>(S::template Field<2, 3>(low), S::template Shift<kBit - 1>(high));
    c[0] = S::template Join<2, 7>(low, S::template Shift<kBit>(high));
  }
  static void Scales(const typename S::Rows& w, typename S::Ints& even, typename S::Ints& odd) {
    S::ScalesQ3K(w, offsetof(Block, scales), even, odd);
  }
};

template <class S>
struct BlocksQ4_K {
  using Block = BlockQ4_K;
  static constexpr Type kType = Type::kQ4_K;
  static constexpr int kSub = 32, kMagnitude = 15, kOffset = 8;
  static constexpr bool kSigned = false, kMinimums = true;

  template <size_t half>
  static void Codes(const typename S::Rows& w, typename S::Bytes (&c)[4]) {
    for (size_t i = 0; i < 2; ++i) {
      const auto two = S::Load(w, offsetof(Block, qs) + 64 * half + 32 * i);
      c[2 * i] = S::template Field<0, 15>(two);
      c[2 * i + 1] = S::template Field<4, 15>(two);
    }
  }
  static void Scales(const typename S::Rows& w, typename S::Ints& scale, typename S::Ints& minimum) {
    S::ScalesQ4K(w, offsetof(Block, scales), scale, minimum);
  }
};

template <class S>
struct BlocksQ5_K {
  using Block = BlockQ5_K;
  static constexpr Type kType = Type::kQ5_K;
  static constexpr int kSub = 32, kMagnitude = 31, kOffset = 16;
  static constexpr bool kSigned = false, kMinimums = true;

  template <size_t half>
  static void Codes(const typename S::Rows& w, typename S::Bytes (&c)[4]) {
    constexpr int kBit = 4 * half;
    const auto high = S::Load(w, offsetof(Block, qh));
    const auto first = S::Load(w, offsetof(Block, qs) + 64 * half);
    const auto second = S::Load(w, offsetof(Block, qs) + 64 * half + 32);
    c[1] = S::template Merge<16>(S::template Field<4, 15>(first), S::template Shift<kBit - 3>(high));
    c[0] = S::template Join<4, 31>(first, S::template Shift<kBit>(high));
    c[3] = S::template Merge<16>(S::template Field<4, 15>(second), S::template Shift<kBit - 1>(high));
    c[2] = S::template Merge<16>(S::template Field<0, 15>(second), S::template Shift<kBit - 2>(high));
  }
  static void Scales(const typename S::Rows& w, typename S::Ints& scale, typename S::Ints& minimum) {
    S::ScalesQ4K(w, offsetof(Block, scales), scale, minimum);
  }
};

template <class S>
struct BlocksQ6_K {
  using Block = BlockQ6_K;
  static constexpr Type kType = Type::kQ6_K;
  static constexpr int kSub = 16, kMagnitude = 63, kOffset = 32;
  static constexpr bool kSigned = false, kMinimums = false;

  template <size_t half>
  static void Codes(const typename S::Rows& w, typename S::Bytes (&c)[4]) {
    const auto first = S::Load(w, offsetof(Block, ql) + 64 * half);
    const auto second = S::Load(w, offsetof(Block, ql) + 64 * half + 32);
    const auto high = S::Load(w, offsetof(Block, qh) + 32 * half);
    const auto shifted = S::template Shift<2>(high);
    c[2] = S::template Merge<48>(S::template Field<4, 15>(first), high);
    c[3] = S::template Merge<48>(S::template Field<4, 15>(second), shifted);
    c[0] = S::template Join<4, 63>(first, high);
    c[1] = S::template Join<4, 63>(second, shifted);
  }
  static void Scales(const typename S::Rows& w, typename S::Ints& even, typename S::Ints& odd) {
    S::EvenOdd(w, offsetof(Block, scales), even, odd);
  }
};

/// What a format is in the vectors of S: its struct, and what follows from it.
template <class S, template <class> class Blocks>
struct BlockTraits : Blocks<S> {
  using F = Blocks<S>;
  using Block = typename F::Block;
  static constexpr size_t kGroup = 256;
  static constexpr size_t kGroupBytes = kGroup / Block::kSize * sizeof(Block);
  static constexpr bool kSmall = Block::kSize == 32;  // every block has an F16 scale and nothing else
  static constexpr bool kSplit = F::kSub == 16;
  static constexpr bool kRaised = F::kSigned && S::kRaises;
  static constexpr int kDotOffset = kRaised ? 128 : F::kMinimums ? 0 : F::kOffset;  // of the codes that are multiplied
  static constexpr bool kOffsets = kDotOffset != 0;
  static constexpr bool kStart = kOffsets && S::kStarts;

  /// Offsets of 32 activations: where sums start from, or the offset times the sum of each 16. Where 32 share a scale
  /// and nothing starts, Activations::sums will do.
  static constexpr size_t kOffsetInts = kStart ? 4 * (32 / F::kSub) : kOffsets && kSplit ? 2 : 0;
};

/// One token times rows as they lie in the file.
template <class Isa, template <class> class Blocks>
struct BlockDot : BlockTraits<Simd<Isa>, Blocks> {
  using S = Simd<Isa>;
  using Traits = BlockTraits<S, Blocks>;
  using typename Traits::Block;
  using typename Traits::F;

  /// The activations of a group.
  struct Group {
    const int8_t* codes;     // [256]
    const float* scales;     // [8]
    const int32_t* sums;     // [8]
    const int32_t* offsets;  // [8 * kOffsetInts]; if sums do not start from them, first those of the even 16

    Group Next() const {
      return {codes + Traits::kGroup, scales + 8, sums + 8,
              Traits::kOffsetInts > 0 ? offsets + 8 * Traits::kOffsetInts : nullptr};
    }
  };

  template <size_t half, size_t count>
  [[gnu::always_inline]] static void MultiplyHalf(const typename S::Rows (&w)[count], const Group& x,
                                                  typename S::Quad (&quads)[count][2]) {
    typename S::Bytes codes[count][4];
    for (size_t r = 0; r < count; ++r) F::template Codes<half>(w[r], codes[r]);
    decltype(S::template Dot<F::kSub, F::kMagnitude, F::kSigned>(codes[0][0], codes[0][0])) parts[count][4];
    for (size_t i = 0; i < 4; ++i) {
      if (i % 2 == 0) asm volatile("");  // else compilers load all activations before they use any, and must spill them
      const auto values = S::LoadValues(x.codes + 128 * half + 32 * i);
      for (size_t r = 0; r < count; ++r) {
        if constexpr (Traits::kStart) {
          const auto start = S::template LoadStart<F::kSub>(x.offsets + (4 * half + i) * Traits::kOffsetInts);
          parts[r][i] = S::DotFrom(start, codes[r][i], values);
        } else {
          if constexpr (Traits::kRaised) codes[r][i] = S::Raise(codes[r][i]);
          parts[r][i] = S::template Dot<F::kSub, F::kMagnitude, F::kSigned>(codes[r][i], values);
        }
      }
    }
    for (size_t r = 0; r < count; ++r) quads[r][half] = S::template Fold<F::kSub, F::kMagnitude>(parts[r]);
  }

  /// The products of eight times 32 codes, less their offset.
  [[gnu::always_inline]] static typename S::Ints WholeProducts(const typename S::Quad (&quads)[2], const Group& x) {
    const auto products = S::Whole(quads);
    if constexpr (Traits::kOffsets && !Traits::kStart) {
      return S::Subtract(products, S::template Multiply<Traits::kDotOffset>(S::LoadInts(x.sums)));
    } else {
      return products;
    }
  }

  /// Adds a group of a row, whose codes' products are given, to the sum of the row.
  [[gnu::always_inline]] static void AddScaled(const typename S::Rows& w, const typename S::Quad (&quads)[2],
                                               const Group& x, typename S::Sum& sum) {
    const auto x_scales = S::LoadFloats(x.scales);
    if constexpr (Traits::kSmall) {
      const auto products = WholeProducts(quads, x);
      const auto scales = S::Multiply(S::template Halves<sizeof(Block)>(w, offsetof(Block, d)), x_scales);
      sum = S::AddProducts(sum, S::ToFloats(products), scales);
      return;
    } else if constexpr (Traits::kSplit) {
      typename S::Ints even_scales, odd_scales;
      F::Scales(w, even_scales, odd_scales);
      auto even = S::Even(quads), odd = S::Odd(quads);
      if constexpr (!Traits::kStart) {
        even = S::Subtract(even, S::LoadInts(x.offsets));
        odd = S::Subtract(odd, S::LoadInts(x.offsets + 8));
      }
      const auto products = S::ToFloats(S::MultiplyAdd(S::Multiply(even_scales, even), odd_scales, odd));
      sum = S::AddScaled(sum, S::Products(products, x_scales), S::Half(w, offsetof(Block, d)));
    } else if constexpr (F::kMinimums) {
      typename S::Ints scales, minimums;
      F::Scales(w, scales, minimums);
      const auto products = S::ToFloats(S::Multiply(scales, WholeProducts(quads, x)));
      const auto x_sums = S::Multiply(x_scales, S::ToFloats(S::LoadInts(x.sums)));
      sum = S::AddScaled(sum, S::Products(products, x_scales), S::Half(w, offsetof(Block, d)));
      sum = S::SubtractScaled(sum, S::Products(S::ToFloats(minimums), x_sums), S::Half(w, offsetof(Block, dmin)));
    } else {
      const auto products = S::ToFloats(S::Multiply(F::Scales(w), WholeProducts(quads, x)));
      sum = S::AddScaled(sum, S::Products(products, x_scales), S::Half(w, offsetof(Block, d)));
    }
  }

  template <size_t count>
  [[gnu::always_inline]] static void AddGroup(const typename S::Rows (&w)[count], const Group& x,
                                              typename S::Sum (&sum)[count]) {
    typename S::Quad quads[count][2];
    MultiplyHalf<0>(w, x, quads);
    MultiplyHalf<1>(w, x, quads);
    for (size_t r = 0; r < count; ++r) AddScaled(w[r], quads[r], x, sum[r]);
  }

  /// y += the last `blocks` blocks of kRows rows, fewer than a group, times x.
  [[gnu::noinline]] static void AddTail(typename S::Rows w, size_t blocks, Group x, float* y) {
    Block padded[S::kRows][8] = {};
    typename S::Rows rows[1];
    for (size_t r = 0; r < S::kRows; ++r) {
      for (size_t i = 0; i < blocks; ++i) padded[r][i] = w.template At<Block>(0, r)[i];
      rows[0].row[r] = reinterpret_cast<const std::byte*>(padded[r]);
    }
    int8_t codes[Traits::kGroup] = {};
    float scales[8] = {};
    int32_t sums[8] = {};
    int32_t offsets[8 * Traits::kOffsetInts + 1] = {};
    for (size_t i = 0; i < blocks; ++i) {
      for (size_t c = 32 * i; c < 32 * i + 32; ++c) codes[c] = x.codes[c];
      for (size_t c = 0; c < Traits::kOffsetInts; ++c) {
        offsets[Traits::kOffsetInts * i + c] = x.offsets[Traits::kOffsetInts * i + c];
      }
      scales[i] = x.scales[i];
      sums[i] = x.sums[i];
    }
    typename S::Sum sum[1] = {S::Zero()};
    AddGroup(rows, Group{codes, scales, sums, offsets}, sum);
    float tail[S::kRows];
    S::Totals(sum[0], tail);
    for (size_t r = 0; r < S::kRows; ++r) y[r] += tail[r];
  }

  /// y[0 .. rows) = `rows` rows of `row_bytes` bytes from w on, at most count * kRows of them; where a vector has room
  /// for more, the first is read again.
  template <size_t count>
  [[gnu::always_inline]] static void DotRows(const std::byte* w, size_t row_bytes, size_t rows, size_t cols,
                                             const Group& first, float* y) {
    typename S::Rows at[count];
    typename S::Sum sum[count];
    for (size_t r = 0; r < count; ++r) {
      for (size_t i = 0; i < S::kRows; ++i) {
        const size_t row = r * S::kRows + i;
        at[r].row[i] = w + (row < rows ? row * row_bytes : 0);
      }
      sum[r] = S::Zero();
    }
    Group x = first;
    for (size_t g = 0; g < cols / Traits::kGroup; ++g, x = x.Next()) {
      for (size_t r = 0; r < count; ++r) S::Prefetch(at[r], Traits::kGroupBytes);
      AddGroup(at, x, sum);
      for (size_t r = 0; r < count; ++r) at[r].Advance(Traits::kGroupBytes);
    }
    float totals[count * S::kRows];
    for (size_t r = 0; r < count; ++r) S::Totals(sum[r], totals + r * S::kRows);
    if constexpr (Traits::kSmall) {
      const size_t rest = cols % Traits::kGroup / Block::kSize;
      for (size_t r = 0; r < count && rest > 0; ++r) AddTail(at[r], rest, x, totals + r * S::kRows);
    }
    for (size_t r = 0; r < rows; ++r) y[r] = totals[r];
  }

  static void FillOffsets(const Activations& x, int32_t* offsets) {
    using One = typename S::One;
    if constexpr (Traits::kStart) {
      const auto minus = S::Broadcast(static_cast<uint8_t>(-F::kOffset));
      for (size_t c = 0; c < x.cols; c += 32, offsets += Traits::kOffsetInts) {
        S::StoreStart(offsets, S::template Dot<F::kSub, F::kOffset, true>(minus, S::LoadValues(x.codes + c)));
      }
    } else if constexpr (Traits::kOffsetInts > 0) {
      const auto offset = One::Broadcast(F::kOffset);
      for (size_t c = 0; c < x.cols; c += Traits::kGroup, offsets += 8 * Traits::kOffsetInts) {
        typename One::Quad quads[2];
        for (size_t half = 0; half < 2; ++half) {
          decltype(One::template Dot<F::kSub, F::kOffset, false>(offset, offset)) parts[4];
          for (size_t i = 0; i < 4; ++i) {
            const auto values = One::LoadValues(x.codes + c + 128 * half + 32 * i);
            parts[i] = One::template Dot<F::kSub, F::kOffset, false>(offset, values);
          }
          quads[half] = One::template Fold<F::kSub, F::kOffset>(parts);
        }
        One::StoreInts(offsets, One::Even(quads));
        One::StoreInts(offsets + 8, One::Odd(quads));
      }
    }
  }

  /// BlockFormat::dot.
  static void Dot(const Matrix& w, size_t begin, size_t end, const Activations& x, float* y, std::byte* scratch) {
    auto* offsets = reinterpret_cast<int32_t*>(scratch);
    FillOffsets(x, offsets);
    const Group first = {x.codes, x.scales, x.sums, offsets};
    const std::byte* row = w.tile(begin);
    const size_t row_bytes = w.tile_bytes();
    constexpr size_t kRows = S::kVectors * S::kRows;
    size_t rows = end - begin;
    for (; rows >= kRows; rows -= kRows, row += kRows * row_bytes, y += kRows) {
      DotRows<S::kVectors>(row, row_bytes, kRows, w.cols, first, y);
    }
    while (rows > 0) {
      const size_t some = rows < S::kRows ? rows : S::kRows;
      DotRows<1>(row, row_bytes, some, w.cols, first, y);
      rows -= some;
      row += some * row_bytes;
      y += some;
    }
  }
};

/// Rows to 8 bits.
template <class Isa, template <class> class Blocks>
struct BlockUnpack : BlockTraits<typename Simd<Isa>::One, Blocks> {
  using S = typename Simd<Isa>::One;
  using Traits = BlockTraits<S, Blocks>;
  using typename Traits::Block;
  using typename Traits::F;

  template <size_t half>
  static void UnpackCodes(const typename S::Rows& w, int8_t* codes) {
    typename S::Bytes c[4];
    F::template Codes<half>(w, c);
    for (size_t i = 0; i < 4; ++i) S::Store(codes + 128 * half + 32 * i, S::template Subtract<F::kOffset>(c[i]));
  }

  [[gnu::always_inline]] static void UnpackGroup(const typename S::Rows& w, const Row8& out) {
    UnpackCodes<0>(w, out.codes);
    UnpackCodes<1>(w, out.codes);
    if constexpr (Traits::kSmall) {
      const auto scales = S::template Halves<sizeof(Block)>(w, offsetof(Block, d));
      S::StoreInterleaved(out.scales, scales, scales);
      return;
    } else if constexpr (Traits::kSplit) {
      const auto d = S::Half(w, offsetof(Block, d));
      typename S::Ints even, odd;
      F::Scales(w, even, odd);
      S::StoreInterleaved(out.scales, S::Multiply(S::ToFloats(even), d), S::Multiply(S::ToFloats(odd), d));
    } else if constexpr (F::kMinimums) {
      typename S::Ints scale_codes, minimum_codes;
      F::Scales(w, scale_codes, minimum_codes);
      const auto scales = S::Multiply(S::ToFloats(scale_codes), S::Half(w, offsetof(Block, d)));
      const auto minimums = S::Multiply(S::ToFloats(minimum_codes), S::Half(w, offsetof(Block, dmin)));
      S::StoreInterleaved(out.scales, scales, scales);
      S::StoreFloats(out.mins, S::template MultiplySubtract<F::kOffset>(minimums, scales));
    } else {
      const auto scales = S::Multiply(S::ToFloats(F::Scales(w)), S::Half(w, offsetof(Block, d)));
      S::StoreInterleaved(out.scales, scales, scales);
    }
  }

  /// BlockFormat::unpack.
  static void Unpack(const std::byte* row, size_t blocks, const Row8& out) {
    constexpr size_t kGroup = Traits::kGroup, kGroupBlocks = kGroup / Block::kSize;
    typename S::Rows w = {{row}};
    Row8 at = out;
    for (; blocks >= kGroupBlocks; blocks -= kGroupBlocks) {
      UnpackGroup(w, at);
      w.Advance(Traits::kGroupBytes);
      at = {at.codes + kGroup, at.scales + kGroup / 16, F::kMinimums ? at.mins + kGroup / 32 : nullptr};
    }
    if (!Traits::kSmall || blocks == 0) return;
    Block padded[kGroupBlocks] = {};
    for (size_t i = 0; i < blocks; ++i) padded[i] = w.template At<Block>(0)[i];
    int8_t codes[kGroup];
    float scales[kGroup / 16];
    UnpackGroup({{reinterpret_cast<const std::byte*>(padded)}}, Row8{codes, scales, nullptr});
    for (size_t c = 0; c < blocks * Block::kSize; ++c) at.codes[c] = codes[c];
    for (size_t i = 0; i < blocks * Block::kSize / 16; ++i) at.scales[i] = scales[i];
  }
};

template <class Isa, template <class> class Blocks>
constexpr BlockFormat<Isa> BlockFormatOf() {
  using F = BlockUnpack<Isa, Blocks>;
  return {
      .type = F::kType,
      .minimums = F::kMinimums,
      .sub = F::kSub,
      .magnitude = F::kSigned ? F::kMagnitude : F::kOffset,
      .dot = BlockDot<Isa, Blocks>::Dot,
      .unpack = F::Unpack,
  };
}

/// Not inlined, so that the tests find it in the library.
template <class Isa>
[[gnu::noinline]] const BlockFormat<Isa>* FindBlockFormat(Type type) {
  static constexpr BlockFormat<Isa> kFormats[] = {
      BlockFormatOf<Isa, BlocksQ4_0>(),   BlockFormatOf<Isa, BlocksQ8_0>(),   BlockFormatOf<Isa, BlocksQ3_K>(),
      BlockFormatOf<Isa, BlocksQ4_K>(),   BlockFormatOf<Isa, BlocksQ5_K>(),   BlockFormatOf<Isa, BlocksQ6_K>(),
      BlockFormatOf<Isa, BlocksIQ4_NL>(), BlockFormatOf<Isa, BlocksIQ4_XS>(),
  };
  for (const BlockFormat<Isa>& format : kFormats) {
    if (format.type == type) return &format;
  }
  return nullptr;
}

}  // namespace thimble
