// SPDX-License-Identifier: Apache-2.0
//
// See bench_machine.h. Linux only, like the program.
#include "bench_machine.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "console.h"

namespace thimble::program {
namespace {

constexpr size_t kLine = 64 / sizeof(uint64_t);     // words of a cache line
constexpr size_t kAhead = 8192 / sizeof(uint64_t);  // how far ahead lines are asked for
constexpr size_t kPieces = 256, kStep = 4 * kLine;
constexpr int kPasses = 5;

// The sum of the first word of every line. Memory moves by the line, so reading the rest of it would only measure how
// wide the vectors are that this file was compiled for.
uint64_t SumOfLines(const uint64_t* words, size_t count) {
  uint64_t sum[4] = {};
  for (size_t i = 0; i < count; i += kStep) {
    for (size_t line = 0; line < 4; ++line) {
      __builtin_prefetch(words + i + line * kLine + kAhead);
      sum[line] += words[i + line * kLine];
    }
  }
  return sum[0] + sum[1] + sum[2] + sum[3];
}

}  // namespace

double ReadBandwidth(const Workers& workers) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), pages = static_cast<size_t>(sysconf(_SC_PHYS_PAGES));
  const size_t megabytes = std::min<size_t>(384, pages / 4 * page >> 20);  // a quarter of a small board
  const size_t piece = (megabytes << 20) / sizeof(uint64_t) / kPieces / kStep * kStep;
  const std::vector<uint64_t> words(kPieces * piece + kAhead + kStep, 1);
  std::vector<uint64_t> sums(kPieces * kLine);  // a cache line each
  double best = 0.0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const Stopwatch watch;
    ParallelFor(workers, kPieces,
                [&](size_t i, size_t) { sums[i * kLine] += SumOfLines(words.data() + i * piece, piece); });
    best = std::max(best, static_cast<double>(kPieces * piece * sizeof(uint64_t)) / watch.seconds() / 1e9);
  }
  uint64_t total = 0;
  for (const uint64_t sum : sums) total += sum;
  return total == kPasses * kPieces * piece / kLine ? best : 0.0;  // the sums are used, so they cannot be left out
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
