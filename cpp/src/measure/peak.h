// What the machine could do at best: the yardsticks of benchmarks.
#pragma once

#include <cstdint>

#include "pointwise/pointwise.h"

namespace pointwise {

// Floating-point operations a second (two for a multiply-add) of `threads` threads together that do nothing but
// multiply-adds on registers, with the instruction set in use: the best of so many blocks of so many seconds. Fewer
// threads take part where a call's would be fewer: after a fork, or within somebody's parallel region.
double fma_peak(DType dtype, int threads, int blocks, double block = 2e-3);
// The same of a kernel table's fma_loop, whatever instruction set is in use.
double fma_peak(double (*fma_loop)(int64_t steps), int threads, int blocks, double block = 2e-3);

// Copies bytes between arrays that do not overlap, past the caches where the CPU can: its stores do not read the lines
// that they overwrite.
void streaming_copy(void* to, const void* from, int64_t bytes, int threads);

}  // namespace pointwise
