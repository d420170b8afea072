// The functions behind pointwise.conv_grad_input, conv_grad_weight, conv_grad_bias and gram.
#pragma once

#include "arrays.h"

namespace pointwise_python {

// _core.conv_grad_input(grad, weight, x_shape, layout, stride, padding, groups, out, accumulate) -> array
PyObject* conv_grad_input(PyObject* module, PyObject* const* args, Py_ssize_t count);
// _core.conv_grad_weight(grad, x, layout, stride, padding, groups, out, accumulate) -> array
PyObject* conv_grad_weight(PyObject* module, PyObject* const* args, Py_ssize_t count);
// _core.conv_grad_bias(grad, layout, out, accumulate) -> array
PyObject* conv_grad_bias(PyObject* module, PyObject* const* args, Py_ssize_t count);
// _core.gram(x, y or None, axis) -> array. x and y have the same shape, except for the length of the axis.
PyObject* gram(PyObject* module, PyObject* const* args, Py_ssize_t count);

}  // namespace pointwise_python
