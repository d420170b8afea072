#include "threads/workers.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>

#include "base/clock.h"
#include "threads/system_threads.h"

// The protocol. Callers and workers agree on a call by one atomic word, `state_`:
//
// clang-format off
//     bits 63..32   bits 31..17   bit 16    bits 15..0
//     call number   team          closed    workers inside
//
//     caller                                       worker
//     1 take `taken_`, or return false
//     2 write take_part_ and context_
//     3 open: next call number, team, not closed   a load `state_`: is there an open call for this worker?
//     4 wake the workers that sleep                b enter: add 1 to the workers inside
//     5 take_part(context, 0)                      c take_part(context, thread), if the state at b is an open call, too
//     6 close                                      d leave: subtract 1
//     7 wait until no worker is inside
//     8 release `taken_`
// clang-format on
//
// Callers: a caller tries to take the lock `taken_`, but never waits for it. So there is one caller at a time. The lock
// guards take_part_, context_, workers_ and refused_at_.
//
// End of a call: no worker uses a call that has ended. Entering is one fetch_add, which returns the state. If this
// state is open, then the close comes later in the order of all changes of `state_`. So the caller counts the worker at
// 7, and waits for the worker. If the state is not an open call for this worker, the worker skips c and does not read
// take_part_ or context_. Such a late worker may still be inside when the next call opens. So open keeps the number of
// workers inside.
//
// Visibility: open has release order and entering has acquire order. So a worker sees take_part_, context_ and all that
// the caller wrote. Leaving has release order and 7 has acquire order, so the caller sees the results. Every change of
// `state_` is a read-modify-write operation, which continues the release sequences of earlier changes. So the load that
// ends 7 synchronizes with all workers that have left, not only with the last worker.
//
// Wake-ups: no wake-up is lost. A worker stores `asleep` in Worker::sleep, then loads `state_`. A caller opens a call
// in `state_`, then loads Worker::sleep. These four operations are seq_cst, so they have a single total order. If the
// open precedes the worker's load, the worker sees the call and does not sleep. Otherwise the worker's store precedes
// the caller's load, so the caller sees `asleep` and wakes the worker. The caller may wake the worker before the worker
// has blocked. Then sleep_while() returns at once, because the operating system first compares Worker::sleep with
// `asleep`.
//
// Affinity: a sleep ends in one of two ways. The worker changes `asleep` to `awake`, or a caller changes it to
// `being_woken`. Both use compare-exchange, so only one of these changes succeeds. After a change to `being_woken`, the
// caller writes `kept_off` and `allowed`, and stores `awake` with release order. The worker reads both members after it
// has loaded `awake` with acquire order.
//
// Fork: a child has no workers, and `taken_` stays held in the child if a thread of the parent held it at the fork. But
// calls in a child have a team of 1 (openmp_limit), so parallel() never calls with_workers there.
//
// If a worker misses a call, the call takes longer, but the result is right. The caller computes all pieces that are
// left.
namespace pointwise {
namespace {

// The word `state_` of the protocol.
using State = uint64_t;
constexpr State inside_one = 1, inside_mask = 0xffff, closed = 1 << 16;
constexpr int team_shift = 17, call_shift = 32, most_team = (1 << (call_shift - team_shift)) - 1;

uint32_t call_of(State state) { return static_cast<uint32_t>(state >> call_shift); }
int team_of(State state) { return static_cast<int>(state >> team_shift & most_team); }

constexpr int most_workers = 1023;
// Times in nanoseconds:
// - worker_patience: how long a worker watches for the next call before it sleeps.
// - check_every: how often a worker yields its CPU while it watches.
// - caller_patience: how long a caller spins for its workers. Then the caller yields, because workers may wait for its
//   CPU.
// - retry_after: how long the caller requests no thread after the system has refused one.
constexpr int64_t worker_patience = 3000000, check_every = 2000, caller_patience = 50000, retry_after = 1000000000;
// If a yield takes `long_yield` or longer, another thread used the CPU for a whole time slice. If that thread belongs
// to another process, further yields gain nothing. Then the worker does not yield for `without_yields` times as long as
// the long yield took. docs/design/threads.md has measurements.
constexpr int64_t long_yield = 2000000, without_yields = 10;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

class Crew {
 public:
  bool run(int team, void (*take_part)(const void*, int), const void* context) {
    if (taken_.load(std::memory_order_relaxed) || taken_.exchange(true, std::memory_order_acquire)) return false;
    const int workers = grow(std::min(team, most_workers + 1) - 1);
    if (workers == 0) {
      taken_.store(false, std::memory_order_release);
      take_part(context, 0);
      return true;
    }
    take_part_ = take_part;
    context_ = context;
    caller_cpu_.store(current_cpu(), std::memory_order_relaxed);
    caller_clock_.store(this_thread_clock(), std::memory_order_relaxed);
    open(workers + 1);
    for (int i = 0; i < workers; ++i) wake(&worker_[i]);
    take_part(context, 0);
    state_.fetch_or(closed, std::memory_order_acq_rel);
    wait_for_workers();
    taken_.store(false, std::memory_order_release);
    return true;
  }

