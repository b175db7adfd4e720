#include "core/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "core/cpu.h"

namespace edgec {
namespace {

// A second thread must save more than waking it costs: about 2 us for one that still spins. At the
// 30 to 60 multiply-adds per nanosecond of a current core that is 1e5 of them.
constexpr double kMinimumCostPerThread = 1e5;
// Several chunks per thread even out a core that another process slows down.
constexpr int64_t kChunksPerThread = 4;
// Pauses before a waiting worker sleeps: 2,000 x about 40 ns = 80 us, longer than the serial gaps
// between the layers of a network, short enough that an idle process uses no CPU.
constexpr int kSpins = 2000;

inline void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  __asm__ volatile("yield");
#endif
}

}  // namespace

struct ThreadPool::Impl {
  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<uint32_t> generation{0};
  std::atomic<int> sleeping{0};
  std::atomic<bool> stop{false};

  // The current job; written by the caller before it bumps `generation`, read by workers after.
  RangeFunction function = nullptr;
  const void* context = nullptr;
  int64_t tasks = 0, chunk = 1;
  int job_threads = 1;
  alignas(64) std::atomic<int64_t> next{0};
  alignas(64) std::atomic<int> busy{0};

  void work(int thread) {
    for (;;) {
      const int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
      if (begin >= tasks) return;
      function(context, begin, std::min(begin + chunk, tasks), thread);
    }
  }

  void worker_loop(int thread) {
    uint32_t seen = 0;
    for (;;) {
      int spins = 0;
      while (generation.load(std::memory_order_acquire) == seen) {
        if (++spins < kSpins) {
          pause_cpu();
          continue;
        }
        std::unique_lock<std::mutex> lock(mutex);
        sleeping.fetch_add(1, std::memory_order_seq_cst);
        wake.wait(lock, [&] { return generation.load(std::memory_order_seq_cst) != seen; });
        sleeping.fetch_sub(1, std::memory_order_relaxed);
      }
      seen = generation.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_relaxed)) return;
      if (thread < job_threads) work(thread);
      busy.fetch_sub(1, std::memory_order_release);
    }
  }

  void bump_generation() {
    generation.fetch_add(1, std::memory_order_seq_cst);
    if (sleeping.load(std::memory_order_seq_cst) == 0) return;
    // Taking the mutex closes the gap between a worker's last look and its wait.
    { std::lock_guard<std::mutex> lock(mutex); }
    wake.notify_all();
  }
};

ThreadPool::ThreadPool(int threads) : threads_(threads > 0 ? std::min(threads, 256) : usable_cpus()) {
  if (threads_ == 1) return;
  impl_ = std::make_unique<Impl>();
  impl_->workers.reserve(static_cast<size_t>(threads_) - 1);
  for (int t = 1; t < threads_; ++t)
    impl_->workers.emplace_back([impl = impl_.get(), t] { impl->worker_loop(t); });
}

ThreadPool::~ThreadPool() {
  if (!impl_) return;
  impl_->stop.store(true, std::memory_order_relaxed);
  impl_->bump_generation();
  for (std::thread& worker : impl_->workers) worker.join();
}

void ThreadPool::run(int64_t tasks, double cost_per_task, RangeFunction function, const void* context) {
  if (tasks <= 0) return;
  const double paying = static_cast<double>(tasks) * cost_per_task / kMinimumCostPerThread;
  const int threads =
      static_cast<int>(std::min<double>({static_cast<double>(threads_), static_cast<double>(tasks), paying}));
  if (threads <= 1) {
    function(context, 0, tasks, 0);
    return;
  }
  Impl& impl = *impl_;
  impl.function = function;
  impl.context = context;
  impl.tasks = tasks;
  impl.chunk = std::max<int64_t>(1, tasks / (threads * kChunksPerThread));
  impl.job_threads = threads;
  impl.next.store(0, std::memory_order_relaxed);
  impl.busy.store(threads_ - 1, std::memory_order_relaxed);
  impl.bump_generation();
  impl.work(0);
  for (int spins = 0; impl.busy.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < kSpins)
      pause_cpu();
    else
      std::this_thread::yield();
  }
}

}  // namespace edgec
