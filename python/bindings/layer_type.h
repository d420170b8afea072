// The Python type behind pointwise.Conv, and the function behind pointwise.conv. Both use the C API directly. With
// pybind11, parsing the arguments would take as long as computing a small layer.
#pragma once

#include "arrays.h"

namespace pointwise_python {

// Creates the type _core.Layer. A layer is constructed from (weight, bias, layout, stride, padding, groups, activation,
// dtype name, flush_subnormals, out_dtype). A layer is called with (x, residual=None, out=None, input_scale=None).
PyObject* make_layer_type();

// Returns the layer in an object of this type or of a subclass, or null for any other object.
const pointwise::Layer* layer_of(PyObject* object, PyObject* type);

// Implements _core.inherit_vectorcall(type, at_once). Calls of the instances of a subclass use the vectorcall of the
// layer, although the subclass has a method `__call__` in Python. The method must give the same results. If `at_once`
// is true, a call of an instance creates no tuple of arguments. Before Python 3.12, a `__call__` that is assigned to
// such a class later has no effect.
PyObject* inherit_vectorcall(PyObject* module, PyObject* args);

// _core.conv(x, weight, bias, layout, stride, padding, groups, activation, residual, out, input_scale,
//            out_dtype) -> array
PyObject* conv(PyObject* module, PyObject* const* args, Py_ssize_t count);

}  // namespace pointwise_python
