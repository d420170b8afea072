// The OpenMP that pointwise is compiled and linked with. Some compilers have none. Then these functions describe a
// program without OpenMP. openmp_runtime.h is about the runtimes of other libraries.
#pragma once

namespace pointwise {

// True if pointwise is compiled with OpenMP.
extern const bool has_openmp;

// Return the number of CPUs for OpenMP, and the limit of the number of threads of a region. Without OpenMP, both are 0.
int openmp_cpus();
int openmp_max_threads();

// Returns true if the calling thread is inside a parallel region.
bool in_openmp_region();

// Calls take_part(context, thread) on each thread of a region of `threads` threads. Without OpenMP, calls
// take_part(context, 0) on the calling thread.
void openmp_region(int threads, void (*take_part)(const void* context, int thread), const void* context);

}  // namespace pointwise
