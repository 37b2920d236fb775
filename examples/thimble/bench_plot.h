// SPDX-License-Identifier: Apache-2.0
//
// Figures of bench drawn against the depth of the context, as an SVG file of two panels: tokens per second, and memory.
#pragma once

#include <span>
#include <string>

#include "bench_measure.h"

namespace thimble::program {

/// `title` is any text; `rows` are all of the same model and sizes but for the depth, in any order, at least one.
std::string BenchSvg(const std::string& title, std::span<const BenchFigures> rows);

}  // namespace thimble::program
