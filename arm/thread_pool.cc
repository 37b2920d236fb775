// SPDX-License-Identifier: Apache-2.0
//
// pthreadpool behind core's Workers. pthreadpool's own spinning of idle workers stays as it is: a decode step is
// hundreds of short parallel loops, and sleeping between two of them would cost more than the loops.
#include "arm/thread_pool.h"

#include <pthreadpool.h>

namespace thimble {
namespace {

struct Job {
  void (*task)(void* argument, size_t index, size_t worker);
  void* argument;
};

void RunTask(void* context, size_t worker, size_t index) {
  const Job& job = *static_cast<const Job*>(context);
  job.task(job.argument, index, worker);
}

void Run(void* context, size_t tasks, void (*task)(void* argument, size_t index, size_t worker), void* argument) {
  Job job = {task, argument};
  pthreadpool_parallelize_1d_with_thread(static_cast<pthreadpool_t>(context), RunTask, &job, tasks, /*flags=*/0);
}

}  // namespace

ThreadPool::ThreadPool(size_t threads) : pool_(threads == 1 ? nullptr : pthreadpool_create(threads)) {}

ThreadPool::~ThreadPool() {
  if (pool_ != nullptr) pthreadpool_destroy(pool_);
}

Workers ThreadPool::workers() const {
  if (pool_ == nullptr) return {};
  return {pthreadpool_get_threads_count(pool_), pool_, Run};
}

}  // namespace thimble
