#include "threads/workers.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstdint>
#include <type_traits>

#include "base/clock.h"

namespace pointwise {
namespace {

// The state of the call, one word: which call it is, the threads that it may have, whether it is closed, and how many
// workers are inside.
using State = uint64_t;
constexpr State inside_one = 1, inside_mask = 0xffff, closed = 1 << 16;
constexpr int team_shift = 17, call_shift = 32, most_team = (1 << (call_shift - team_shift)) - 1;

uint32_t call_of(State state) { return static_cast<uint32_t>(state >> call_shift); }
int team_of(State state) { return static_cast<int>(state >> team_shift & most_team); }

constexpr int most_workers = 1023;
constexpr size_t stack_bytes = size_t{1} << 20;
// Nanoseconds. How long a worker watches for the next call before it sleeps and has to be woken, and how often it
// yields its CPU meanwhile; how long a caller watches for its workers before it yields to them, as they may wait for
// its CPU; and how long after it was refused a thread is asked for again.
constexpr int64_t worker_patience = 3000000, check_every = 2000, caller_patience = 50000, retry_after = 1000000000;
// A yield that takes as long as this let another thread compute for a whole time slice (3 to 4 ms). If that is a thread
// of another process, which goes on computing, yields are for nothing: the worker does without them for so many times
// as long. docs/threads.md has the figures.
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
    caller_cpu_.store(sched_getcpu(), std::memory_order_relaxed);
    clockid_t clock;
    if (pthread_getcpuclockid(pthread_self(), &clock) == 0) caller_clock_.store(clock, std::memory_order_relaxed);
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
    int thread;  // in a team
    std::atomic<uint32_t> sleep;
    std::atomic<pid_t> id;  // the system's, once it runs
    // Of the caller that wakes it: the CPUs to go back to.
    bool kept_off;
    cpu_set_t allowed;
  };

