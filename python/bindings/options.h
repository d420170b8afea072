// The keyword arguments that say what a convolution is, from Python objects to pointwise::Options.
#pragma once

#include "arrays.h"

namespace pointwise_python {

// An integer that operator.index takes, within int64. TypeError, or ValueError, names the argument.
int64_t integer(PyObject* object, const char* name);

// A bool, Python's or NumPy's. TypeError names the argument.
bool boolean(PyObject* object, const char* name);

// dtype and flush_subnormals are left as they are.
pointwise::Options parse_options(PyObject* layout, PyObject* stride, PyObject* padding, PyObject* groups,
                                 PyObject* activation);
// None, a name, or a tuple of name and parameters.
Ref activation_object(const pointwise::Activation& activation);

}  // namespace pointwise_python
