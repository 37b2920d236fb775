// SPDX-License-Identifier: Apache-2.0
//
// The vectors of arm/gguf_blocks.h on ARMv8.2 with SDOT: four products of bytes at a time are added to 32 bits,
// whatever the magnitude of the codes.
#pragma once

#include "arm/simd_neon.h"

namespace thimble {

template <class Isa>
struct SdotVectors : NeonVectors<Isa> {
  using typename NeonVectors<Isa>::Bytes;
  using typename NeonVectors<Isa>::Quad;
  using NeonVectors<Isa>::AddUp;

  static constexpr bool kStarts = true;

  template <int kSub, int kMagnitude, bool kSigned>
  static auto Dot(Bytes w, Bytes x) {
    if constexpr (kSub == 16) {
      return DotFrom(Quad{vdupq_n_s32(0), vdupq_n_s32(0)}, w, x);
    } else {
      return DotFrom(vdupq_n_s32(0), w, x);
    }
  }
  static int32x4_t DotFrom(int32x4_t start, Bytes w, Bytes x) {
    return Sdot(Sdot(start, w.first, x.first), w.second, x.second);
  }
  template <int kMagnitude>
  static int32x4_t DotFrom(int32x4_t start, Bytes w, Bytes x) {
    return DotFrom(start, w, x);
  }
  static Quad DotFrom(Quad start, Bytes w, Bytes x) {
    return {Sdot(start.even, w.first, x.first), Sdot(start.odd, w.second, x.second)};
  }

  template <int kSub>
  static auto LoadStart(const int32_t* p) {
    if constexpr (kSub == 16) {
      return Quad{vld1q_s32(p), vld1q_s32(p + 4)};
    } else {
      return vld1q_s32(p);
    }
  }
  static void StoreStart(int32_t* p, int32x4_t start) { vst1q_s32(p, start); }
  static void StoreStart(int32_t* p, Quad start) {
    vst1q_s32(p, start.even);
    vst1q_s32(p + 4, start.odd);
  }

  template <int kSub, int kMagnitude, class Part>
  static Quad Fold(const Part (&p)[4]) {
    if constexpr (kSub == 16) {
      return {AddUp(p[0].even, p[1].even, p[2].even, p[3].even), AddUp(p[0].odd, p[1].odd, p[2].odd, p[3].odd)};
    } else {
      const int32x4_t sums = AddUp(p[0], p[1], p[2], p[3]);
      return {sums, sums};
    }
  }

 private:
  static int32x4_t Sdot(int32x4_t sum, uint8x16_t w, uint8x16_t x) {
    return vdotq_s32(sum, vreinterpretq_s8_u8(w), vreinterpretq_s8_u8(x));
  }
};

template <>
struct Simd<NeonDot> : SdotVectors<NeonDot> {};

}  // namespace thimble