  // So many workers, or as many as there can be. Of one caller at a time.
  int grow(int wanted) {
    if (wanted <= workers_) return wanted;
    if (refused_at_ != 0 && monotonic_nanoseconds() - refused_at_ < retry_after) return workers_;
    refused_at_ = 0;
    // What interrupts the process is for its own threads.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    for (; workers_ < wanted; ++workers_) {
      Worker& worker = worker_[workers_];
      worker.crew = this;
      worker.thread = workers_ + 1;
      pthread_t thread;
      const auto start = [](void* h) -> void* {
        static_cast<Worker*>(h)->crew->serve(static_cast<Worker*>(h));
        return nullptr;
      };
      if (pthread_create(&thread, &attributes, start, &worker) != 0) {
        refused_at_ = monotonic_nanoseconds();
        break;
      }
    }
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return workers_;
  }

  // Workers that come too late for the call before this may be on their way out again: they stay counted.
  void open(int team) {
    State old = state_.load(std::memory_order_relaxed), next;
    do {
      next = State{call_of(old) + 1u} << call_shift | State(team) << team_shift | (old & inside_mask);
    } while (!state_.compare_exchange_weak(old, next, std::memory_order_seq_cst, std::memory_order_relaxed));
  }

  void wait_for_workers() {
    int64_t since = 0;
    for (int turns = 1; (state_.load(std::memory_order_acquire) & inside_mask) != 0; ++turns) {
      pause();
      if (turns % 256 != 0) continue;
      const int64_t now = monotonic_nanoseconds();
      if (since == 0) since = now;
      if (now - since > caller_patience) sched_yield();
    }
  }

  void serve(Worker* worker) {
    worker->id.store(static_cast<pid_t>(syscall(SYS_gettid)), std::memory_order_relaxed);
    uint32_t last = 0;  // the call that it took part in
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
        sched_yield();
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

  // The CPU time of this process in nanoseconds, but for that of this worker and of the last caller.
  int64_t cpu_time_of_others() const {
    const auto read = [](clockid_t clock) {
      timespec t{};
      return clock_gettime(clock, &t) == 0 ? t.tv_sec * int64_t{1000000000} + t.tv_nsec : 0;  // the caller may be gone
    };
    // The caller's clock first: to read it brings the process's up to date, which is else behind by up to a tick.
    const int64_t caller = read(caller_clock_.load(std::memory_order_relaxed));
    return read(CLOCK_PROCESS_CPUTIME_ID) - caller - read(CLOCK_THREAD_CPUTIME_ID);
  }

  static bool wants(State state, const Worker& worker, uint32_t last) {
    return (state & closed) == 0 && call_of(state) != last && team_of(state) > worker.thread;
  }

  // It says that it sleeps, then looks; a caller opens, then looks who sleeps: so either sees the other.
  void sleep(Worker* worker, uint32_t last) {
    worker->sleep.store(asleep, std::memory_order_seq_cst);
    if (!wants(state_.load(std::memory_order_seq_cst), *worker, last))
      syscall(SYS_futex, &worker->sleep, FUTEX_WAIT_PRIVATE, asleep, nullptr, nullptr, 0);
    uint32_t expected = asleep;
    if (worker->sleep.compare_exchange_strong(expected, awake, std::memory_order_acq_rel)) return;  // by itself
    while (worker->sleep.load(std::memory_order_acquire) != awake) sched_yield();
    if (worker->kept_off) sched_setaffinity(0, sizeof worker->allowed, &worker->allowed);
  }

  // The system likes to wake a thread on the CPU of the one that wakes it, where it would wait for some milliseconds,
  // as the caller goes on there: so it is kept off that CPU until it runs.
  void wake(Worker* worker) {
    if (worker->sleep.load(std::memory_order_seq_cst) == awake) return;
    uint32_t expected = asleep;
    if (!worker->sleep.compare_exchange_strong(expected, being_woken, std::memory_order_acq_rel)) return;
    worker->kept_off = keep_off(worker->id.load(std::memory_order_relaxed), caller_cpu_.load(std::memory_order_relaxed),
                                &worker->allowed);
    worker->sleep.store(awake, std::memory_order_release);
    syscall(SYS_futex, &worker->sleep, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }

  // Takes a CPU away from a thread (0: this one), and says what it may use otherwise; false where it has no other.
  static bool keep_off(pid_t id, int cpu, cpu_set_t* allowed) {
    if (cpu < 0 || sched_getaffinity(id, sizeof *allowed, allowed) != 0) return false;  // more than 1024 CPUs
    cpu_set_t others = *allowed;
    CPU_CLR(static_cast<size_t>(cpu), &others);
    return CPU_COUNT(&others) > 0 && sched_setaffinity(id, sizeof others, &others) == 0;
  }

  // Where a neighbour keeps the other CPUs busy the system may put a worker on the caller's, of which it would take
  // half. It goes to another one, where it has its turns beside the neighbour; false where it may not.
  bool has_cpu_of_its_own() {
    const int cpu = sched_getcpu();
    if (cpu < 0 || cpu != caller_cpu_.load(std::memory_order_relaxed)) return true;
    cpu_set_t allowed;
    if (!keep_off(0, cpu, &allowed)) return false;
    sched_setaffinity(0, sizeof allowed, &allowed);
    return true;
  }

  alignas(64) std::atomic<State> state_{closed};
  // Written by a caller while the state is closed, read by workers inside.
  alignas(64) void (*take_part_)(const void*, int) = nullptr;
  const void* context_ = nullptr;
  std::atomic<int> caller_cpu_{-1};
  std::atomic<clockid_t> caller_clock_{CLOCK_THREAD_CPUTIME_ID};
  alignas(64) std::atomic<bool> taken_{false};
  int workers_ = 0;
  int64_t refused_at_ = 0;
  Worker worker_[most_workers] = {};
};

// Never unmade: workers look at it until the process ends.
Crew crew;
static_assert(std::is_trivially_destructible_v<Crew>);

}  // namespace

bool with_workers(int team, void (*take_part)(const void*, int), const void* context) {
  return crew.run(team, take_part, context);
}

}  // namespace pointwise
