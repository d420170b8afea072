// A busy neighbour: when a call shares its work with other threads, and when it had better not.
//
// Where another process keeps a CPU of the team's, one of its threads waits for that CPU, 3 to 8 ms at a time, and
// OpenMP's barrier waits with it: two threads take two to three times as long as one on average (layers of 100 to 500
// us, one of two CPUs busy). So after a long wait at the end of a region calls run on their own thread for a while: 25
// times as long as was waited, and twice as long as the last time where it happens again soon, up to a second. That
// costs 4% at first and half a percent later (measured: 0 to 8% over one thread), and a team is back within a second of
// the neighbour's end.
//
// Why not a pool of our own, in which the caller waits only for pieces that were claimed: a thread that is put off the
// CPU in the middle of a piece holds the caller all the same.
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

  // A call waited at the end of its region; its own pieces took `piece` each. Another thread's last piece may begin
  // when the caller is done: that is no neighbour.
  void note(int64_t now, int64_t waited, int64_t piece) {
    if (ignored_.load(std::memory_order_relaxed) || waited < std::max(long_wait, 2 * piece)) return;
    const int64_t last = last_.load(std::memory_order_relaxed);
    const bool soon = now - until_.load(std::memory_order_relaxed) < last;
    const int64_t alone = std::min(std::max(alone_for_each * waited, soon ? 2 * last : 0), longest_alone);
    last_.store(alone, std::memory_order_relaxed);
    until_.store(now + alone, std::memory_order_relaxed);
  }

  // For tests that want their teams whatever the machine does, or more threads than it has CPUs. Forgets what was
  // noted.
  void ignore(bool ignored) {
    ignored_.store(ignored, std::memory_order_relaxed);
    until_.store(0, std::memory_order_relaxed);
    last_.store(0, std::memory_order_relaxed);
  }

 private:
  static constexpr int64_t millisecond = 1000000;
  static constexpr int64_t long_wait = millisecond / 2, alone_for_each = 25, longest_alone = 1000 * millisecond;
  std::atomic<int64_t> until_{0}, last_{0};
  std::atomic<bool> ignored_{false};
};

}  // namespace pointwise
