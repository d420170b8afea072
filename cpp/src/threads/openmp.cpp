#include "threads/openmp.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace pointwise {

#if defined(_OPENMP)
const bool has_openmp = true;
int openmp_cpus() { return omp_get_num_procs(); }
int openmp_max_threads() { return omp_get_max_threads(); }
bool in_openmp_region() { return omp_in_parallel() != 0; }

void openmp_region(int threads, void (*take_part)(const void*, int), const void* context) {
#pragma omp parallel num_threads(threads)
  take_part(context, omp_get_thread_num());
}
#else
const bool has_openmp = false;
int openmp_cpus() { return 0; }
int openmp_max_threads() { return 0; }
bool in_openmp_region() { return false; }
void openmp_region(int, void (*take_part)(const void*, int), const void* context) { take_part(context, 0); }
#endif

}  // namespace pointwise
