// A parallel loop over pieces, on pointwise's own worker threads or on OpenMP's.
#pragma once

#include <omp.h>

#include <atomic>
#include <cstdint>

#include "base/clock.h"
#include "base/float_environment.h"
#include "threads/contention.h"
#include "threads/openmp_runtime.h"
#include "threads/team_size.h"
#include "threads/workers.h"

namespace pointwise {

// Runs take_part(context, thread) on all threads of an OpenMP region of at least `team` threads, of the runtime given.
// A runtime that others use gets the team size that they use, as GNU's runtime ends and starts threads where the size
// changes (teams of 4 and 2 in turn take 900 us a pair, teams of 4 and 4 43; 2 CPUs, Emerald Rapids, libgomp 12).
// Threads from `team` on return at once.
void with_openmp(const OpenMPRuntime* runtime, int team, void (*take_part)(const void* context, int thread),
                 const void* context);

// Who computes the pieces of a call.
enum class Threading { workers, openmp };

struct ThreadingChoice {
  Threading threading;
  bool forced;                   // by POINTWISE_THREADING
  const OpenMPRuntime* runtime;  // that other libraries use; null where there is none
};

// Workers, or OpenMP where another library of the process uses a runtime of it, unless POINTWISE_THREADING says which.
// Throws std::runtime_error where it says something else. `now` is monotonic_nanoseconds().
ThreadingChoice threading(int64_t now);

// The two longest pieces of a thread, in ticks of the CPU's clock: it is asked after every piece.
class Longest {
 public:
  void end_of_one() {
    const int64_t now = clock(), took = now - last_;
    last_ = now;
    second_ = std::max(second_, std::min(longest_, took));
    longest_ = std::max(longest_, took);
    ++count_;
  }
  // In nanoseconds, of which all pieces took so many; in integers, as the caller's floating-point state is not ours
  // here.
  int64_t longest(int64_t all) const { return nanoseconds(longest_, all); }
  int64_t second(int64_t all) const { return nanoseconds(count_ < 2 ? longest_ : second_, all); }

 private:
#if defined(__x86_64__)
  static int64_t clock() { return static_cast<int64_t>(__builtin_ia32_rdtsc()); }
#else
  static int64_t clock() { return monotonic_nanoseconds(); }
#endif
  int64_t nanoseconds(int64_t ticks, int64_t all) const {
    return static_cast<int64_t>(static_cast<__int128>(ticks) * all / std::max<int64_t>(last_ - start_, 1));
  }

  const int64_t start_ = clock();
  int64_t last_ = start_, longest_ = 0, second_ = 0, count_ = 0;
};

extern Neighbour neighbour;

// Where the pieces of a thread begin, if all take as long as each other.
struct EvenRuns {
  int64_t pieces;
  int64_t operator()(int run, int runs) const { return pieces * run / runs; }
};

// Calls work(piece, thread) for every piece below `pieces`, on at most `team` threads, thread < team. `work` does not
// throw. first(run, runs) is the first piece of one of so many runs, first(runs, runs) is `pieces`. Every thread
// computes in a FloatEnvironment of its own, whatever state it was started with.
//
// Each thread has a run of pieces side by side, and takes pieces of the others' runs when its own is done: a slow core
// does fewer, and a call that is made again finds the same pixels and weights in the cache of the same core (24 -> 144
// channels at 56x56: 53 us, against 53 or 76 us from one common queue, as chance would have it).
template <class First, class Work>
void parallel(int team, int64_t pieces, const First& first, const Work& work, bool flush_subnormals = false) {
  if (team <= 1 || pieces <= 1 || (!neighbour.quiet() && neighbour.busy(monotonic_nanoseconds()))) {
    const FloatEnvironment environment(flush_subnormals);
    for (int64_t piece = 0; piece < pieces; ++piece) work(piece, 0);
    return;
  }
  struct alignas(64) Run {
    std::atomic<int64_t> next;
    int64_t end;
  };
  constexpr int most_runs = 64;
  Run run[most_runs];
  const int runs = team < most_runs ? team : most_runs;
  for (int i = 0; i < runs; ++i) {
    run[i].next.store(first(i, runs), std::memory_order_relaxed);
    run[i].end = first(i + 1, runs);
  }
  const int64_t start = monotonic_nanoseconds();
  int64_t done = start;
  Longest longest;  // of this thread
  const auto take_part = [&](int thread) {
    const FloatEnvironment environment(flush_subnormals);
    for (int i = 0; i < runs; ++i) {
      Run& taken = run[(thread + i) % runs];
      int64_t piece;
      while ((piece = taken.next.fetch_add(1, std::memory_order_relaxed)) < taken.end) {
        work(piece, thread);
        if (thread == 0) longest.end_of_one();
      }
    }
    if (thread == 0) done = monotonic_nanoseconds();
  };
  const auto call = [](const void* context, int thread) { (*static_cast<decltype(&take_part)>(context))(thread); };
  // Workers that are busy with another call leave this one to OpenMP, which has a team for each calling thread.
  const ThreadingChoice choice = threading(start);
  if (choice.threading == Threading::openmp || !with_workers(team, call, &take_part))
    with_openmp(choice.runtime, team, call, &take_part);
  const int64_t now = monotonic_nanoseconds();
  neighbour.note(start, done, now, longest.second(done - start), longest.longest(done - start));
}

}  // namespace pointwise
