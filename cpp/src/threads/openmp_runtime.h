// The OpenMP runtime that other libraries of this process use.
//
// PyTorch, scikit-learn or MKL bring an OpenMP runtime, whose threads spin for milliseconds after each parallel region.
// A second pool of threads would have to share CPUs with them. So a call joins that runtime: the threads that spin are
// then the threads that compute. The runtime may be another copy than the one that pointwise is linked with, as each
// repaired wheel carries its own; it is called through pointers.
#pragma once

#include <cstdint>
#include <string>

namespace pointwise {

// Functions that GNU's, LLVM's and Intel's runtimes all export.
struct OpenMPRuntime {
  void (*parallel)(void (*body)(void* context), void* context, unsigned threads, unsigned flags);  // GOMP_parallel
  int (*thread_num)();
  int (*max_threads)();
  int (*in_parallel)();
  int threads_at_start;  // OMP_NUM_THREADS, else the CPUs of the process when the runtime was found
  std::string path;      // of the runtime's file
  std::string user;      // the file name of a library that uses it; empty where it was loaded by name
};

// Returns the runtime that was loaded last among those that another library uses, or null where there is none: as
// find_other_openmp saw it last. The object stays valid, and its library loaded, until the process ends.
const OpenMPRuntime* other_openmp();

// The same, as it is now. `now` is monotonic_nanoseconds(): the loaded libraries are looked at again when 2 ms have
// passed and one was loaded or unloaded.
const OpenMPRuntime* find_other_openmp(int64_t now);

}  // namespace pointwise
