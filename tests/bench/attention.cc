// SPDX-License-Identifier: Apache-2.0
//
// What attention costs at a depth: the rows of 6 layers with 2 key/value heads of 256 values and 4 queries each, which
// is what one token of the 0.8B model reads, for every format of the cache. Rows are of random numbers.
//
//   attention [ROWS] [TABLE] [THREADS]      32768 rows, the best table, 1 thread
//   attention ROWS TABLE 0 K V [TOKENS]     passes over 256 rows of one head, to count instructions: K and V are f16,
//   q8,
//                                           q4 or q3, and TOKENS tokens are taken at a time
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "arm/kernel_tables.h"
#include "arm/thread_pool.h"

namespace {

using namespace thimble;

constexpr size_t kHeads = 12, kOfLayer = 2, kGroup = 4, kDim = 256;

const Format& FormatNamed(const std::string& name) {
  if (name == "f16") return FormatOf(Type::kF16);
  if (name == "q8") return FormatOf(Type::kQ8_0);
  return FormatOf(name == "q4" ? Type::kIQ4_NL : Type::kNL3);
}

// `rows` rows of a format: some random ones, again and again, as encoding all would take longer than reading them.
struct Rows {
  Rows(const Format& of, size_t rows)
      : format(of), stride(kDim / of.block_size * of.block_bytes), bytes(rows * stride) {
    constexpr size_t kSome = 256;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (size_t r = 0; r < std::min(rows, kSome); ++r) {
      float x[kDim];
      for (float& v : x) v = normal(random);
      format.encode(x, kDim / format.block_size, bytes.data() + r * stride);
    }
    for (size_t r = kSome; r < rows; ++r) {
      std::memcpy(bytes.data() + r * stride, bytes.data() + r % kSome * stride, stride);
    }
  }
  // Of a layer, the rows of its heads lie beside each other.
  CacheRows Head(size_t head, size_t rows, size_t of_layer) const {
    return {&format, bytes.data() + (head / of_layer * rows * of_layer + head % of_layer) * stride, of_layer * stride};
  }

  const Format& format;
  size_t stride;
  std::vector<std::byte> bytes;
};

// Of the tokens the last one reads all rows.
void Attend(const Kernels& kernels, const Rows& k, const Rows& v, size_t head, size_t rows, size_t tokens) {
  thread_local std::vector<float> scratch(AttentionFloats(kDim, tokens * kGroup)), q(tokens * kGroup * kDim, 0.1f),
      out(tokens * kGroup * kDim);
  const AttentionHead work{.head_dim = kDim,
                           .tokens = tokens,
                           .group = kGroup,
                           .rows = rows - tokens + 1,
                           .q = q.data(),
                           .q_stride = kDim,
                           .q_token_stride = kGroup * kDim,
                           .k = k.Head(head, rows, kOfLayer),
                           .v = v.Head(head, rows, kOfLayer),
                           .out = out.data(),
                           .out_stride = kDim,
                           .out_token_stride = kGroup * kDim};
  kernels.attend(work, scratch.data());
}

const Kernels& Table(const std::string& name) {
  for (const KernelTable& table : KernelTables()) {
    if (name == table.kernels->name) return *table.kernels;
  }
  return name == "portable" ? kPortableKernels : SelectKernels(DescribeCpu());
}

}  // namespace

int main(int argc, char** argv) {
  const size_t rows = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 32768;
  const Kernels& kernels = Table(argc > 2 ? argv[2] : "");
  const auto threads = static_cast<uint32_t>(argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 1);
  if (argc > 5) {
    const Rows k(FormatNamed(argv[4]), kOfLayer * 256), v(FormatNamed(argv[5]), kOfLayer * 256);
    const size_t tokens = argc > 6 ? std::strtoul(argv[6], nullptr, 10) : 1;
    for (size_t r = 0; r < rows; r += 256) Attend(kernels, k, v, 0, 256, tokens);
    return 0;
  }
  const ThreadPool pool(threads);
  std::printf(
      "%zu rows, kernels %s, %u threads\n\n| keys | values | bytes a token | ms | GB/s |\n|---|---|--:|--:|--:|\n",
      rows, kernels.name, threads);
  constexpr const char* kPairs[][2] = {{"f16", "f16"}, {"q8", "q8"}, {"q8", "q4"}, {"q4", "q4"}, {"q4", "q3"}};
  for (const auto& pair : kPairs) {
    const Rows k(FormatNamed(pair[0]), kHeads * rows), v(FormatNamed(pair[1]), kHeads * rows);
    double best = 1e9;
    for (int round = 0; round < 7; ++round) {
      const auto start = std::chrono::steady_clock::now();
      ParallelFor(pool.workers(), kHeads, [&](size_t head, size_t) { Attend(kernels, k, v, head, rows, 1); });
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    const size_t bytes = kHeads * (k.stride + v.stride);
    std::printf("| %s | %s | %zu | %.2f | %.1f |\n", pair[0], pair[1], bytes, best * 1e3,
                static_cast<double>(bytes * rows) / best / 1e9);
    std::fflush(stdout);
  }
}
