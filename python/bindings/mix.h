// The function behind pointwise.mix.
#pragma once

#include "arrays.h"

namespace pointwise_python {

// _core.mix(x, matrix, bias, axis, activation, out, out_dtype) -> array
PyObject* mix(PyObject* module, PyObject* const* args, Py_ssize_t count);

}  // namespace pointwise_python
