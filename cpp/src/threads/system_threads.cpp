#include "threads/system_threads.h"

#if !defined(POINTWISE_PORTABLE_SYSTEM) && (defined(__unix__) || defined(__APPLE__))
#define POINTWISE_POSIX
#include <pthread.h>
#include <signal.h>
#else
#include <system_error>
#endif
#if !defined(POINTWISE_PORTABLE_SYSTEM) && defined(__linux__)
#define POINTWISE_LINUX
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#else
#include <condition_variable>
#include <mutex>
#endif

#include <algorithm>
#include <new>
#include <thread>

namespace pointwise {

// ---- fork and start of threads --------------------------------------------------------------------------------------

#if defined(POINTWISE_POSIX)
namespace {

// The handler runs in the child before fork() returns, on the only thread there. So relaxed order suffices.
std::atomic<bool> forked{false};
const int fork_handler = pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });

constexpr size_t stack_bytes = size_t{1} << 20;

struct Start {
  void (*run)(void*);
  void* context;
};

}  // namespace

const bool sees_forks = true;
bool in_forked_child() { return forked.load(std::memory_order_relaxed); }

bool start_thread(void (*run)(void*), void* context) {
  Start* const start = new (std::nothrow) Start{run, context};
  if (start == nullptr) return false;
  // The new thread inherits the signal mask. It blocks all signals, so that the program's own threads handle them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, stack_bytes);
  const auto main = [](void* given) -> void* {
    const Start started = *static_cast<Start*>(given);
    delete static_cast<Start*>(given);
    started.run(started.context);
    return nullptr;
  };
  pthread_t thread;
  const bool good = pthread_create(&thread, &attributes, main, start) == 0;
  if (!good) delete start;
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return good;
}
#else
const bool sees_forks = false;
bool in_forked_child() { return false; }

bool start_thread(void (*run)(void*), void* context) {
  try {
    std::thread(run, context).detach();
    return true;
  } catch (const std::system_error&) {
    return false;
  } catch (const std::bad_alloc&) {
    return false;
  }
}
#endif

// ---- CPUs and clocks ------------------------------------------------------------------------------------------------

#if defined(POINTWISE_LINUX)
namespace {

static_assert(sizeof(CpuSet) == sizeof(cpu_set_t));

// Returns false if the system has more than 1024 CPUs.
bool read_allowed(ThreadId thread, cpu_set_t* set) { return sched_getaffinity(thread, sizeof *set, set) == 0; }

int64_t read_clock(clockid_t clock) {
  timespec t{};
  return clock_gettime(clock, &t) == 0 ? t.tv_sec * int64_t{1000000000} + t.tv_nsec : 0;
}

}  // namespace

int usable_cpus() {
  cpu_set_t set;
  if (read_allowed(0, &set)) return CPU_COUNT(&set);
  return static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
}

int current_cpu() { return sched_getcpu(); }
ThreadId this_thread_id() { return static_cast<ThreadId>(syscall(SYS_gettid)); }

ThreadClock this_thread_clock() {
  clockid_t clock;
  return pthread_getcpuclockid(pthread_self(), &clock) == 0 ? clock : 0;
}

int64_t cpu_time(ThreadClock clock) { return read_clock(clock == 0 ? CLOCK_THREAD_CPUTIME_ID : clock); }
int64_t process_cpu_time() { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

bool keep_off(ThreadId thread, int cpu, CpuSet* allowed) {
  cpu_set_t others;
  if (cpu < 0 || !read_allowed(thread, &others)) return false;
  std::memcpy(allowed, &others, sizeof others);
  CPU_CLR(static_cast<size_t>(cpu), &others);
  return CPU_COUNT(&others) > 0 && sched_setaffinity(thread, sizeof others, &others) == 0;
}

void allow(const CpuSet& cpus) {
  cpu_set_t set;
  std::memcpy(&set, &cpus, sizeof set);
  sched_setaffinity(0, sizeof set, &set);
}

void sleep_while(std::atomic<uint32_t>* word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void wake(std::atomic<uint32_t>* word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0); }
#else
namespace {

// All sleeping threads share one condition. It is never destroyed, because workers sleep until the process ends.
struct Bell {
  std::mutex mutex;
  std::condition_variable rings;
};
Bell& bell = *new Bell;

}  // namespace

int usable_cpus() { return static_cast<int>(std::max(1u, std::thread::hardware_concurrency())); }
int current_cpu() { return -1; }
ThreadId this_thread_id() { return 0; }
ThreadClock this_thread_clock() { return 0; }
int64_t cpu_time(ThreadClock) { return 0; }
int64_t process_cpu_time() { return 0; }
bool keep_off(ThreadId, int, CpuSet*) { return false; }
void allow(const CpuSet&) {}

void sleep_while(std::atomic<uint32_t>* word, uint32_t value) {
  std::unique_lock<std::mutex> lock(bell.mutex);
  bell.rings.wait(lock, [&] { return word->load(std::memory_order_acquire) != value; });
}

// A sleeper holds the mutex from its look at the word until it waits. So it sees the change, or it hears the bell.
void wake(std::atomic<uint32_t>*) {
  {
    const std::lock_guard<std::mutex> lock(bell.mutex);
  }
  bell.rings.notify_all();
}
#endif

}  // namespace pointwise
