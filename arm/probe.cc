// SPDX-License-Identifier: Apache-2.0
//
// Cores from cpuinfo; bandwidth by reading windows of the weights, each one once, with different numbers of workers by
// turns. A disturbance only ever makes a reading slower, so the best one of each number counts.
#include "arm/probe.h"

#include <cpuinfo.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <ctime>

#include "arm/cpu.h"

namespace thimble {
namespace {

constexpr size_t kWindow = size_t{2} << 20;  // bytes read at a time: some 200 us where memory is fast
constexpr size_t kWindows = 16;
constexpr size_t kPiece = 32768;         // bytes of a task
constexpr size_t kPage = 4096;           // or more
constexpr int64_t kBudget = 10'000'000;  // ns
constexpr size_t kFewThreads = 2;        // without a measurement

int64_t Now() {
  timespec time = {};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

/// The in-order cores that stand beside bigger ones.
bool IsSmall(cpuinfo_uarch uarch) {
  switch (uarch) {
    case cpuinfo_uarch_cortex_a7:
    case cpuinfo_uarch_cortex_a35:
    case cpuinfo_uarch_cortex_a53:
    case cpuinfo_uarch_cortex_a55r0:
    case cpuinfo_uarch_cortex_a55:
    case cpuinfo_uarch_cortex_a510:
    case cpuinfo_uarch_cortex_a520:
      return true;
    default:
      return false;
  }
}

uint64_t Sum(const std::byte* bytes, size_t size) {
  std::array<uint64_t, 8> sums = {};
  for (size_t i = 0; i < size; i += sizeof sums) {
    std::array<uint64_t, 8> line;
    std::memcpy(&line, bytes + i, sizeof line);
    for (size_t lane = 0; lane < sums.size(); ++lane) sums[lane] += line[lane];
  }
  uint64_t sum = 0;
  for (const uint64_t lane : sums) sum += lane;
  return sum;
}

/// Nanoseconds that `workers` need for one window. They look into every page first, so that they are awake and the
/// pages mapped when the clock starts.
int64_t ReadWindow(const Workers& workers, const std::byte* window) {
  std::atomic<uint64_t> sum = 0;  // somebody must want it, or nothing is read
  ParallelFor(workers, kWindow / kPiece, [&](size_t index, size_t) {
    uint64_t touched = 0;
    for (size_t i = 0; i < kPiece; i += kPage) touched += static_cast<uint64_t>(window[index * kPiece + i]);
    sum.fetch_add(touched, std::memory_order_relaxed);
  });
  const int64_t start = Now();
  ParallelFor(workers, kWindow / kPiece, [&](size_t index, size_t) {
    sum.fetch_add(Sum(window + index * kPiece, kPiece), std::memory_order_relaxed);
  });
  return Now() - start;
}

}  // namespace

size_t PrefillThreads() {
  const size_t allowed = AllowedProcessors();
  if (!cpuinfo_initialize()) return allowed;
  size_t big = 0;
  for (uint32_t i = 0; i < cpuinfo_get_cores_count(); ++i) big += !IsSmall(cpuinfo_get_core(i)->uarch);
  if (big == 0) big = cpuinfo_get_cores_count();
  return std::max<size_t>(1, std::min(big, allowed));
}

size_t DecodeThreads(const ThreadPool& pool, std::span<const std::byte> weights) {
  const size_t most = std::min(pool.threads(), AllowedProcessors());
  if (most < 2 || weights.size() < kWindow * kWindows) return std::min(most, kFewThreads);

  std::array<size_t, 8> counts = {1, 2, 3, 4, 6, 8, 16, most};
  size_t last = 0;
  while (counts[last] < most) ++last;
  counts[last] = most;
  std::array<int64_t, counts.size()> times;
  times.fill(INT64_MAX);

  const size_t stride = weights.size() / kWindows / kPage * kPage;
  const int64_t deadline = Now() + kBudget;
  size_t window = 0;
  for (size_t turn = 0; window < kWindows && Now() < deadline; turn = turn == last ? 0 : turn + 1, ++window) {
    const int64_t time = ReadWindow(pool.workers(counts[turn]), weights.data() + window * stride);
    times[turn] = std::min(times[turn], time);
  }
  if (window <= last) return kFewThreads;
  return FewestThreads(std::span(counts).first(last + 1), std::span(times).first(last + 1));
}

size_t FewestThreads(std::span<const size_t> counts, std::span<const int64_t> times) {
  if (counts.size() == 1 || times[1] > times[0] + times[0] / 10) return counts[0];
  const auto several = times.subspan(1);
  const int64_t fastest = *std::min_element(several.begin(), several.end());
  size_t i = 1;
  while (times[i] > fastest + fastest / 20) ++i;
  return counts[i];
}

}  // namespace thimble
