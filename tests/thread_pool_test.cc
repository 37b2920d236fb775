// SPDX-License-Identifier: Apache-2.0
//
// The thread pool keeps the contract of core's Workers: every index once, worker numbers below the count and never
// shared by overlapping calls, and no allocation after its creation.
#include "arm/thread_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <vector>

#ifdef THIMBLE_ALLOC_COUNTER
#include "alloc_counter.h"
#endif

namespace thimble {
namespace {

TEST_CASE("every index runs once, on a worker that nobody else uses") {
  for (const size_t threads : std::initializer_list<size_t>{1, 2, 3}) {
    CAPTURE(threads);
    const ThreadPool pool(threads);
    const Workers workers = pool.workers();
    REQUIRE(workers.count == threads);
    for (const size_t tasks : std::initializer_list<size_t>{0u, 1u, 2u, 3u, 7u, 200u}) {
      CAPTURE(tasks);
      std::vector<std::atomic<int>> runs(tasks);
      std::vector<std::atomic<int>> inside(threads);
      std::atomic<int> faults = 0;
      ParallelFor(workers, tasks, [&](size_t index, size_t worker) {
        if (index >= tasks || worker >= threads || ++inside[worker] != 1) {
          ++faults;
          return;
        }
        ++runs[index];
        --inside[worker];
      });
      CHECK(faults == 0);
      for (const auto& count : runs) REQUIRE(count == 1);
    }
  }
}

TEST_CASE("one thread needs no pool") {
  const ThreadPool pool(1);
  CHECK(pool.workers().run == nullptr);
  CHECK(pool.workers().count == 1);
}

TEST_CASE("zero threads means one per processor") {
  const ThreadPool pool(0);
  CHECK(pool.workers().count >= 1);
}

TEST_CASE("all writes of the tasks are seen after the loop") {
  const ThreadPool pool(2);
  std::vector<size_t> squares(64);
  for (size_t round = 0; round < 50; ++round) {
    ParallelFor(pool.workers(), squares.size(), [&](size_t index, size_t) { squares[index] = index * index + round; });
    for (size_t i = 0; i < squares.size(); ++i) REQUIRE(squares[i] == i * i + round);
  }
}

#ifdef THIMBLE_ALLOC_COUNTER
TEST_CASE("the counter counts") {
  void* (*volatile allocate)(size_t) = std::malloc;  // volatile: the compiler must not leave the call out
  const Allocations before = CountAllocations();
  void* block = allocate(100);
  const Allocations after = CountAllocations();
  std::free(block);
  CHECK(after.heap == before.heap + 1);
  CHECK(CountAllocations() == after);
}

TEST_CASE("parallel loops allocate nothing") {
  for (const size_t threads : std::initializer_list<size_t>{1, 2}) {
    CAPTURE(threads);
    const ThreadPool pool(threads);
    const Workers workers = pool.workers();
    std::atomic<size_t> sum = 0;
    ParallelFor(workers, 1000,
                [&](size_t index, size_t) { sum += index; });  // the threads have started when this returns
    const Allocations before = CountAllocations();
    for (int round = 0; round < 200; ++round) {
      ParallelFor(workers, 64, [&](size_t index, size_t) { sum += index; });
    }
    CHECK(CountAllocations() == before);
  }
}
#endif

}  // namespace
}  // namespace thimble
