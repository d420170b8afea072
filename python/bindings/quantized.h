// The Python type behind pointwise.QConv, pointwise.qconv and pointwise.conv_integer.
#pragma once

#include "arrays.h"

namespace pointwise_python {

// Creates the type _core.QLayer. A layer is constructed from (weight, bias or None, layout, stride, padding, groups,
// activation, x dtype name, y dtype name, x scale, x zero point, weight scales, weight zero points, y scale, y zero
// point). weight is uint8 or int8. bias and weight zero points are int32. Weight scales are float32. Weight scales and
// weight zero points have one axis. A layer is called with (x, out=None).
PyObject* make_quantized_type();

// Returns the layer in an object of this type or of a subclass, or null for any other object.
const pointwise::QuantizedLayer* quantized_layer_of(PyObject* object, PyObject* type);

// Calls a chain. `out` may be null or None.
PyObject* call_quantized(const pointwise::QuantizedChain& chain, PyObject* x, PyObject* out);

}  // namespace pointwise_python
