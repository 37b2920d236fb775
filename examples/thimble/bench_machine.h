// SPDX-License-Identifier: Apache-2.0
//
// What bench asks of the machine itself: how fast its threads read memory, and how much memory the process had at most.
#pragma once

#include <cstddef>
#include <span>

#include "core/kernels.h"

namespace thimble::program {

/// GB/s at which all workers together read these ranges once, every cache line, and do nothing else. Of the weights it
/// is the ceiling of decoding, which reads them once for every token: the same bytes in the same pages.
double ReadBandwidth(const Workers& workers, std::span<const std::span<const std::byte>> ranges);

/// The most memory that was resident since ForgetPeak, in MiB, files included, as the kernel counts it; 0 where it
/// does not say.
double PeakResident();
void ForgetPeak();

}  // namespace thimble::program
