// Threads and CPUs of the operating system. Linux has all of these functions. On other systems, a function that has no
// equivalent does nothing, and its comment names its result.
#pragma once

#include <atomic>
#include <cstdint>

namespace pointwise {

// Returns the number of CPUs on which the process may run. This is at least 1.
int usable_cpus();

// Returns true in a forked child and in its children, if `sees_forks` is true. It is false on systems without fork().
bool in_forked_child();
extern const bool sees_forks;

// Starts a thread that calls run(context) and handles no signals. Nothing waits for the end of the thread. Returns
// false if the system refuses the thread.
bool start_thread(void (*run)(void* context), void* context);

// Returns the number of the CPU on which the calling thread runs, or -1 if the system does not tell it.
int current_cpu();

// Numbers of a thread and of its clock of CPU time.
using ThreadId = int;
using ThreadClock = int;
ThreadId this_thread_id();
// Returns a clock that any thread can read, or 0 if there is none.
ThreadClock this_thread_clock();

// Returns the CPU time of a thread in nanoseconds, or 0 if the thread has ended or the system has no such clock. Clock
// 0 measures the calling thread.
int64_t cpu_time(ThreadClock clock);
// Returns the CPU time of all threads of the process in nanoseconds, or 0 if the system does not tell it.
int64_t process_cpu_time();

// A set of up to 1024 CPUs.
struct CpuSet {
  uint64_t bits[16];
};

// Forbids a thread to use one CPU. Thread 0 is the calling thread. Stores in `allowed` the CPUs that the thread could
// use before. Returns false if the thread may use no other CPU, or if the system refuses.
bool keep_off(ThreadId thread, int cpu, CpuSet* allowed);
// Lets the calling thread use these CPUs only.
void allow(const CpuSet& cpus);

// Sleeps until another thread calls wake(word). Returns at once if the word differs from `value`. May return early.
void sleep_while(std::atomic<uint32_t>* word, uint32_t value);
// Wakes the thread that sleeps on this word. The caller has changed the word before.
void wake(std::atomic<uint32_t>* word);

}  // namespace pointwise
