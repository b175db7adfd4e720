// A pool that spins for microseconds, then sleeps, and never outnumbers the CPUs it is allowed to use.
#pragma once
#include <cstdint>
#include <memory>

#include "core/status.h"

namespace edgec {

class ThreadPool {
 public:
  // threads counts the caller; 1 starts none, 0 means the number of usable CPUs (cpu.h).
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls body(begin, end, thread) on disjoint ranges that cover [0, tasks), thread in [0, threads()).
  // cost_per_task is in multiply-adds or bytes moved, whichever is larger; work that a second thread
  // would not pay for stays on the caller. The result must not depend on how tasks are split.
  // body must not throw and must not call parallel_for.
  template <class Body>
  void parallel_for(int64_t tasks, double cost_per_task, const Body& body) {
    run(
        tasks, cost_per_task,
        [](const void* context, int64_t begin, int64_t end, int thread) {
          (*static_cast<const Body*>(context))(begin, end, thread);
        },
        &body);
  }

 private:
  using RangeFunction = void (*)(const void* context, int64_t begin, int64_t end, int thread);
  void run(int64_t tasks, double cost_per_task, RangeFunction function, const void* context);
  struct Impl;
  int threads_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace edgec
