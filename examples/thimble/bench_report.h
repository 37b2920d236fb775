// SPDX-License-Identifier: Apache-2.0
//
// The figures of bench as a person reads them, and as programs do: JSON and CSV, which have the same columns.
#pragma once

#include <span>
#include <string>

#include "bench_measure.h"

namespace thimble::program {

/// Lines for one row, a table for several.
std::string BenchText(std::span<const BenchFigures> rows);

/// An object for one row, an array for several.
std::string BenchJson(const std::string& model, std::span<const BenchFigures> rows);

/// A line of names, then one for each row. What was not measured stays empty.
std::string BenchCsv(const std::string& model, std::span<const BenchFigures> rows);

}  // namespace thimble::program
