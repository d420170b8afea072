// Decides when calls run on one thread because of contention: other processes keep CPUs of the team busy.
//
// When another process uses a CPU of the team, a thread of the team waits for this CPU for whole time slices. At the
// end of an OpenMP region, all threads wait for the late thread. (Zen 5, one of 2 CPUs busy, layers of 100 to 500 us:
// on average, two threads take two to three times as long as one thread.) A worker that comes late does not delay a
// call (workers.h). But a worker that loses its CPU during a piece delays the call.
//
// So calls run alone (on the calling thread) when long waits follow each other closely:
//
// - After a long wait, calls run alone for four times as long as the wait.
// - If another long wait follows, calls run alone for at least twice as long as the last time, up to one second.
// - A wait has no effect if teams have worked for at least four times its length since the last long wait. Running
//   alone would have cost more than this wait.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace pointwise {

// Records the waits of calls, and decides when calls run alone. Times are in nanoseconds of one monotonic clock.
//
// All fields are hints. No other memory is published through them, so relaxed order suffices. Two threads may call
// note() at the same time, and any mix of their values is acceptable.
class Neighbour {
 public:
  // Returns true if calls run alone at the time `now`.
  bool busy(int64_t now) const { return now < until_.load(std::memory_order_relaxed); }
  // Returns true if no call has run alone yet. Then callers need not read the clock for busy().
  bool quiet() const { return until_.load(std::memory_order_relaxed) == 0; }

  // Records a region that began at `start`. The caller finished its pieces at `done`, and the last thread finished at
  // `now`. `longest` and `piece` are the times of the longest and the second longest piece of the caller.
  //
  // The wait is the time from `done` to `now`. If `longest` exceeds three times `piece`, their difference is added to
  // the wait. In this case, the caller lost its CPU during its longest piece, to another process or to a worker.
  //
  // A wait is long if it takes at least 0.5 ms and at least as long as two pieces. A wait as long as one piece is
  // normal, because another thread may begin its last piece when the caller is done. After a pause of more than 5 ms,
  // long waits do not count for 10 ms. At such a time the system may wake several threads on one CPU, which they share
  // for some milliseconds.
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

  // Makes note() do nothing if `ignored` is true, and forgets earlier waits. Tests use this function to get the teams
  // that they request, even on a busy machine or with more threads than CPUs.
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
  std::atomic<int64_t> until_{0}, alone_{0};        // end and length of the last period in which calls run alone
  std::atomic<int64_t> last_region_{0}, awake_{0};  // end of the last region; time after which waits count
  std::atomic<int64_t> good_{0};                    // time that teams have worked since the last long wait
  std::atomic<bool> ignored_{false};
};

}  // namespace pointwise
