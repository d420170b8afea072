// Layer._alternatives: the ways in which a layer could run, as Python sees them. For measurements.
#pragma once

#include "arrays.h"

namespace pointwise_python {

// [(words, model's cycles, run), ...], the choice first; run(x, out) takes C-contiguous arrays of the layer's dtype
// that share no memory. A plain function of two arguments, so that a call costs no more than a layer's own.
PyObject* alternative_runs(const pointwise::Layer& layer, const pointwise::Shape& x_shape);

}  // namespace pointwise_python
