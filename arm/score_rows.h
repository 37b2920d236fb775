// SPDX-License-Identifier: Apache-2.0
//
// The loops of coded_rows.h, over the vectors of Simd<Isa> and what Codes<Isa> adds to them. No intrinsics here.
//
// Codes<Isa> has
//   kVectors            vectors of rows that are multiplied with kColumns queries at a time
//   kFolded             of these, how many have one sum: 1, or 4 with a row to a lane
//   Sum, Scale          running sums of kFolded vectors of rows; a number of each row in its lanes
//   Scales              the F16 scales of a block of each row
//   Multiply            row . query of 32 codes of each row of a vector, in some lanes
//   Refine              128 times such products, and those of the row with the low part of a query
//   AddScaled           sum + products, times both scales
//   Totals              the sum of each row
//   Eighths             32 indices of 3 bits of one row, as NL3 keeps them
//   StoreFloats         32 codes of one row times its scale
//   StoreLevels         the same of the levels at 32 indices
#pragma once

#include "arm/coded_rows.h"
#include "arm/simd.h"
#include "quant/iq4_nl.h"
#include "quant/nl3.h"
#include "quant/q8_0.h"

namespace thimble {

template <class Isa>
struct Codes;

/// The codes of a block, from where it begins in its rows; some are levels of a table, at indices.
template <class Isa>
struct CodedQ80 {
  using Block = BlockQ8_0;
  static constexpr bool kFine = true;
  static constexpr bool kIndexed = false;
  template <class S>
  [[gnu::always_inline]] static typename S::Bytes Load(const typename S::Rows& at) {
    return S::Load(at, offsetof(Block, qs));
  }
};
template <class Isa>
struct CodedIq4Nl {
  using Block = BlockIQ4_NL;
  static constexpr bool kFine = false;
  static constexpr bool kIndexed = true;
  static constexpr const int8_t (&kLevels)[16] = kLevelsIQ4;
  template <class S>
  [[gnu::always_inline]] static typename S::Bytes Indices(const typename S::Rows& at) {
    return S::Nibbles(at, offsetof(Block, qs));
  }
  template <class S>
  [[gnu::always_inline]] static typename S::Bytes Load(const typename S::Rows& at) {
    return S::Lookup(kLevels, Indices<S>(at));
  }
};
template <class Isa>
struct CodedNL3 {
  using Block = BlockNL3;
  static constexpr bool kIndexed = true;
  static constexpr int8_t kLevels[16] = {kLevelsNL3[0], kLevelsNL3[1], kLevelsNL3[2], kLevelsNL3[3],
                                         kLevelsNL3[4], kLevelsNL3[5], kLevelsNL3[6], kLevelsNL3[7]};
  template <class S>
  [[gnu::always_inline]] static typename S::Bytes Indices(const typename S::Rows& at) {
    return Codes<Isa>::Eighths(at.At(offsetof(Block, ql)), at.At(offsetof(Block, qh)));
  }
};

/// kVectors vectors of rows, of which `rows` are there, times kColumns queries from `first` on.
template <class Isa, class F, size_t kVectors, size_t kColumns>
[[gnu::always_inline]] inline void ScoreTile(const RowBlock& block, const CodedQueries& queries, size_t first,
                                             float* scores) {
  using S = Simd<Isa>;
  using C = Codes<Isa>;
  typename S::Rows at[kVectors];
  for (size_t v = 0; v < kVectors; ++v) {
    for (size_t i = 0; i < S::kRows; ++i) {
      const size_t row = v * S::kRows + i;
      at[v].row[i] = block.first + (row < block.count ? row : 0) * block.stride;
    }
  }
  constexpr size_t kSums = kVectors / C::kFolded;
  typename C::Sum sums[kSums][kColumns];
  for (size_t s = 0; s < kSums; ++s) {
    for (size_t c = 0; c < kColumns; ++c) sums[s][c] = C::Zero();
  }
  const size_t blocks = queries.d / 32;
  const int8_t* codes = queries.codes + first * queries.d;
  const int8_t* low = queries.low + first * queries.d;
  const float* scales = queries.scales + first * blocks;
  for (size_t b = 0; b < blocks; ++b, codes += 32, low += 32) {
    typename S::Bytes rows[kVectors];
    typename C::Scale row_scales[kSums];
    for (size_t s = 0; s < kSums; ++s) {
      row_scales[s] = C::Scales(at + s * C::kFolded, offsetof(typename F::Block, d));
    }
    for (size_t v = 0; v < kVectors; ++v) {
      rows[v] = F::template Load<S>(at[v]);
      at[v].Advance(sizeof(typename F::Block));
    }
    for (size_t c = 0; c < kColumns; ++c) {
      const typename S::Bytes query = S::LoadValues(codes + c * queries.d);
      typename C::Products products[kVectors];
      for (size_t v = 0; v < kVectors; ++v) {
        products[v] = C::Multiply(rows[v], query);
        if constexpr (F::kFine) products[v] = C::Refine(products[v], rows[v], S::LoadValues(low + c * queries.d));
      }
      for (size_t s = 0; s < kSums; ++s) {
        sums[s][c] = C::AddScaled(sums[s][c], products + s * C::kFolded, row_scales[s], scales[c * blocks + b]);
      }
    }
  }
  constexpr size_t kSumRows = C::kFolded * S::kRows;
  for (size_t s = 0; s < kSums; ++s) {
    for (size_t c = 0; c < kColumns; ++c) {
      float totals[kSumRows];
      C::Totals(sums[s][c], totals);
      for (size_t i = 0; i < kSumRows && s * kSumRows + i < block.count; ++i) {
        scores[(first + c) * kAttentionTile + s * kSumRows + i] = totals[i];
      }
    }
  }
}

/// CodedFormat::score.
template <class Isa, class F>
void ScoreRows(const RowBlock& block, const CodedQueries& queries, float* scores) {
  constexpr size_t kVectors = Codes<Isa>::kVectors, kColumns = 4;
  constexpr size_t kRows = kVectors * Simd<Isa>::kRows;
  for (size_t r = 0; r < block.count; r += kRows) {
    const size_t rows = block.count - r < kRows ? block.count - r : kRows;
    const RowBlock some = {block.first + r * block.stride, block.stride, rows};
    size_t c = 0;
    for (; c + kColumns <= queries.count; c += kColumns) {
      ScoreTile<Isa, F, kVectors, kColumns>(some, queries, c, scores + r);
    }
    for (; c < queries.count; ++c) ScoreTile<Isa, F, kVectors, 1>(some, queries, c, scores + r);
  }
}

/// CodedFormat::decode.
template <class Isa, class F>
void DecodeRows(const RowBlock& block, size_t d, float* to) {
  using S = typename Simd<Isa>::One;
  for (size_t r = 0; r < block.count; ++r) {
    typename S::Rows at = {{block.first + r * block.stride}};
    for (size_t i = 0; i < d; i += 32, to += 32) {
      const uint16_t* scale = at.template At<uint16_t>(offsetof(typename F::Block, d));
      if constexpr (F::kIndexed) {
        Codes<Isa>::template StoreLevels<F::kLevels>(F::template Indices<S>(at), scale, to);
      } else {
        Codes<Isa>::StoreFloats(F::template Load<S>(at), scale, to);
      }
      at.Advance(sizeof(typename F::Block));
    }
  }
}

template <class Isa>
const CodedFormat* FindCodedFormat(Type type) {
  static constexpr CodedFormat kFormats[] = {
      {Type::kQ8_0, true, ScoreRows<Isa, CodedQ80<Isa>>, DecodeRows<Isa, CodedQ80<Isa>>, nullptr},
      {Type::kIQ4_NL, false, ScoreRows<Isa, CodedIq4Nl<Isa>>, DecodeRows<Isa, CodedIq4Nl<Isa>>, nullptr},
      {Type::kNL3, false, nullptr, DecodeRows<Isa, CodedNL3<Isa>>, nullptr},  // never keys
  };
  for (const CodedFormat& format : kFormats) {
    if (format.type == type) return &format;
  }
  return nullptr;
}

}  // namespace thimble
