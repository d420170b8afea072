// A parallel loop over pieces, on the workers of pointwise or on the threads of an OpenMP region.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/clock.h"
#include "base/float_environment.h"
#include "threads/contention.h"
#include "threads/openmp_runtime.h"
#include "threads/team_size.h"
#include "threads/workers.h"

namespace pointwise {

// Calls take_part(context, thread) on threads 0 to `team` - 1 of an OpenMP region. If the system starts fewer threads,
// fewer threads call take_part(). `runtime` is null for the runtime that pointwise is linked with.
//
// A region of another library's runtime has at least as many threads as the regions of that library. Threads with
// number `team` or a higher number return at once. GNU's runtime ends and starts threads when the size of a team
// changes. (Emerald Rapids, 2 CPUs, libgomp 12: a region of 4 threads and a region of 2 threads take 900 us together.
// Two regions of 4 threads take 43 us.)
void with_openmp(const OpenMPRuntime* runtime, int team, void (*take_part)(const void* context, int thread),
                 const void* context);

// The threads that compute the pieces of a call.
enum class Threading { workers, openmp };

struct ThreadingChoice {
  Threading threading;
  bool forced;                   // true if POINTWISE_THREADING decided
  const OpenMPRuntime* runtime;  // the runtime that other libraries use, or null
};

// Chooses OpenMP if another library of the process uses it, and workers otherwise. POINTWISE_THREADING overrides the
// choice. Throws std::runtime_error if that variable has an unknown value. `now` is monotonic_nanoseconds().
ThreadingChoice threading(int64_t now);

// Measures the times of the two longest pieces of a thread. Reads the time stamp counter of the CPU after every piece.
class Longest {
 public:
  void end_of_one() {
    const int64_t now = clock(), took = now - last_;
    last_ = now;
    second_ = std::max(second_, std::min(longest_, took));
    longest_ = std::max(longest_, took);
    ++count_;
  }
  // Returns the time of the longest piece in nanoseconds. `all` is the time of all pieces together, in nanoseconds.
  // Computes in integers, because the floating-point state is the caller's here.
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

// The argument `first` of parallel() for pieces that all take the same time.
struct EvenRuns {
  int64_t pieces;
  int64_t operator()(int run, int runs) const { return pieces * run / runs; }
};

// Calls work(piece, thread) once for every piece from 0 to `pieces` - 1. `thread` is a number from 0 to `team` - 1.
// `work` must not throw. If there are `runs` runs, first(run, runs) must return the first piece of run number `run`,
// and first(runs, runs) must return `pieces`. Each thread computes in its own FloatEnvironment.
//
// Each thread begins with its own run of consecutive pieces. When that run is done, the thread takes pieces of other
// runs, so a slow core computes fewer pieces. A repeated call finds the same pixels and weights in the cache of the
// same core.
//
// How threads share the state of a call:
//
// - The caller writes the runs before it publishes the call (with_workers, or the start of a region). So all threads of
//   the team see them.
// - A thread takes a piece by fetch_add on `next` of a run. fetch_add returns each value once, so each piece has one
//   thread. Relaxed order suffices, because no other memory is published through `next`. A value of `end` or more means
//   that no piece is left in the run.
// - with_workers and OpenMP regions return after all threads of the team have left. So the caller sees all results.
// - `done` and `longest` belong to thread 0, which is the caller.
//
// A fork is safe: a forked child has a team of 1 (openmp_limit), so it uses neither workers nor OpenMP.
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
  Longest longest;
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
  // OpenMP runs the call if the workers are busy with another call, because OpenMP has a team for each calling thread.
  const ThreadingChoice choice = threading(start);
  if (choice.threading == Threading::openmp || !with_workers(team, call, &take_part))
    with_openmp(choice.runtime, team, call, &take_part);
  const int64_t now = monotonic_nanoseconds();
  neighbour.note(start, done, now, longest.second(done - start), longest.longest(done - start));
}

}  // namespace pointwise
