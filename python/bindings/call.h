// Functions that layers, chains and pw.conv share. The functions parse the arguments of a call, check the arrays, make
// the result and release the GIL.
#pragma once

#include <optional>

#include "arrays.h"

namespace pointwise_python {

// The arguments of a call. An argument that is not given is null or None.
struct CallArguments {
  PyObject *x = nullptr, *residual = nullptr, *out = nullptr, *input_scale = nullptr;
};

// Parses (x, residual=None, out=None), and input_scale=None by keyword if `takes_scale`. If the arguments are wrong,
// sets a TypeError and returns false. `who` is the name of the class that is called.
bool parse_call(const char* who, bool takes_scale, PyObject* const* args, size_t nargsf, PyObject* names,
                CallArguments* given);

// The dtypes of an operation. In order: the last layer, its results (empty if `out_dtype` is not given), the array that
// this layer reads, and x. Layers of a chain may have different dtypes.
struct CallTypes {
  pointwise::DType layer;
  std::optional<pointwise::DType> result;
  pointwise::DType source, x;
};

// The arrays of a call, with the right dtypes. An array that is not given is null. The constructor is the last step
// that may run code of the user, such as __array__. So it comes before any shape or address is read.
struct Converted {
  PyArrayObject *x, *residual, *out;
  Ref input_scale;
  PyObject *given_x, *given_scale;  // before the conversion
  pointwise::DType result;          // dtype of the result, and of `out`
  Converted(PyArrayObject* x, const CallArguments& given, const CallTypes& types);
};

// Returns x as an array that a layer or chain takes. `options` are the options of the (first) layer. `who` is "layer"
// or "chain".
Ref call_source(PyObject* x, const pointwise::Options& options, const char* who);

// Runs the operation, and returns `out` or a new array. `out` must not share an element with weight or bias, if they
// are given.
PyObject* call(const pointwise::Layer& layer, const Converted& given, PyArrayObject* weight, PyArrayObject* bias);
PyObject* call(const pointwise::Chain& chain, const Converted& given);

}  // namespace pointwise_python
