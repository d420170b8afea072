// The OpenMP runtime that other libraries of this process use.
//
// PyTorch, scikit-learn and MKL load an OpenMP runtime, whose threads spin for milliseconds after each parallel region.
// Workers would have to share CPUs with these threads. So calls run as regions of that runtime, on its spinning
// threads.
//
// The runtime may be another copy than the one that pointwise is linked with, because each repaired wheel contains a
// copy. So pointwise calls the runtime's functions through pointers.
#pragma once

#include <cstdint>
#include <string>

namespace pointwise {

// A loaded runtime, with functions that GNU's, LLVM's and Intel's runtimes all export. Objects are immutable.
struct OpenMPRuntime {
  void (*parallel)(void (*body)(void* context), void* context, unsigned threads, unsigned flags);  // GOMP_parallel
  int (*thread_num)();
  int (*max_threads)();
  int (*in_parallel)();
  int threads_at_start;  // OMP_NUM_THREADS, else the number of CPUs of the process when the runtime was found
  std::string path;      // of the file of the runtime
  std::string user;      // file name of a library that uses the runtime; empty if the runtime was loaded by name
};

// Returns the result of the last search. This is the runtime that other libraries use, or null. If there are several
// such runtimes, it is the last one that was loaded. The object stays valid, and its library stays loaded, until the
// process ends.
const OpenMPRuntime* other_openmp();

// Searches the loaded libraries, but only if a library was loaded or unloaded since the last search, and at most once
// in 2 ms. Then returns other_openmp(). Never waits for another thread. `now` is monotonic_nanoseconds().
const OpenMPRuntime* find_other_openmp(int64_t now);

}  // namespace pointwise
