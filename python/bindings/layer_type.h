// The Python type behind pointwise.Conv, and the function behind pointwise.conv. Both are written on the C API: a call
// through pybind11 costs 0.3 to 0.8 us of argument parsing, as much as the arithmetic of a small layer.
#pragma once

#include "arrays.h"

namespace pointwise_python {

// The type _core.Layer: made of (weight, bias, layout, stride, padding, groups, activation, dtype name,
// flush_subnormals), called with
// (x, residual=None, out=None, input_scale=None).
PyObject* make_layer_type();

// The layer in an object of this type, or of a subclass; null for any other object.
const pointwise::Layer* layer_of(PyObject* object, PyObject* type);

// _core.inherit_vectorcall(type): calls of a subclass, which has no __call__ of its own, go straight to the layer's.
// Python does this by itself from 3.12 on; before, a call builds a tuple first.
PyObject* inherit_vectorcall(PyObject* module, PyObject* type);

// _core.conv(x, weight, bias, layout, stride, padding, groups, activation, residual, out, input_scale)
PyObject* conv(PyObject* module, PyObject* const* args, Py_ssize_t count);

}  // namespace pointwise_python
