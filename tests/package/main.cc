// SPDX-License-Identifier: Apache-2.0
//
// A few lines against an installed Thimble: something of every room, linked and run.
#include <cstdio>

#include "arm/thread_pool.h"
#include "core/session.h"
#include "io/gguf.h"
#include "quant/format.h"

int main() {
  const thimble::ThreadPool pool(2);
  const thimble::Backend backend = {&thimble::kPortableKernels, pool.workers()};
  float x[2] = {3, -3};
  const float weight[2] = {1, 2};
  backend.kernels->rms_norm(x, weight, 2, 0, x);
  const auto file = thimble::Gguf::Open({});
  std::printf("%s, %zu workers, %g %g, %s\n", thimble::FormatOf(thimble::Type::kQ4_0).name, backend.workers.count,
              static_cast<double>(x[0]), static_cast<double>(x[1]), file.error().what);
  return x[0] == 1 && x[1] == -2 && !file ? 0 : 1;
}