 private:
  enum Sleep : uint32_t { awake, asleep, being_woken };

  struct alignas(64) Worker {
    Crew* crew;
    int thread;                   // number of this thread in a team
    std::atomic<uint32_t> sleep;  // a value of Sleep
    std::atomic<ThreadId> id;     // thread id of the system, set when the worker starts
    // The caller that wakes the worker writes both members. `kept_off` is true if keep_off() succeeded. `allowed` has
    // the CPUs to restore.
    bool kept_off;
    CpuSet allowed;
  };

  // Starts workers until there are `wanted` workers, or until the system refuses a thread. Returns the number of
  // workers that a call may use.
  int grow(int wanted) {
    if (wanted <= workers_) return wanted;
    if (refused_at_ != 0 && monotonic_nanoseconds() - refused_at_ < retry_after) return workers_;
    refused_at_ = 0;
    for (; workers_ < wanted; ++workers_) {
      Worker& worker = worker_[workers_];
      worker.crew = this;
      worker.thread = workers_ + 1;
      const auto serve = [](void* w) { static_cast<Worker*>(w)->crew->serve(static_cast<Worker*>(w)); };
      if (!start_thread(serve, &worker)) {
        refused_at_ = monotonic_nanoseconds();
        break;
      }
    }
    return workers_;
  }

  // Opens the next call. Keeps the count of workers inside, because late workers of the last call may not have left.
  void open(int team) {
    State old = state_.load(std::memory_order_relaxed), next;
    do {
      next = State{call_of(old) + 1u} << call_shift | State(team) << team_shift | (old & inside_mask);
    } while (!state_.compare_exchange_weak(old, next, std::memory_order_seq_cst, std::memory_order_relaxed));
  }

  // Returns when no worker is inside.
  void wait_for_workers() {
    int64_t since = 0;
    for (int turns = 1; (state_.load(std::memory_order_acquire) & inside_mask) != 0; ++turns) {
      pause();
      if (turns % 256 != 0) continue;
      const int64_t now = monotonic_nanoseconds();
      if (since == 0) since = now;
      if (now - since > caller_patience) std::this_thread::yield();
    }
  }

  // Takes part in calls until the process ends. This is the main function of a worker.
  void serve(Worker* worker) {
    worker->id.store(this_thread_id(), std::memory_order_relaxed);
    uint32_t last = 0;  // number of the last call that the worker took part in
    int64_t since = 0, checked = 0, no_yield_before = 0, others = 0;
    for (int turns = 1;; ++turns) {
      State state = state_.load(std::memory_order_acquire);
      if (wants(state, *worker, last)) {
        state = state_.fetch_add(inside_one, std::memory_order_acq_rel);
        if (wants(state, *worker, last)) {
          last = call_of(state);
          has_cpu_of_its_own();
          take_part_(context_, worker->thread);
        }
        state_.fetch_sub(inside_one, std::memory_order_release);
        since = 0;
        turns = 0;
        continue;
      }
      pause();
      if (turns % 32 != 0) continue;
      const int64_t now = monotonic_nanoseconds();
      if (since == 0) {
        since = checked = now;
        others = cpu_time_of_others();
      }
      if (now - checked < check_every) continue;
      checked = now;
      if (now >= no_yield_before) {
        std::this_thread::yield();
        checked = monotonic_nanoseconds();
        const int64_t took = checked - now;
        if (took > long_yield && cpu_time_of_others() - others < took / 2) {
          no_yield_before = checked + without_yields * took;
          since = checked;
        }
      }
      if (checked - since > worker_patience || !has_cpu_of_its_own()) {
        sleep(worker, last);
        since = 0;
      }
    }
  }

