// When calls run alone: a function of waits and a clock that stands on this page.
#include "neighbour.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>

#include "parallel.h"

namespace pointwise_tests {
namespace {

using pointwise::Neighbour;

constexpr int64_t us = 1000, ms = 1000 * us, s = 1000 * ms;

TEST(Neighbour, ShortWaitsAreNone) {
  Neighbour neighbour;
  EXPECT_TRUE(neighbour.quiet());
  EXPECT_FALSE(neighbour.busy(5 * s));
  neighbour.note(5 * s, 499 * us, 0);
  neighbour.note(5 * s, 9 * ms, 5 * ms);  // less than two pieces: somebody's last one
  EXPECT_TRUE(neighbour.quiet());
  EXPECT_FALSE(neighbour.busy(5 * s));
}

TEST(Neighbour, ALongWaitIsPaidOff) {
  Neighbour neighbour;
  neighbour.note(5 * s, 4 * ms, 10 * us);
  EXPECT_FALSE(neighbour.quiet());
  EXPECT_TRUE(neighbour.busy(5 * s));
  EXPECT_TRUE(neighbour.busy(5 * s + 100 * ms - 1));
  EXPECT_FALSE(neighbour.busy(5 * s + 100 * ms));
}

TEST(Neighbour, AgainSoonIsTwiceAsLongUpToASecond) {
  Neighbour neighbour;
  int64_t now = 5 * s;
  for (const int64_t alone : {100 * ms, 200 * ms, 400 * ms, 800 * ms, s, s}) {
    neighbour.note(now, 4 * ms, 10 * us);
    EXPECT_TRUE(neighbour.busy(now + alone - 1));
    EXPECT_FALSE(neighbour.busy(now + alone));
    now += alone + alone / 4;
  }
  now += 2 * s;  // much later it starts from the beginning
  neighbour.note(now, ms, 10 * us);
  EXPECT_FALSE(neighbour.busy(now + 25 * ms));
}

TEST(Neighbour, AWaitOfAnyLengthIsBounded) {
  Neighbour neighbour;
  neighbour.note(5 * s, 3600 * s, 0);
  EXPECT_TRUE(neighbour.busy(5 * s));
  EXPECT_FALSE(neighbour.busy(6 * s));
}

TEST(Neighbour, Ignored) {
  Neighbour neighbour;
  neighbour.note(5 * s, 4 * ms, 10 * us);
  neighbour.ignore(true);
  EXPECT_TRUE(neighbour.quiet());
  neighbour.note(5 * s, 4 * ms, 10 * us);
  EXPECT_FALSE(neighbour.busy(5 * s));
  neighbour.ignore(false);
  neighbour.note(5 * s, 4 * ms, 10 * us);
  EXPECT_TRUE(neighbour.busy(5 * s));
}

// The loop over pieces asks it, and every piece is done once.
TEST(Neighbour, MakesTheLoopRunAlone) {
  const auto threads_of_loop = [] {
    std::array<std::atomic<int>, 64> done{};
    std::set<int> threads;
    std::mutex mutex;
    pointwise::parallel(4, 64, [&](int64_t piece, int thread) {
      ++done[static_cast<size_t>(piece)];
      std::this_thread::sleep_for(std::chrono::microseconds(200));  // the others are there before all is done
      const std::lock_guard<std::mutex> lock(mutex);
      threads.insert(thread);
    });
    for (const auto& count : done) EXPECT_EQ(count, 1);
    return threads.size();
  };
  pointwise::neighbour.ignore(true);
  EXPECT_GT(threads_of_loop(), 1u);
  pointwise::neighbour.ignore(false);
  pointwise::neighbour.note(pointwise::monotonic_nanoseconds(), 3600 * s, 0);
  EXPECT_EQ(threads_of_loop(), 1u);
  pointwise::neighbour.ignore(true);
}

}  // namespace
}  // namespace pointwise_tests
