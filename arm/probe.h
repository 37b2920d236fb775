// SPDX-License-Identifier: Apache-2.0
//
// How many threads to compute with: the arithmetic of prefill wants every core, decode only as many as its memory can
// feed. Both are proposals, and nothing needs them: a caller who knows better says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "arm/thread_pool.h"

namespace thimble {

/// Threads for prefill: the cores that this process may run on, each once however many hardware threads it has, and the
/// small ones left out where there are bigger ones. The first call asks the system and allocates.
size_t PrefillThreads();

/// Threads for decode, at most pool.threads() and one per processor: reads `weights` with several numbers of them and
/// chooses as FewestThreads does. `weights` is memory like that which decode reads, best the mapped file itself: 32 MiB
/// of it are read, spread over the whole. Takes as long as that, about 4 ms at 10 GB/s, and some 10 ms where memory is
/// slower; allocates nothing. Answers two for less than 32 MiB, and when the time is up before every number had its
/// turn, as with a file that is not in memory yet.
size_t DecodeThreads(const ThreadPool& pool, std::span<const std::byte> weights);

/// The rule: the fewest threads that are within 5 % of the fastest, but one alone only where a second one makes reading
/// more than 10 % slower, for a token is not only read, it is also multiplied. times[i] is what counts[i] threads need
/// for the same bytes, in any unit; counts rise, from one.
size_t FewestThreads(std::span<const size_t> counts, std::span<const int64_t> times);

}  // namespace thimble
