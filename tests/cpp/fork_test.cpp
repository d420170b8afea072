// Tests children that are forked while another thread holds a lock of pointwise. The lock stays held in the child, but
// the child must work. In Python a fork rarely happens at such a moment, because of the GIL.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "memory/result_pool.h"
#include "product/plan_cache.h"

namespace pointwise_tests {
namespace {

// Forks children while two threads call `work`. A child succeeds if `right` returns true in the child. Stops after
// `forks` children, or after the first child that fails. Returns the number of children that succeeded.
int good_children(int forks, const std::function<void()>& work, const std::function<bool()>& right) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      while (!stop) work();
    });
  int good = 0;
  while (good < forks) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(10);  // turns a hang into a failure
      _exit(right() ? 0 : 1);
    }
    int status = 1;
    if (child > 0) waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) break;
    ++good;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  return good;
}

// If another thread allocates during the fork, the child would wait forever for the allocator of the sanitizer.
#if defined(__SANITIZE_ADDRESS__)
#define POINTWISE_SKIP_UNDER_SANITIZER() GTEST_SKIP() << "the address sanitizer's allocator has locks of its own"
#else
#define POINTWISE_SKIP_UNDER_SANITIZER() static_cast<void>(0)
#endif

TEST(Fork, WhileTheLockOfThePoolIsHeld) {
  POINTWISE_SKIP_UNDER_SANITIZER();
  const auto use = [] { pointwise::give_buffer(pointwise::take_buffer(1 << 16)); };
  EXPECT_EQ(good_children(30, use,
                          [&] {
                            for (int i = 0; i < 10; ++i) use();
                            pointwise::release_idle_buffers();
                            pointwise::set_idle_limit(0);
                            return true;
                          }),
            30);
}

TEST(Fork, WhileTheLockOfAPlanCacheIsHeld) {
  POINTWISE_SKIP_UNDER_SANITIZER();
  pointwise::PlanCache<int> cache;
  const auto key = [](int threads) {
    pointwise::PlanKey key;
    key.threads = threads;
    return key;
  };
  const auto use = [&] {
    for (int i = 0; i < 20; ++i) {
      if (cache.find(key(i)) == nullptr) cache.insert(key(i), std::make_shared<const int>(i));
    }
    return true;
  };
  EXPECT_EQ(good_children(30, use, use), 30);
}

}  // namespace
}  // namespace pointwise_tests
