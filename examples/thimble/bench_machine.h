// SPDX-License-Identifier: Apache-2.0
//
// What bench asks of the machine itself: how fast its threads read memory, and how much memory the process had at most.
#pragma once

#include "core/kernels.h"

namespace thimble::program {

/// GB/s at which all workers together read a buffer that is far larger than the caches: every cache line once, the best
/// of some passes. It is the ceiling of decoding, which reads the weights once for every token.
double ReadBandwidth(const Workers& workers);

/// The most memory that was resident since ForgetPeak, in MiB, files included, as the kernel counts it; 0 where it
/// does not say.
double PeakResident();
void ForgetPeak();

}  // namespace thimble::program
