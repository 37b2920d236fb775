// SPDX-License-Identifier: Apache-2.0
//
// One measurement of bench: a model opened, planned, bound and run for a number of tokens at a depth of context, and
// what came of it. How it is shown is the business of bench_report.h and bench_plot.h.
#pragma once

#include <array>
#include <string>

#include "console.h"
#include "core/kernels.h"
#include "options.h"
#include "runtime.h"

namespace thimble::program {

struct BenchSizes {
  uint32_t prefill = 0;  // tokens; 0: not measured
  uint32_t decode = 0;   // tokens; 0: not measured
  uint32_t depth = 0;    // tokens in the context before each of the two
};

using PartSeconds = std::array<double, kParts>;

/// Of the repetitions, medians.
struct BenchFigures {
  BenchSizes sizes;
  std::string kernels;
  size_t prefill_threads = 0;
  size_t decode_threads = 0;
  double ready_seconds = 0;        // Open, Plan and Bind
  double prefill_tps = 0;          // tokens per second, up to the choice of the token behind them
  double decode_tps = 0;           // of greedy decoding
  PartSeconds prefill_parts = {};  // per token
  PartSeconds decode_parts = {};
  uint64_t bytes_per_token = 0;        // of weights
  uint64_t state_bytes_per_token = 0;  // of DeltaNet state, read and written
  double read_gbps = 0;                // at which the threads of decoding only read those weights
  size_t arena_bytes = 0;
  ProcessMemory peak;     // the most of each at the end of any timed run; nothing is given back in between
  double peak_total = 0;  // MiB, anonymous and files together, by the kernel's own high-water mark

  double weights_gbps() const { return static_cast<double>(bytes_per_token) * decode_tps / 1e9; }
};

/// "deltanet" for Part::kDeltaNet.
const char* PartName(size_t part);

struct BenchRequest {
  ModelOptions model;
  BenchSizes sizes;
  bool prefill_given = false;  // otherwise sizes.prefill becomes 512, or what the model was trained for
  bool decode_given = false;   // otherwise sizes.decode becomes 64, or as above
  uint32_t repetitions = 1;
};

/// Opens the model in `runtime`, a fresh one, which must outlive the error that this may end with: its names are the
/// file's. False when interrupted.
Result<bool> MeasureBench(const BenchRequest& request, Runtime& runtime, BenchFigures* figures);

}  // namespace thimble::program
