// What the machine could do at best: the yardstick of benchmarks.
#pragma once

#include <cstdint>

#include "pointwise/pointwise.h"

namespace pointwise {

// Floating-point operations a second (two for a multiply-add) of `threads` threads together that do nothing but
// multiply-adds on registers, with the instruction set in use. Takes about 20 ms. Fewer threads take part where a
// call's would be fewer: after a fork, or within somebody's parallel region.
double fma_peak(DType dtype, int threads);
// The same of a kernel table's fma_loop, whatever instruction set is in use.
double fma_peak(double (*fma_loop)(int64_t steps), int threads);

}  // namespace pointwise
