// SPDX-License-Identifier: Apache-2.0
//
// See bench_machine.h. Linux only, like the program.
#include "bench_machine.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "console.h"

namespace thimble::program {
namespace {

constexpr size_t kLine = 64, kStep = 4 * kLine;
constexpr size_t kAhead = 8192;               // how far ahead lines are asked for
constexpr size_t kPiece = size_t{256} << 10;  // of a task; a multiple of kStep

// The sum of the first word of every line. Memory moves by the line, so reading the rest of it would only measure how
// wide the vectors are that this file was compiled for.
uint64_t SumOfLines(std::span<const std::byte> bytes) {
  uint64_t sum[4] = {};
  for (size_t i = 0; i < bytes.size(); i += kStep) {
    for (size_t line = 0; line < 4; ++line) {
      const std::byte* at = bytes.data() + i + line * kLine;
      __builtin_prefetch(at + kAhead);
      uint64_t word;
      std::memcpy(&word, at, sizeof word);
      sum[line] += word;
    }
  }
  return sum[0] + sum[1] + sum[2] + sum[3];
}

}  // namespace

double ReadBandwidth(const Workers& workers, std::span<const std::span<const std::byte>> ranges) {
  std::vector<std::span<const std::byte>> pieces;
  size_t bytes = 0;
  for (const auto range : ranges) {
    const size_t size = range.size() / kStep * kStep;
    for (size_t i = 0; i < size; i += kPiece) pieces.push_back(range.subspan(i, std::min(kPiece, size - i)));
    bytes += size;
  }
  std::atomic<uint64_t> sum = 0;  // somebody must want it, or nothing is read
  const Stopwatch watch;
  ParallelFor(workers, pieces.size(),
              [&](size_t i, size_t) { sum.fetch_add(SumOfLines(pieces[i]), std::memory_order_relaxed); });
  return static_cast<double>(bytes) / watch.seconds() / 1e9;
}

double PeakResident() {
  std::ifstream status("/proc/self/status");
  std::string key;
  double kilobytes = 0;
  while (status >> key && !(key == "VmHWM:" && status >> kilobytes)) status.ignore(4096, '\n');
  return kilobytes / 1024;
}

void ForgetPeak() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace thimble::program
