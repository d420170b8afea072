// How many threads a call may use.
#pragma once

namespace pointwise {

struct OpenMPRuntime;

// Caps the requested team size: 1 inside a parallel region of OpenMP and in a forked child; no more than a
// threadpoolctl limit (or any omp_set_num_threads) in force, nor than four threads for each CPU.
int openmp_limit(int wanted);

// More threads than CPUs are of no use: a team has no more than this, whatever is asked for.
extern const int most_threads;

// The number of threads that an OpenMP runtime starts with on so many CPUs.
int openmp_threads_at_start(int cpus);

// Returns how many threads of a team of the calling thread the system starts. OpenMP ends the process where it cannot
// start one: so before the first team of a runtime, and before a larger one, as many threads are started and ended on
// trial (about 10 us for each). `runtime` is null for the runtime that pointwise is linked with.
int startable_team(int team, const OpenMPRuntime* runtime);

// For tests: plans made from now on have all threads that were asked for, however little work there is.
void force_teams(bool forced);
bool teams_are_forced();

}  // namespace pointwise
