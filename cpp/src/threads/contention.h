// A busy neighbour: when a call shares its work with other threads, and when it had better not.
//
// Where another process keeps a CPU of the team's, one of its threads waits for that CPU, 3 to 8 ms at a time, and
// OpenMP's barrier waits with it: two threads take two to three times as long as one on average (layers of 100 to 500
// us, one of two CPUs busy). So where long waits at the end of regions follow each other closely, calls run on their
// own thread for a while, for four times as long as was waited, and twice as long each time it happens again, up to a
// second: then half a percent is lost to trying. A wait after a good stretch costs less than working alone would: it is
// forgotten.
//
// This was found with OpenMP's regions. Our helpers (helpers.h) do not hold a call that they come late for, but one
// that is put off its CPU in the middle of a piece holds it all the same.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace pointwise {

// Times in nanoseconds on one clock. Two threads may note a wait at once: either's will do.
class Neighbour {
 public:
  // Whether calls run alone now.
  bool busy(int64_t now) const { return now < until_.load(std::memory_order_relaxed); }
  // Whether the clock need be asked.
  bool quiet() const { return until_.load(std::memory_order_relaxed) == 0; }

  // A region began at `start`; the caller was done at `done`, and all were at `now`. Its longest piece took `longest`,
  // the next one `piece`: where the first is much longer the caller was put off its CPU in the middle of it, maybe by
  // its own helpers, for whom the neighbour left no other. Another thread's last piece may begin when the caller is
  // done, and is no neighbour. Nor is it one where threads that slept are woken on the same CPU, and stay there for
  // some milliseconds: what follows a pause is not counted.
  void note(int64_t start, int64_t done, int64_t now, int64_t piece, int64_t longest) {
    if (ignored_.load(std::memory_order_relaxed)) return;
    const int64_t before =
        std::max(last_region_.load(std::memory_order_relaxed), until_.load(std::memory_order_relaxed));
    last_region_.store(now, std::memory_order_relaxed);
    if (start - before > pause) awake_.store(start + waking, std::memory_order_relaxed);
    const int64_t waited = now - done + (longest > 3 * piece ? longest - piece : 0),
                  good = good_.load(std::memory_order_relaxed);
    if (waited < std::max(long_wait, 2 * piece)) {
      good_.store(good + now - start, std::memory_order_relaxed);
      return;
    }
    if (start < awake_.load(std::memory_order_relaxed)) return;
    int64_t alone = 0;
    if (good < 4 * waited)
      alone = std::min(std::max(4 * waited, 2 * alone_.load(std::memory_order_relaxed)), longest_alone);
    alone_.store(alone, std::memory_order_relaxed);
    good_.store(0, std::memory_order_relaxed);
    if (alone > 0) until_.store(now + alone, std::memory_order_relaxed);
  }

  // For tests that want their teams whatever the machine does, or more threads than it has CPUs. Forgets what was
  // noted.
  void ignore(bool ignored) {
    ignored_.store(ignored, std::memory_order_relaxed);
    until_.store(0, std::memory_order_relaxed);
    alone_.store(0, std::memory_order_relaxed);
    good_.store(0, std::memory_order_relaxed);
  }

 private:
  static constexpr int64_t millisecond = 1000000;
  static constexpr int64_t long_wait = millisecond / 2, longest_alone = 1000 * millisecond;
  static constexpr int64_t pause = 5 * millisecond, waking = 10 * millisecond;
  std::atomic<int64_t> until_{0}, alone_{0};        // calls run alone until then; for how long
  std::atomic<int64_t> last_region_{0}, awake_{0};  // when the last region ended; its threads are awake from then on
  std::atomic<int64_t> good_{0};                    // how long teams have worked since the last long wait
  std::atomic<bool> ignored_{false};
};

}  // namespace pointwise