  // Returns the CPU time of this process in nanoseconds, without the CPU time of this worker and of the last caller.
  int64_t cpu_time_of_others() const {
    // Read the clock of the caller first, because this updates the clock of the process. Otherwise the clock of the
    // process may be late by up to a tick.
    const int64_t caller = cpu_time(caller_clock_.load(std::memory_order_relaxed));
    return process_cpu_time() - caller - cpu_time(0);
  }

  // Returns true if `state` is an open call that has a place for the worker, and that is not the call `last`.
  static bool wants(State state, const Worker& worker, uint32_t last) {
    return (state & closed) == 0 && call_of(state) != last && team_of(state) > worker.thread;
  }

  // Sleeps until a caller wakes the worker. Returns at once if there is a call. See "Wake-ups" above.
  void sleep(Worker* worker, uint32_t last) {
    worker->sleep.store(asleep, std::memory_order_seq_cst);
    if (!wants(state_.load(std::memory_order_seq_cst), *worker, last)) sleep_while(&worker->sleep, asleep);
    uint32_t expected = asleep;
    if (worker->sleep.compare_exchange_strong(expected, awake, std::memory_order_acq_rel)) return;  // no caller woke it
    while (worker->sleep.load(std::memory_order_acquire) != awake) std::this_thread::yield();
    if (worker->kept_off) allow(worker->allowed);
  }

  // Wakes the worker if it sleeps. Linux tends to wake a thread on the CPU of the thread that wakes it. On the CPU of
  // the caller, the worker would wait for some milliseconds, because the caller computes there. So the worker may not
  // use this CPU until it runs on another one.
  void wake(Worker* worker) {
    if (worker->sleep.load(std::memory_order_seq_cst) == awake) return;
    uint32_t expected = asleep;
    if (!worker->sleep.compare_exchange_strong(expected, being_woken, std::memory_order_acq_rel)) return;
    worker->kept_off = keep_off(worker->id.load(std::memory_order_relaxed), caller_cpu_.load(std::memory_order_relaxed),
                                &worker->allowed);
    worker->sleep.store(awake, std::memory_order_release);
    pointwise::wake(&worker->sleep);
  }

  // Moves this worker to another CPU if it runs on the CPU of the caller. Returns false if the worker may use no other
  // CPU. When other processes keep the other CPUs busy, the system may put a worker on the caller's CPU. There the
  // worker would take half of the caller's time. On another CPU, it takes time from the other processes instead.
  bool has_cpu_of_its_own() {
    const int cpu = current_cpu();
    if (cpu < 0 || cpu != caller_cpu_.load(std::memory_order_relaxed)) return true;
    CpuSet allowed;
    if (!keep_off(0, cpu, &allowed)) return false;
    allow(allowed);
    return true;
  }

  alignas(64) std::atomic<State> state_{closed};
  // A caller writes these members while the state is closed. Workers that entered an open call read them.
  alignas(64) void (*take_part_)(const void*, int) = nullptr;
  const void* context_ = nullptr;
  std::atomic<int> caller_cpu_{-1};
  std::atomic<ThreadClock> caller_clock_{};
  alignas(64) std::atomic<bool> taken_{false};
  int workers_ = 0;
  int64_t refused_at_ = 0;
  Worker worker_[most_workers] = {};
};

// Never destroyed, because workers read it until the process ends.
Crew crew;
static_assert(std::is_trivially_destructible_v<Crew>);

}  // namespace

bool with_workers(int team, void (*take_part)(const void*, int), const void* context) {
  return crew.run(team, take_part, context);
}

}  // namespace pointwise
