// The methods of _core.Layer for Conv.tune and for pickles.
#pragma once

#include "arrays.h"

namespace pointwise_python {

// Returns the dtype of x with this name, or nothing for null.
std::optional<pointwise::DType> optional_source_dtype(const char* name);

// Implements _tune(x_shape, dtype name of x or None, seconds) -> float.
PyObject* tune(const pointwise::Layer& layer, PyObject* args);
// Returns the choices as a list of tuples of strings, numbers and shapes.
PyObject* choices(const pointwise::Layer& layer);
// Takes choices from a list that `choices` returned. Ignores choices that do not fit the layer. The list may come from
// a file, so it may hold anything: for wrong types, sets a Python exception and throws PythonError.
void adopt(const pointwise::Layer& layer, PyObject* list);

}  // namespace pointwise_python
