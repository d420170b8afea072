// A call, as layers, chains and pw.conv share it: arguments from Python, arrays checked, the result made, the GIL
// released.
#pragma once

#include "arrays.h"

namespace pointwise_python {

// Null, or None, where an argument is not given.
struct CallArguments {
  PyObject *x = nullptr, *residual = nullptr, *out = nullptr, *input_scale = nullptr;
};

// (x, residual=None, out=None), and input_scale=None by name where it `takes_scale`. Sets a TypeError and returns false
// for anything else. `who` is the class that is called.
bool parse_call(const char* who, bool takes_scale, PyObject* const* args, size_t nargsf, PyObject* names,
                CallArguments* given);

// The arrays of a call, converted, and checked to be of a dtype: null where they are not given. Making it runs the last
// of the user's code (an __array__, say) before the result is there; so it is made before any array is looked at.
struct Converted {
  PyArrayObject *x, *residual, *out;
  Ref input_scale;
  Converted(PyArrayObject* x, const CallArguments& given, pointwise::DType dtype);
};

// x as an array of the dtype that `who` (a layer, a chain) has.
Ref call_source(PyObject* x, pointwise::DType dtype, const char* who);

// `out`, or a new array. weight and bias are those that `out` may not share an element with, or null.
PyObject* call(const pointwise::Layer& layer, const Converted& given, PyArrayObject* weight, PyArrayObject* bias);
PyObject* call(const pointwise::Chain& chain, const Converted& given);

}  // namespace pointwise_python
