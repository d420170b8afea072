// Threads: the one place that names OpenMP.
#pragma once

#include <omp.h>

#include <cstdint>

#include "float_environment.h"

namespace pointwise {

// What somebody else's OpenMP settings leave to this thread: 1 inside a parallel region; a threadpoolctl limit (or
// any omp_set_num_threads) where one is in force; else `wanted`.
int openmp_limit(int wanted);

// Calls work(piece, thread) for every piece below `pieces`, on at most `team` threads, thread < team. Pieces are
// handed out one by one, so that a slow core takes fewer. `work` does not throw.
template <class Work>
void parallel(int team, int64_t pieces, const Work& work) {
  if (team <= 1 || pieces <= 1) {
    const FloatEnvironment environment;
    for (int64_t piece = 0; piece < pieces; ++piece) work(piece, 0);
    return;
  }
#pragma omp parallel num_threads(team)
  {
    const FloatEnvironment environment;
#pragma omp for schedule(dynamic, 1) nowait
    for (int64_t piece = 0; piece < pieces; ++piece) work(piece, omp_get_thread_num());
  }
}

}  // namespace pointwise
