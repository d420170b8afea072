// Declares a reference implementation of the activations, for tests and benchmarks. It shares no code with the kernels.
#pragma once

#include "pointwise/pointwise.h"

namespace pointwise {

// Returns the activation of v. `Wide` is double for tests of float, and long double for tests of double. So the
// rounding errors of `Wide` do not matter. The result may overflow if v is beyond the range of the tested type.
// `channel` is the output channel, which selects the slope of PReLU.
template <class Wide>
Wide reference_activation(const Activation& activation, Wide v, int64_t channel = 0);

}  // namespace pointwise
