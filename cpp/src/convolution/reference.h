// The definition of the operation, for tests and benchmarks: one loop nest, double (float64: long double)
// accumulation, sharing nothing with the kernels.
#pragma once

#include "pointwise/pointwise.h"

namespace pointwise {

// As Layer's call, from plain arguments. Also writes, where `magnitude` is not null, the sum of |terms| of each element
// to it (an array like dst, C-contiguous, of double): the scale of its error bound.
void reference(const View& weights, const View* bias, const Options& options, const View& src, const View& dst,
               const View* residual, double* magnitude = nullptr, const View* input_scale = nullptr);

// The definition of an activation, in a type wide enough that its own errors do not show: double for a float, long
// double for a double. Beyond the numbers of the narrower type it may overflow.
template <class Wide>
Wide reference_activation(const Activation& activation, Wide v);

}  // namespace pointwise
