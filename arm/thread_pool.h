// SPDX-License-Identifier: Apache-2.0
//
// Threads for core's Workers. Everything is allocated when the pool is made; running tasks on it allocates nothing.
// What the tasks compute is not its business.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kernels.h"

namespace thimble {

class ThreadPool {
 public:
  /// `threads` workers, the calling thread being one of them: 1 makes no thread, 0 means one per processor that this
  /// process may use. When the system gives no memory for threads the pool has fewer.
  explicit ThreadPool(size_t threads);
  ~ThreadPool();  // joins the threads
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  size_t threads() const;

  /// The first `at_most` workers (at least one, at most all): the others do not wake for their loops. Valid as long as
  /// the pool. One loop at a time, whichever workers it is given to, and none from inside a task; a loop has fewer than
  /// 2^32 tasks. Tasks of 3 to 200 us are best: below, handing them out costs more than 5 %; above, the end of a loop
  /// waits for the last one.
  Workers workers(size_t at_most = SIZE_MAX) const;

 private:
  struct Pool;
  struct Worker;

  static void* Work(void* worker);
  static void Run(void* last_worker, size_t tasks, void (*task)(void* argument, size_t index, size_t worker),
                  void* argument);

  Pool* pool_ = nullptr;  // null: one worker, the caller
};

}  // namespace thimble
