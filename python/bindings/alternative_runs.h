// Implements Layer._alternatives, for measurements. It returns one function for each way to compute a layer, such as
// each kernel row and packing.
#pragma once

#include "arrays.h"

namespace pointwise_python {

// Returns a list of (description, predicted cycles, run). The chosen alternative comes first. run(x, out) takes
// C-contiguous arrays of the layer's dtype that share no memory. `run` is a built-in function of two positional
// arguments, so that its call costs no more than a call of the layer.
PyObject* alternative_runs(const pointwise::Layer& layer, const pointwise::Shape& x_shape);

}  // namespace pointwise_python
