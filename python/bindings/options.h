// Converts the keyword arguments of a convolution from Python objects to pointwise::Options.
#pragma once

#include <vector>

#include "arrays.h"

namespace pointwise_python {

// Returns an integer that operator.index takes, within int64. Otherwise sets a TypeError or ValueError that names the
// argument, and throws PythonError.
int64_t integer(PyObject* object, const char* name);

// Returns the value of a bool of Python or NumPy. Otherwise sets a TypeError that names the argument, and throws
// PythonError.
bool boolean(PyObject* object, const char* name);

// Returns a shape from a sequence of integers. Checks that it has the axes of `layout`.
pointwise::Shape shape_argument(PyObject* object, const char* name, const std::string& layout);

// Returns an activation from None, a name, or a tuple of a name and parameters.
pointwise::Activation parse_activation(PyObject* object);
// Returns options from the arguments. dtype and flush_subnormals keep their defaults.
pointwise::Options parse_options(PyObject* layout, PyObject* stride, PyObject* padding, PyObject* groups,
                                 PyObject* activation);
// Returns one number as an integer, and several numbers as a tuple.
Ref integers_object(const std::vector<int64_t>& values);
// Returns an activation as None, a name, or a tuple of a name and parameters.
Ref activation_object(const pointwise::Activation& activation);

}  // namespace pointwise_python
