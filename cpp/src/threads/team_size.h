// Limits the number of threads that a call may use.
#pragma once

namespace pointwise {

struct OpenMPRuntime;

// Returns the first number of a text in the format of OMP_NUM_THREADS: 4 for "4" and for "4,2". Numbers above 65535
// count as 65535. Returns 0 if the text is null or blank, or is not a list of positive integers.
int first_thread_count(const char* text);

// Returns false if OMP_NUM_THREADS, read when the library was loaded, is neither blank nor a list of positive integers.
bool omp_num_threads_is_valid();

// The limit of the process that caps every team, whatever the settings of thread_count(). 0 means no limit.
int thread_limit();
void set_thread_limit(int threads);

// Caps the requested team size by `most_threads`, by thread_limit(), and by a limit that threadpoolctl or
// omp_set_num_threads() has set.
// Returns 1 inside a parallel region of OpenMP, and in a forked child.
//
// Returning 1 in a forked child makes a fork safe. The child has no workers and no OpenMP threads, and may inherit a
// lock whose owner does not exist in the child. With a team of 1, parallel() uses no such thread or lock.
int openmp_limit(int wanted);

// Largest size of a team: 64 threads, or four for each CPU if that is more.
extern const int most_threads;

// Returns the number of threads that an OpenMP runtime starts with on `cpus` CPUs.
int openmp_threads_at_start(int cpus);

// Returns how many of `team` threads the system can start for the calling thread. OpenMP ends the process if it cannot
// start a thread. So before the first team of a runtime, and before each larger team, this function starts and ends as
// many threads as a trial. `runtime` is null for the runtime that pointwise is linked with.
int startable_team(int team, const OpenMPRuntime* runtime);

// If `forced` is true, later plans use all requested threads, even for little work. Only tests call this function.
void force_teams(bool forced);
bool teams_are_forced();

}  // namespace pointwise
