// The definition of the activations, for tests and benchmarks. It shares nothing with the kernels.
#pragma once

#include "pointwise/pointwise.h"

namespace pointwise {

// Returns the activation of v, in a type so wide that its own errors do not show: double for a float, long double for a
// double. Numbers beyond the range of the narrower type may overflow.
template <class Wide>
Wide reference_activation(const Activation& activation, Wide v);

}  // namespace pointwise
