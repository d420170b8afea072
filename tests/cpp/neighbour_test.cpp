// Tests when calls run alone because of contention. A call that runs alone uses one thread. The tests simulate the
// waits and the clock.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>

#include "threads/contention.h"
#include "threads/parallel.h"

namespace pointwise_tests {
namespace {

using pointwise::Neighbour;

constexpr int64_t us = 1000, ms = 1000 * us, s = 1000 * ms;

// Calls note() for consecutive regions of one millisecond without a wait, for a time of `good`. Then calls note() for a
// region at whose end the caller waits for a time of `waited`. Begins at the time `*now`, and advances it.
void wait(Neighbour* neighbour, int64_t* now, int64_t good, int64_t waited, int64_t piece = 10 * us) {
  for (const int64_t end = *now + good; *now < end; *now += ms) neighbour->note(*now, *now + ms, *now + ms, us, us);
  neighbour->note(*now, *now, *now + waited, piece, piece);
  *now += waited;
}

// Calls wait() after a pause. The first 10 ms after a pause do not count.
void wait_after_pause(Neighbour* neighbour, int64_t* now, int64_t good, int64_t waited, int64_t piece = 10 * us) {
  *now += s;
  wait(neighbour, now, 10 * ms + good, waited, piece);
}

TEST(Neighbour, ShortWaitsAreNone) {
  Neighbour neighbour;
  int64_t now = 5 * s;
  EXPECT_TRUE(neighbour.quiet());
  EXPECT_FALSE(neighbour.busy(now));
  wait_after_pause(&neighbour, &now, 0, 499 * us);
  wait_after_pause(&neighbour, &now, 0, 9 * ms, 5 * ms);  // shorter than two pieces, so not a long wait
  EXPECT_TRUE(neighbour.quiet());
  EXPECT_FALSE(neighbour.busy(now));
}

TEST(Neighbour, AWaitAfterAGoodStretchIsForgotten) {
  Neighbour neighbour;
  int64_t now = 5 * s;
  wait_after_pause(&neighbour, &now, 16 * ms, 4 * ms);
  EXPECT_TRUE(neighbour.quiet());
  wait(&neighbour, &now, 16 * ms, 4 * ms);
  EXPECT_TRUE(neighbour.quiet());
  wait(&neighbour, &now, 15 * ms, 4 * ms);
  EXPECT_TRUE(neighbour.busy(now));
}

TEST(Neighbour, WaitsOneAfterTheOtherAreTwiceAsLongUpToASecond) {
  Neighbour neighbour;
  int64_t now = 5 * s;
  wait_after_pause(&neighbour, &now, 40 * ms, 4 * ms);
  for (const int64_t alone : {16 * ms, 32 * ms, 64 * ms, 128 * ms, 256 * ms, 512 * ms, s, s}) {
    wait(&neighbour, &now, 3 * ms, 4 * ms);
    EXPECT_TRUE(neighbour.busy(now));
    EXPECT_TRUE(neighbour.busy(now + alone - 1));
    EXPECT_FALSE(neighbour.busy(now + alone));
    now += alone;
  }
  wait(&neighbour, &now, 100 * ms, 4 * ms);  // a wait after 100 ms without waits is forgotten
  EXPECT_FALSE(neighbour.busy(now));
  wait(&neighbour, &now, 3 * ms, 4 * ms);
  EXPECT_FALSE(neighbour.busy(now + 16 * ms));
}

// The caller loses its CPU in the middle of a piece. So its longest piece takes much longer than its second longest
// piece.
TEST(Neighbour, HoldsTheCaller) {
  Neighbour neighbour;
  int64_t now = 5 * s;
  wait_after_pause(&neighbour, &now, 0, 0);
  for (int i = 0; i < 5; ++i, now += 5 * ms) neighbour.note(now, now + 5 * ms, now + 5 * ms, 2 * ms, 3 * ms);
  EXPECT_TRUE(neighbour.quiet()) << "pieces may differ by a factor of 1.5";
  wait(&neighbour, &now, 0, 4 * ms);  // sets the time without long waits back to 0
  neighbour.note(now, now + 5 * ms, now + 5 * ms, 10 * us, 4 * ms);
  EXPECT_TRUE(neighbour.busy(now + 5 * ms));
}

// Time without long waits before a pause counts, too. Otherwise, calls with pauses between them would run alone
// forever.
TEST(Neighbour, GoodStretchesAddUp) {
  Neighbour neighbour;
  int64_t now = 5 * s;
  now += s;
  for (int i = 0; i < 3; ++i) wait(&neighbour, &now, 5 * ms, 4 * ms);
  EXPECT_TRUE(neighbour.busy(now));
  for (int i = 0; i < 5; ++i) {
    now += s;
    for (int k = 0; k < 14; ++k, now += ms) neighbour.note(now, now + ms, now + ms, us, us);
  }
  wait(&neighbour, &now, 0, 4 * ms);
  EXPECT_FALSE(neighbour.busy(now));
}

TEST(Neighbour, ThreadsThatWakeUpAreNone) {
  Neighbour neighbour;
  int64_t now = 5 * s;
  wait(&neighbour, &now, 0, 4 * ms);  // the first wait after a pause
  wait(&neighbour, &now, 0, 4 * ms);
  EXPECT_TRUE(neighbour.quiet());
  wait(&neighbour, &now, 3 * ms, 4 * ms);
  EXPECT_FALSE(neighbour.quiet());
}

TEST(Neighbour, Ignored) {
  Neighbour neighbour;
  int64_t now = 5 * s;
  wait_after_pause(&neighbour, &now, 0, 4 * ms);
  EXPECT_TRUE(neighbour.busy(now));
  neighbour.ignore(true);
  EXPECT_TRUE(neighbour.quiet());
  wait_after_pause(&neighbour, &now, 0, 4 * ms);
  EXPECT_FALSE(neighbour.busy(now));
  neighbour.ignore(false);
  wait_after_pause(&neighbour, &now, 0, 4 * ms);
  EXPECT_TRUE(neighbour.busy(now));
}

// If `neighbour` is busy, a loop over pieces runs on one thread. Busy or not, the loop computes every piece once.
TEST(Neighbour, MakesTheLoopRunAlone) {
  const auto threads_of_loop = [] {
    std::array<std::atomic<int>, 64> done{};
    std::set<int> threads;
    std::mutex mutex;
    pointwise::parallel(4, 64, pointwise::EvenRuns{64}, [&](int64_t piece, int thread) {
      ++done[static_cast<size_t>(piece)];
      std::this_thread::sleep_for(std::chrono::microseconds(200));  // leaves pieces for late threads
      const std::lock_guard<std::mutex> lock(mutex);
      threads.insert(thread);
    });
    for (const auto& count : done) EXPECT_EQ(count, 1);
    return threads.size();
  };
  pointwise::neighbour.ignore(true);
  size_t threads = 1;  // on a busy machine, workers may come too late for one loop, but not for a thousand
  for (int i = 0; threads == 1 && i < 1000; ++i) threads = threads_of_loop();
  EXPECT_GT(threads, 1u);
  pointwise::neighbour.ignore(false);
  const int64_t now = pointwise::monotonic_nanoseconds();
  for (int64_t at = now - 12 * ms; at < now; at += ms) pointwise::neighbour.note(at, at, at, us, us);
  pointwise::neighbour.note(now, now, now + 3600 * s, us, us);  // busy until long after this test
  EXPECT_EQ(threads_of_loop(), 1u);
  pointwise::neighbour.ignore(true);
}

}  // namespace
}  // namespace pointwise_tests
