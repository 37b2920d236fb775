// SPDX-License-Identifier: Apache-2.0
//
// A fork-join pool for hundreds of short loops per token. A loop ends when its tasks are done, not when every thread
// has been heard: the caller never waits for a worker that has not begun. The one thing it must wait for is a task that
// somebody has begun, and when that worker has lost its processor to another program, the caller gives it its own.
// Every worker begins with a share of its own, indices side by side, so that it reads memory as one long stream;
// whoever is done helps the others.
#include "arm/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <new>

#include "arm/cpu.h"

namespace thimble {
namespace {

constexpr int64_t kIdleSpin = 100'000;  // ns that a worker without work looks for the next loop before it sleeps
constexpr int64_t kLate = 20'000;       // ns that the caller waits for the last tasks before it asks who is missing
constexpr int kYields = 50;             // times that it asks before it sleeps in between
constexpr size_t kCacheLine = 64;       // what two processors must not both write to lies this many bytes apart

int64_t Nanoseconds(clockid_t clock) {
  timespec time = {};
  clock_gettime(clock, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

int64_t Now() { return Nanoseconds(CLOCK_MONOTONIC); }

cpu_set_t Only(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(processor), &set);
  return set;
}

// A share: number of the loop << 32 | tasks of it that nobody has taken.
constexpr uint64_t Loop(uint64_t share) { return share >> 32; }
constexpr uint32_t Left(uint64_t share) { return static_cast<uint32_t>(share); }

// The first index of worker w's share of `tasks`, and behind the last one of worker w - 1.
constexpr uint32_t ShareBegin(uint32_t tasks, size_t workers, size_t w) {
  return static_cast<uint32_t>(uint64_t{tasks} * w / workers);
}

}  // namespace

struct alignas(kCacheLine) ThreadPool::Worker {
  Pool* pool = nullptr;
  size_t index = 0;
  pthread_t thread = {};
  clockid_t cpu_clock = {};          // runs while the thread does
  int64_t cpu_time = -1;             // what cpu_clock showed when the caller last looked
  std::atomic<bool> taking = false;  // may be inside a task
  std::atomic<bool> moving = false;  // somebody is changing the thread's affinity
  std::atomic<uint32_t> asleep = 0;  // 1: until somebody stores 0 and notifies
  alignas(kCacheLine) std::atomic<uint64_t> share = 0;

  void Move(pthread_t self, const cpu_set_t& to);
  bool LeaveCaller();
  uint64_t NextLoop(uint64_t seen, int64_t deadline);
};

struct ThreadPool::Pool {
  size_t count = 1;
  Worker* workers = nullptr;  // [count]; the first one is the caller, and has no thread
  std::atomic<bool> stop = false;

  // The loop. Written by the caller while no task is left, so whoever takes a task with a compare-exchange of a share
  // has read the loop that the task belongs to.
  std::atomic<void (*)(void*, size_t, size_t)> task = nullptr;
  std::atomic<void*> argument = nullptr;
  std::atomic<uint32_t> tasks = 0;
  std::atomic<size_t> participants = 0;
  std::atomic<int> caller_processor = -1;
  uint32_t loop = 0;  // its number

  alignas(kCacheLine) std::atomic<uint32_t> done = 0;  // tasks of this loop

