// Measures the limits of the CPU and of its memory, for comparison with benchmarks.
#pragma once

#include <cstdint>

#include "pointwise/pointwise.h"

namespace pointwise {

// Returns the FMA peak of `threads` threads together, in floating-point operations per second. A multiply-add is two
// operations. The threads do only multiply-adds on registers, with the instruction set in use. The result is the best
// of `blocks` runs of `block` seconds each. As in a call, openmp_limit() limits the number of threads.
double fma_peak(DType dtype, int threads, int blocks, double block = 2e-3);
// Returns the FMA peak for the fma_loop of any kernel table.
double fma_peak(double (*fma_loop)(int64_t steps), int threads, int blocks, double block = 2e-3);

// Copies bytes between arrays that do not overlap. On x86 it uses non-temporal stores. Such stores do not read the
// lines that they overwrite.
void streaming_copy(void* to, const void* from, int64_t bytes, int threads);

}  // namespace pointwise
