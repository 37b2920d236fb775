// SPDX-License-Identifier: Apache-2.0
//
// The numbers of threads that are proposed: the rule on figures of known boards, and the probe itself on memory that is
// large enough, too small, and read only. How fast this machine is, no test knows.
#include "arm/probe.h"

#include <doctest/doctest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#ifdef THIMBLE_ALLOC_COUNTER
#include "alloc_counter.h"
#endif

namespace thimble {
namespace {

constexpr size_t kEnough = size_t{32} << 20;

size_t Fewest(const std::vector<size_t>& counts, const std::vector<int64_t>& times) {
  return FewestThreads(counts, times);
}

TEST_CASE("the rule") {
  CHECK(Fewest({1}, {100}) == 1);
  CHECK(Fewest({1, 2}, {1000, 505}) == 2);
  // One core reads all that memory gives: the second one is there to multiply.
  CHECK(Fewest({1, 2}, {1000, 1000}) == 2);
  CHECK(Fewest({1, 2, 3, 4}, {1000, 1078, 1180, 1305}) == 2);  // Raspberry Pi 5: 13.7, 12.7, 11.6 and 10.5 GB/s
  CHECK(Fewest({1, 2, 3, 4}, {1000, 1150, 1150, 1150}) == 1);
  // The fewest of those that are about as fast as the fastest.
  CHECK(Fewest({1, 2, 3, 4}, {1000, 520, 505, 500}) == 2);
  CHECK(Fewest({1, 2, 3, 4}, {1000, 530, 505, 500}) == 3);
  CHECK(Fewest({1, 2, 3, 4}, {1000, 500, 334, 250}) == 4);
  CHECK(Fewest({1, 2, 3, 4, 6, 8}, {1000, 500, 334, 250, 249, 400}) == 4);
}

TEST_CASE("prefill has at least one thread and at most one per processor that the process may use") {
  cpu_set_t allowed;
  REQUIRE(pthread_getaffinity_np(pthread_self(), sizeof allowed, &allowed) == 0);
  CHECK(PrefillThreads() >= 1);
  CHECK(PrefillThreads() <= static_cast<size_t>(CPU_COUNT(&allowed)));
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
  REQUIRE(pthread_setaffinity_np(pthread_self(), sizeof one, &one) == 0);
  CHECK(PrefillThreads() == 1);
  pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed);
}

TEST_CASE("decode has at least one thread and at most one per processor") {
  cpu_set_t allowed;
  REQUIRE(pthread_getaffinity_np(pthread_self(), sizeof allowed, &allowed) == 0);
  const auto processors = static_cast<size_t>(CPU_COUNT(&allowed));
  // Read-only pages of nothing at an address that no access is aligned to.
  const size_t mapped = kEnough + 4096;
  void* const pages = mmap(nullptr, mapped, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(pages != MAP_FAILED);
  const std::span<const std::byte> memory(static_cast<const std::byte*>(pages) + 1, kEnough);
  for (const size_t threads : std::initializer_list<size_t>{1, 2, 3, 5, 9}) {
    CAPTURE(threads);
    const ThreadPool pool(threads);
#ifdef THIMBLE_ALLOC_COUNTER
    const Allocations before = CountAllocations();
#endif
    const size_t decode = DecodeThreads(pool, memory);
#ifdef THIMBLE_ALLOC_COUNTER
    CHECK(CountAllocations() == before);
#endif
    const size_t most = std::min(threads, processors);
    CHECK(decode >= 1);
    CHECK(decode <= most);
    CHECK(DecodeThreads(pool, memory.first(kEnough - 1)) == std::min<size_t>(most, 2));
    CHECK(DecodeThreads(pool, {}) == std::min<size_t>(most, 2));
  }
  munmap(pages, mapped);
}

}  // namespace
}  // namespace thimble
