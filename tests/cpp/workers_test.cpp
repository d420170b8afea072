// Tests which threads take part in a call, and which index each thread gets. After the call, no worker may still take
// part in it.
#include "threads/workers.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "threads/parallel.h"

namespace pointwise_tests {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

template <class TakePart>
bool with_workers(int team, const TakePart& take_part) {
  return pointwise::with_workers(
      team, [](const void* context, int thread) { (*static_cast<const TakePart*>(context))(thread); }, &take_part);
}

// Returns true if `count` reaches `wanted` within 20 seconds.
bool reaches(const std::atomic<int>& count, int wanted) {
  const auto end = steady_clock::now() + std::chrono::seconds(20);
  while (count < wanted && steady_clock::now() < end) std::this_thread::yield();
  return count >= wanted;
}

// Makes a call on `threads` threads, in which each thread waits until all of them take part. Returns how often each
// thread took part.
std::array<int, 8> gather(int threads) {
  std::array<std::atomic<int>, 8> parts{};
  std::atomic<int> inside{0};
  EXPECT_TRUE(with_workers(threads, [&](int thread) {
    ++parts[static_cast<size_t>(thread)];
    ++inside;
    EXPECT_TRUE(reaches(inside, threads)) << "thread " << thread;
  }));
  std::array<int, 8> found{};
  for (size_t i = 0; i < found.size(); ++i) found[i] = parts[i];
  return found;
}

TEST(Workers, EachOfATeamTakesPartOnce) {
  for (const int threads : {2, 4, 3, 8, 2})
    for (int i = 0; i < 20; ++i) {
      const std::array<int, 8> parts = gather(threads);
      for (int t = 0; t < 8; ++t)
        EXPECT_EQ(parts[static_cast<size_t>(t)], t < threads ? 1 : 0) << t << " of " << threads;
    }
}

TEST(Workers, AreWokenWhenTheySleep) {
  for (const int pause : {2, 4, 20}) {
    std::this_thread::sleep_for(milliseconds(pause));
    EXPECT_EQ(gather(3)[2], 1);
  }
}

// When no piece is left, the caller waits only for workers that still take part. After the call no worker may compute,
// because the caller's stack frame no longer exists.
TEST(Workers, ComeInTimeOrNotAtAll) {
  std::atomic<int> open{-1}, strangers{0}, parts{0};
  for (int call = 0; call < 20000; ++call) {
    open = call;
    EXPECT_TRUE(with_workers(3, [&, call](int) {
      ++parts;
      if (open != call) ++strangers;
    }));
    open = -1;
    if (call % 1000 == 0) std::this_thread::sleep_for(milliseconds(5));  // so that workers sleep, and must be woken
  }
  EXPECT_EQ(strangers, 0);
  EXPECT_GE(parts, 20000);
}

TEST(Workers, AreOfOneCallAtATime) {
  bool refused = false;
  std::atomic<int> others{0};
  EXPECT_TRUE(with_workers(2, [&](int thread) {
    if (thread == 0) refused = !with_workers(2, [&](int) { ++others; });
  }));
  EXPECT_TRUE(refused);
  EXPECT_EQ(others, 0);
  EXPECT_EQ(gather(2)[1], 1) << "the workers must be free again";
}

// If the workers are busy with another call, a call uses OpenMP. So during this test some calls use workers, and other
// calls use OpenMP at the same time.
TEST(Workers, ManyCallersDoTheirPiecesOnce) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&, c] {
      for (int call = 0; call < 3000; ++call) {
        const int64_t pieces = 1 + (call + c) % 50;
        std::array<std::atomic<int>, 50> done{};
        pointwise::parallel(2 + call % 3, pieces, pointwise::EvenRuns{pieces},
                            [&](int64_t piece, int) { ++done[static_cast<size_t>(piece)]; });
        for (int64_t i = 0; i < 50; ++i)
          if (done[static_cast<size_t>(i)] != (i < pieces ? 1 : 0)) ++wrong;
      }
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace pointwise_tests
