// The Python type behind pointwise.Chain.
#pragma once

#include "arrays.h"

namespace pointwise_python {

// Creates the type _core.Chain. A chain is constructed from a tuple of layers, which it keeps. A chain is called with
// (x, residual=None, out=None). `layer_type` is _core.Layer, and `quantized_type` is _core.QLayer. All layers of a
// chain have the same type. The residual of a chain of quantized layers must be None.
PyObject* make_chain_type(PyObject* layer_type, PyObject* quantized_type);

}  // namespace pointwise_python
