// The definition of the activations, for tests and benchmarks. It shares nothing with the kernels.
#pragma once

#include "pointwise/pointwise.h"

namespace pointwise {

// Returns the activation of v, computed in a type whose own errors do not matter: double for float, long double for
// double. The result may overflow if v is beyond the range of the narrower type.
template <class Wide>
Wide reference_activation(const Activation& activation, Wide v);

}  // namespace pointwise
