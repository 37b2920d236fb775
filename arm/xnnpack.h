// SPDX-License-Identifier: Apache-2.0
//
// XNNPACK's matrix multiplications of 8-bit activations with 4-bit weights in blocks ("qd8_f32_qb4w"), taken one by one
// from its static archive of micro-kernels: no operators, no allocation, no dispatch of its own. Which weights are
// packed, and where, is the caller's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "arm/cpu.h"

namespace thimble {

/// How a row of activations was rounded to int8: value = (code - zero_point) * scale.
struct Qd8Row {
  int32_t zero_point;
  float scale;
};

/// The results are clamped to [min, max]; `block` weights share a scale: a multiple of 32.
struct Qb4wParams {
  float min;
  float max;
  size_t block;
};

/// c[m][n] for up to `mr` rows of activations and n columns: `a` is [m][k] codes, a_stride bytes apart, `rows` one per
/// row of `a`; c's rows are c_stride bytes apart, and its tiles of nr columns tile_stride bytes. `w` holds the weights
/// of n columns in tiles of nr, each: float sum[nr], for every block of k { nibbles [block / (2 kr)][nr][kr], bf16
/// scale / 16 [nr] }, float bias[nr]. Byte i of a group of kr holds weight i in its low and weight i + kr in its high
/// half, both as two's complement; sum is minus the sum of scale * weight over k.
using Qb4wGemm = void (*)(size_t m, size_t n, size_t k, const int8_t* a, size_t a_stride, const void* w, float* c,
                          size_t c_stride, size_t tile_stride, const Qb4wParams* params, const Qd8Row* rows);

struct Qb4wKernel {
  const char* name;  // XNNPACK's, after the last "ukernel_"
  size_t mr;         // rows of activations at a time
  size_t nr;         // columns in a tile
  size_t kr;         // consecutive weights of a column
  bool Cpu::* needs;
  Qb4wGemm run;
};

/// All that were built in, best first; one may run where cpu.*needs is true.
std::span<const Qb4wKernel> Qb4wKernels();

}  // namespace thimble
