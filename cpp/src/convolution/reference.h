// Defines the operation, for tests and benchmarks. The function is one loop nest. It computes sums in long double, and
// shares no code with the kernels.
#pragma once

#include "pointwise/pointwise.h"

namespace pointwise {

// Computes the result of a call of a Layer. `magnitude` is null or a C-contiguous array of double with the shape of
// dst. If `magnitude` is not null, each of its elements becomes the sum of the absolute values of all terms. The error
// bound is proportional to this sum.
void reference(const View& weights, const View* bias, const Options& options, const View& src, const View& dst,
               const View* residual, double* magnitude = nullptr, const View* input_scale = nullptr);

}  // namespace pointwise
