// SPDX-License-Identifier: Apache-2.0
//
// Threads for core's Workers, from pthreadpool. Everything is allocated when the pool is made; running tasks on it
// allocates nothing. What the tasks compute is not its business.
#pragma once

#include <cstddef>

#include "core/kernels.h"

struct pthreadpool;

namespace thimble {

class ThreadPool {
 public:
  /// `threads` workers, the calling thread being one of them: 1 makes no thread, 0 means one per processor. When the
  /// system gives no memory for threads it is a pool of one.
  explicit ThreadPool(size_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// Valid as long as the pool; for one caller at a time, and not from inside a task.
  Workers workers() const;

 private:
  pthreadpool* pool_;  // null: one worker, the caller
};

}  // namespace thimble
