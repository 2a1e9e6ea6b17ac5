#include "thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>

namespace lockstep {
namespace {

/** Helpers that sleep until there are tasks; the caller works too. One caller at a time has them, others work alone. */
class Pool {
 public:
  explicit Pool(int wanted) {
    try {
      for (; helpers_ < wanted; helpers_++) std::thread([this] { help(); }).detach();
    } catch (const std::system_error&) {
      // The system gives no more threads: those that there are do, and the bits are the same.
    }
  }

  void run(int64_t tasks, void (*work)(void*, int64_t), void* context) {
    std::unique_lock<std::mutex> mine(callers_, std::try_to_lock);
    if (helpers_ == 0 || tasks < 2 || !mine.owns_lock()) {
      for (int64_t task = 0; task < tasks; task++) work(context, task);
      return;
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      work_ = work;
      context_ = context;
      tasks_ = tasks;
      next_ = 0;
      busy_ = helpers_;
      round_++;
    }
    wake_.notify_all();
    take();
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void take() {
    for (int64_t task = next_++; task < tasks_; task = next_++) work_(context_, task);
  }

  void help() {
    uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return round_ != seen; });
        seen = round_;
      }
      take();
      std::lock_guard<std::mutex> lock(mutex_);
      if (--busy_ == 0) done_.notify_one();
    }
  }

  int helpers_ = 0;
  std::mutex callers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  uint64_t round_ = 0;
  int busy_ = 0;
  std::atomic<int64_t> next_{0};
  int64_t tasks_ = 0;
  void (*work_)(void*, int64_t) = nullptr;
  void* context_ = nullptr;
};

/** As many as TensorFlow's kernels use: what the environment says, else one per processor. */
int threadCount() {
  const char* text = std::getenv("TF_NUM_INTRAOP_THREADS");
  const int wanted = text == nullptr ? 0 : std::atoi(text);
  return wanted > 0 ? wanted : static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

void runTasks(int64_t tasks, void (*work)(void* context, int64_t task), void* context) {
  // Never taken down: helpers may sleep in it while the process ends.
  static Pool* const pool = new Pool(threadCount() > 1 ? threadCount() - 1 : 0);
  pool->run(tasks, work, context);
}

}  // namespace lockstep
