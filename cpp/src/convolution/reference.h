// The definition of the operation, for tests and benchmarks: one loop nest that sums in long double and shares nothing
// with the kernels.
#pragma once

#include "pointwise/pointwise.h"

namespace pointwise {

// Computes what a Layer's call computes, from plain arguments. If `magnitude` is not null, also writes the sum of
// |terms| of each element to it, the scale of the error bound: a C-contiguous array of double, shaped like dst.
void reference(const View& weights, const View* bias, const Options& options, const View& src, const View& dst,
               const View* residual, double* magnitude = nullptr, const View* input_scale = nullptr);

}  // namespace pointwise