  void Publish();
  void TakeTasks(size_t worker);
  void AwaitTasks();
  void FetchWorkers();
};

/// Moves the worker's thread `self` to one of these processors at once. What it may use stays as it was.
void ThreadPool::Worker::Move(pthread_t self, const cpu_set_t& to) {
  if (moving.exchange(true, std::memory_order_acquire)) return;
  cpu_set_t allowed;
  if (pthread_getaffinity_np(self, sizeof allowed, &allowed) == 0 &&
      pthread_setaffinity_np(self, sizeof to, &to) == 0) {
    pthread_setaffinity_np(self, sizeof allowed, &allowed);
  }
  moving.store(false, std::memory_order_release);
}

/// A worker that shares a processor with the caller only takes time away from it. The scheduler leaves both there for
/// long, since the busy neighbour on the other processor counts as much as each of them. False if it must stay.
bool ThreadPool::Worker::LeaveCaller() {
  const int processor = pool->caller_processor.load(std::memory_order_relaxed);
  if (processor < 0 || sched_getcpu() != processor) return true;
  cpu_set_t others;
  if (pthread_getaffinity_np(pthread_self(), sizeof others, &others) != 0) return false;
  CPU_CLR(static_cast<size_t>(processor), &others);
  if (CPU_COUNT(&others) == 0) return false;
  Move(pthread_self(), others);
  return true;
}

/// Returns the number of the next loop behind `seen`; looks for it until `deadline`, then sleeps.
uint64_t ThreadPool::Worker::NextLoop(uint64_t seen, int64_t deadline) {
  if (!LeaveCaller()) deadline = 0;
  for (;;) {
    uint64_t now = Loop(share.load(std::memory_order_acquire));
    if (now != seen) return now;
    if (Now() < deadline) continue;
    asleep.store(1);
    now = Loop(share.load());
    if (now == seen) {
      asleep.wait(1);
      LeaveCaller();
      return Loop(share.load(std::memory_order_acquire));
    }
    asleep.store(0);
    return now;
  }
}

/// Begins a loop. A worker is either awake and sees its share, or has said that it is asleep before it looked at it for
/// the last time.
void ThreadPool::Pool::Publish() {
  ++loop;
  const uint32_t all = tasks.load(std::memory_order_relaxed);
  const size_t wanted = participants.load(std::memory_order_relaxed);
  for (size_t i = 0; i < wanted; ++i) {
    const uint32_t size = ShareBegin(all, wanted, i + 1) - ShareBegin(all, wanted, i);
    workers[i].share.store(uint64_t{loop} << 32 | size);
  }
  for (size_t i = 1; i < wanted; ++i) {
    if (workers[i].asleep.load() != 0) {
      workers[i].asleep.store(0);
      workers[i].asleep.notify_one();
    }
  }
}

/// First those of the worker's own share, then what the others have not begun.
void ThreadPool::Pool::TakeTasks(size_t worker) {
  const uint64_t now = Loop(workers[worker].share.load(std::memory_order_acquire));
  const auto function = task.load(std::memory_order_acquire);
  void* const context = argument.load(std::memory_order_acquire);
  const uint32_t all = tasks.load(std::memory_order_acquire);
  const size_t sharers = participants.load(std::memory_order_acquire);
  uint32_t taken = 0;
  for (size_t i = 0; i < sharers; ++i) {
    const size_t owner = (worker + i) % sharers;
    std::atomic<uint64_t>& share = workers[owner].share;
    const uint32_t end = ShareBegin(all, sharers, owner + 1);
    uint64_t left = share.load(std::memory_order_acquire);
    while (Left(left) != 0 && Loop(left) == now) {
      if (!share.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      function(context, end - Left(left), worker);
      ++taken;
      --left;
    }
  }
  if (taken != 0) done.fetch_add(taken, std::memory_order_acq_rel);
}

/// Waits for the tasks that others have begun.
void ThreadPool::Pool::AwaitTasks() {
  const uint32_t all = tasks.load(std::memory_order_relaxed);
  for (int asked = 0;; ++asked) {
    const int64_t deadline = Now() + kLate;
    do {
      if (done.load(std::memory_order_acquire) == all) return;
    } while (Now() < deadline);
    FetchWorkers();
    if (asked < kYields) {
      sched_yield();
    } else {  // a long task, or one that waits for a page of the file
      const timespec moment = {0, kLate};
      nanosleep(&moment, nullptr);
    }
  }
}

/// A worker whose CPU clock stands still inside a task has been put aside by the scheduler, for milliseconds. It gets
/// this thread's processor for as long as its task needs.
void ThreadPool::Pool::FetchWorkers() {
  const int processor = sched_getcpu();
  if (processor < 0) return;
  for (size_t i = 1; i < participants.load(std::memory_order_relaxed); ++i) {
    Worker& worker = workers[i];
    if (!worker.taking.load(std::memory_order_relaxed)) continue;
    const int64_t used = Nanoseconds(worker.cpu_clock);
    if (used == worker.cpu_time) worker.Move(worker.thread, Only(processor));
    worker.cpu_time = used;
  }
}

void* ThreadPool::Work(void* argument) {
  Worker& worker = *static_cast<Worker*>(argument);
  Pool& pool = *worker.pool;
  uint64_t loop = 0;
  int64_t deadline = Now() + kIdleSpin;
  for (;;) {
    loop = worker.NextLoop(loop, deadline);
    if (pool.stop) return nullptr;
    worker.taking.store(true, std::memory_order_relaxed);
    pool.TakeTasks(worker.index);
    worker.taking.store(false, std::memory_order_relaxed);
    deadline = Now() + kIdleSpin;
  }
}

void ThreadPool::Run(void* last_worker, size_t tasks, void (*task)(void*, size_t, size_t), void* argument) {
  const Worker& last = *static_cast<Worker*>(last_worker);
  Pool& pool = *last.pool;
  pool.task.store(task, std::memory_order_release);
  pool.argument.store(argument, std::memory_order_release);
  pool.tasks.store(static_cast<uint32_t>(tasks), std::memory_order_release);
  pool.participants.store(std::min(last.index + 1, tasks), std::memory_order_release);
  pool.caller_processor.store(sched_getcpu(), std::memory_order_relaxed);
  pool.done.store(0, std::memory_order_relaxed);
  pool.Publish();
  pool.TakeTasks(0);
  pool.AwaitTasks();
}

ThreadPool::ThreadPool(size_t threads) {
  if (threads == 0) threads = AllowedProcessors();
  if (threads < 2) return;
  Worker* const workers = new (std::nothrow) Worker[threads];
  Pool* const pool = new (std::nothrow) Pool;
  if (workers != nullptr && pool != nullptr) {
    pool->workers = workers;
    while (pool->count < threads) {
      Worker& worker = workers[pool->count];
      worker.pool = pool;
      worker.index = pool->count;
      if (pthread_create(&worker.thread, nullptr, Work, &worker) != 0) break;
      pthread_getcpuclockid(worker.thread, &worker.cpu_clock);
      ++pool->count;
    }
    if (pool->count > 1) {
      pool_ = pool;
      return;
    }
  }
  delete pool;
  delete[] workers;
}

ThreadPool::~ThreadPool() {
  if (pool_ == nullptr) return;
  pool_->stop = true;
  pool_->tasks = 0;
  pool_->participants = pool_->count;
  pool_->Publish();
  for (size_t i = 1; i < pool_->count; ++i) pthread_join(pool_->workers[i].thread, nullptr);
  delete[] pool_->workers;
  delete pool_;
}

size_t ThreadPool::threads() const { return pool_ == nullptr ? 1 : pool_->count; }

Workers ThreadPool::workers(size_t at_most) const {
  const size_t count = std::min(at_most, threads());
  if (count < 2) return {};
  return {count, &pool_->workers[count - 1], Run};
}

}  // namespace thimble
