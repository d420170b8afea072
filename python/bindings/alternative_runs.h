// Layer._alternatives: functions that run a layer with each of its alternatives. For measurements.
#pragma once

#include "arrays.h"

namespace pointwise_python {

// Returns [(words, cycles that the cost model predicts, run), ...]. The chosen alternative comes first. run(x, out)
// takes C-contiguous arrays of the layer's dtype that share no memory. It is a built-in function of two positional
// arguments, so that it costs no more than a call of the layer.
PyObject* alternative_runs(const pointwise::Layer& layer, const pointwise::Shape& x_shape);

}  // namespace pointwise_python
