// The Python type behind pointwise.Chain.
#pragma once

#include "arrays.h"

namespace pointwise_python {

// The type _core.Chain: made of a tuple of layers, which it keeps; called with (x, residual=None, out=None).
// `layer_type` is _core.Layer.
PyObject* make_chain_type(PyObject* layer_type);

}  // namespace pointwise_python
