// SPDX-License-Identifier: Apache-2.0
//
// The thread pool keeps the contract of core's Workers: every index once, worker numbers below the count and never
// shared by overlapping calls, and no allocation after its creation; with fewer workers than it has, with more threads
// than processors, and after its threads have slept.
#include "arm/thread_pool.h"

#include <doctest/doctest.h>
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#ifdef THIMBLE_ALLOC_COUNTER
#include "alloc_counter.h"
#endif

namespace thimble {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

/// Runs `tasks` tasks and counts what breaks the contract.
int Faults(const Workers& workers, size_t tasks) {
  std::vector<std::atomic<int>> runs(tasks);
  std::vector<std::atomic<int>> inside(workers.count);
  std::atomic<int> faults = 0;
  ParallelFor(workers, tasks, [&](size_t index, size_t worker) {
    if (index >= tasks || worker >= workers.count || ++inside[worker] != 1) {
      ++faults;
      return;
    }
    ++runs[index];
    --inside[worker];
  });
  for (const auto& count : runs) faults += count != 1;
  return faults;
}

/// Waits until `condition` holds; false when that takes ten seconds.
template <class F>
bool Soon(F&& condition) {
  const auto deadline = steady_clock::now() + seconds(10);
  while (!condition()) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

cpu_set_t Affinity(pthread_t thread) {
  cpu_set_t set;
  CPU_ZERO(&set);
  pthread_getaffinity_np(thread, sizeof set, &set);
  return set;
}

TEST_CASE("every index runs once, on a worker that nobody else uses") {
  for (const size_t threads : std::initializer_list<size_t>{1, 2, 3, 4}) {
    CAPTURE(threads);
    const ThreadPool pool(threads);
    REQUIRE(pool.threads() == threads);
    REQUIRE(pool.workers().count == threads);
    for (const size_t tasks : std::initializer_list<size_t>{0, 1, 2, 3, 4, 5, 7, 200, 20'000}) {
      CAPTURE(tasks);
      CHECK(Faults(pool.workers(), tasks) == 0);
    }
  }
}

TEST_CASE("loops with fewer workers than the pool has") {
  const ThreadPool pool(4);
  CHECK(pool.workers(0).count == 1);
  CHECK(pool.workers(1).run == nullptr);
  CHECK(pool.workers(3).count == 3);
  CHECK(pool.workers(4).count == 4);
  CHECK(pool.workers(5).count == 4);
  for (int round = 0; round < 300; ++round) {
    for (const size_t at_most : std::initializer_list<size_t>{2, 4, 1, 3}) {
      CAPTURE(at_most);
      REQUIRE(Faults(pool.workers(at_most), 37) == 0);
    }
  }
}

TEST_CASE("a pool calls its tasks itself when asked for none or one") {
  const ThreadPool pool(2);
  const Workers workers = pool.workers();
  for (const size_t tasks : std::initializer_list<size_t>{0, 1, 0, 2, 0}) {
    std::atomic<size_t> ran = 0;
    workers.run(
        workers.context, tasks, [](void* count, size_t, size_t) { ++*static_cast<std::atomic<size_t>*>(count); }, &ran);
    CHECK(ran == tasks);
  }
}

TEST_CASE("one thread needs no pool") {
  const ThreadPool pool(1);
  CHECK(pool.workers().run == nullptr);
  CHECK(pool.workers().count == 1);
  CHECK(pool.threads() == 1);
}

TEST_CASE("zero threads means one per processor") {
  const ThreadPool pool(0);
  const cpu_set_t allowed = Affinity(pthread_self());
  CHECK(pool.workers().count == static_cast<size_t>(CPU_COUNT(&allowed)));
}

TEST_CASE("all writes of the tasks are seen after the loop, and those before it by the tasks") {
  const ThreadPool pool(2);
  std::vector<size_t> factors(64);
  std::vector<size_t> products(64);
  for (size_t round = 0; round < 2000; ++round) {
    for (size_t i = 0; i < factors.size(); ++i) factors[i] = i + round;
    ParallelFor(pool.workers(), products.size(),
                [&](size_t index, size_t) { products[index] = factors[index] * round; });
    for (size_t i = 0; i < products.size(); ++i) REQUIRE(products[i] == (i + round) * round);
  }
}

TEST_CASE("all workers take part, awake or asleep") {
  const ThreadPool pool(3);
  for (const size_t at_most : std::initializer_list<size_t>{3, 2, 3}) {
    CAPTURE(at_most);
    for (const auto pause : {milliseconds(0), milliseconds(5)}) {
      const Workers workers = pool.workers(at_most);
      std::this_thread::sleep_for(pause);
      std::atomic<size_t> begun = 0;
      std::atomic<int> alone = 0;
      // Each task lasts until every worker is inside one.
      ParallelFor(workers, workers.count, [&](size_t, size_t) {
        ++begun;
        if (!Soon([&] { return begun == workers.count; })) ++alone;
      });
      CHECK(alone == 0);
    }
  }
}

TEST_CASE("more threads than processors, and workers that stop in the middle of a task") {
  const cpu_set_t allowed = Affinity(pthread_self());
  const ThreadPool pool(8);
  std::vector<pthread_t> threads(pool.threads(), pthread_self());
  std::atomic<size_t> begun = 0;
  ParallelFor(pool.workers(), pool.threads(), [&](size_t, size_t worker) {
    threads[worker] = pthread_self();
    ++begun;
    Soon([&] { return begun == pool.threads(); });
  });
  for (int loop = 0; loop < 2000; ++loop) REQUIRE(Faults(pool.workers(), 50) == 0);
  for (int loop = 0; loop < 20; ++loop) {
    ParallelFor(pool.workers(), 8, [&](size_t, size_t worker) {
      if (worker != 0) std::this_thread::sleep_for(milliseconds(2));
    });
  }
  // The threads have been moved about; where they may run is what it was.
  for (const pthread_t thread : threads) {
    CHECK(Soon([&] {
      const cpu_set_t now = Affinity(thread);
      return CPU_EQUAL(&now, &allowed);
    }));
  }
}

TEST_CASE("threads that share one processor with the caller") {
  const cpu_set_t allowed = Affinity(pthread_self());
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
  REQUIRE(pthread_setaffinity_np(pthread_self(), sizeof one, &one) == 0);
  {
    const ThreadPool pool(3);
    for (int loop = 0; loop < 500; ++loop) REQUIRE(Faults(pool.workers(), 50) == 0);
  }
  pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed);
}

TEST_CASE("pools come and go") {
  for (int round = 0; round < 50; ++round) {
    const ThreadPool unused(3);
    const ThreadPool pool(3);
    REQUIRE(Faults(pool.workers(), 10) == 0);
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
  for (const size_t threads : std::initializer_list<size_t>{1, 2, 8}) {
    CAPTURE(threads);
    const ThreadPool pool(threads);
    std::atomic<size_t> sum = 0;
    const Allocations before = CountAllocations();
    for (int round = 0; round < 200; ++round) {
      ParallelFor(pool.workers(), 64, [&](size_t index, size_t) { sum += index; });
      ParallelFor(pool.workers(2), 64, [&](size_t index, size_t) { sum += index; });
      if (round % 50 == 0) {  // long enough for the workers to sleep
        ParallelFor(pool.workers(), 2, [&](size_t, size_t) { std::this_thread::sleep_for(milliseconds(3)); });
      }
    }
    CHECK(CountAllocations() == before);
  }
}
#endif

}  // namespace
}  // namespace thimble
