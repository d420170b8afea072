// The OpenMP runtime that other libraries of this process use.
//
// PyTorch, scikit-learn and MKL load an OpenMP runtime, whose threads spin for milliseconds after each parallel region.
// Workers would have to share CPUs with these threads. So calls run as regions of that runtime, on its spinning
// threads.
//
// Each repaired wheel contains its own copy of a runtime. So pointwise may be linked with another copy, and calls the
// functions of the runtime through pointers.
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
  int threads_at_start;  // OMP_NUM_THREADS, or the number of CPUs of the process when the runtime was found
  std::string path;      // path of the file of the runtime
  std::string user;      // file name of a library that uses the runtime; empty if the runtime was loaded by name
};

// Returns the result of the last search: the runtime that other libraries use, or null. If there are several such
// runtimes, returns the runtime that was loaded last. The object stays valid, and the runtime stays loaded, until the
// process ends.
const OpenMPRuntime* other_openmp();

// Searches the loaded libraries and returns the result, as other_openmp() does. Does not search again within 2 ms, or
// if no library was loaded or unloaded since the last search. Never waits for another thread. `now` is
// monotonic_nanoseconds().
const OpenMPRuntime* find_other_openmp(int64_t now);

}  // namespace pointwise
