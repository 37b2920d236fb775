// SPDX-License-Identifier: Apache-2.0
//
// The list of XNNPACK's qd8_f32_qb4w kernels for this architecture. Debian packages the archive but not its headers, so
// the few prototypes stand here; tests/xnnpack_test.cc would notice if one of them changed its meaning.
#include "arm/xnnpack.h"

extern "C" {
using Qb4wFunction = void(size_t m, size_t n, size_t k, const int8_t* a, size_t a_stride, const void* w, float* c,
                          size_t c_stride, size_t tile_stride, const thimble::Qb4wParams* params,
                          const thimble::Qd8Row* rows);
#if defined(__aarch64__)
Qb4wFunction xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c8__neoni8mm;
#endif
#if defined(__aarch64__) || defined(__arm__)
Qb4wFunction xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c4__neondot;
Qb4wFunction xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16__neon_mlal_lane;
#elif defined(__x86_64__)
Qb4wFunction xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c8__avx512vnni_prfm;
Qb4wFunction xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x8c8__avx2;
#endif
}

namespace thimble {
namespace {

constexpr Qb4wKernel kKernels[] = {
#if defined(__aarch64__)
    {"1x16c8__neoni8mm", 1, 16, 8, &Cpu::i8mm, xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c8__neoni8mm},
#endif
#if defined(__aarch64__) || defined(__arm__)
    {"1x16c4__neondot", 1, 16, 4, &Cpu::dotprod, xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c4__neondot},
    {"1x16__neon_mlal_lane", 1, 16, 1, &Cpu::neon, xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16__neon_mlal_lane},
#elif defined(__x86_64__)
    {"1x16c8__avx512vnni_prfm", 1, 16, 8, &Cpu::avx512vnni,
     xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c8__avx512vnni_prfm},
    {"1x8c8__avx2", 1, 8, 8, &Cpu::avx2, xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x8c8__avx2},
#else
#error "list XNNPACK's kernels of this architecture here"
#endif
};

}  // namespace

std::span<const Qb4wKernel> Qb4wKernels() { return kKernels; }

}  // namespace thimble
