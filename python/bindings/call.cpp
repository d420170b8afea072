#include "call.h"

#include <vector>

#include "gil.h"
#include "measure/internal.h"
#include "results.h"

namespace pointwise_python {

using pointwise::Argument;
using pointwise::DType;
using pointwise::info;
using pointwise::Shape;
using pointwise::View;

namespace {

PyObject* given_or_null(PyObject* object) { return object == nullptr || object == Py_None ? nullptr : object; }

// Checks the arrays, and makes the result if `out` is not given. Then calls compute(src, dst, residual or null, scale
// or null) without the GIL, and returns the result.
template <class Operation, class Compute>
PyObject* run(const Operation& operation, const Converted& given, PyArrayObject* weight, PyArrayObject* bias,
              const Compute& compute) {
  const auto& options = operation.options();
  const View src = source_view(given.x, options.layout);
  const Shape shape = operation.output_shape(src.shape);
  View residual, scale;
  if (given.residual) residual = view_of(given.residual, "residual", options.layout);
  if (given.input_scale) scale = scale_view(given.input_scale.array(), options.layout);

  Ref out;
  if (given.out) {
    out = Ref::borrow(reinterpret_cast<PyObject*>(given.out));
    // Check shapes first, because the search for overlaps can take long for unusual strides.
    if (given.residual) pointwise::validate_shape(Argument::residual, residual.shape, shape);
    pointwise::validate_shape(Argument::dst, view_of(given.out, "out", options.layout).shape, shape);
    check_out(given.out, given_array(given.given_x, given.x), given.residual, weight, bias,
              given_array(given.given_scale, given.input_scale.array()));
  } else {
    out = new_result(shape.rank, shape.size.data(), given.result);
  }
  const View dst = view_of(out.array(), "out", options.layout);

  without_gil([&] { compute(src, dst, given.residual ? &residual : nullptr, given.input_scale ? &scale : nullptr); });
  return out.release();
}

}  // namespace

bool parse_call(const char* who, bool takes_scale, PyObject* const* args, size_t nargsf, PyObject* names,
                CallArguments* given) {
  static const char* const words[] = {"x", "residual", "out", "input_scale"};
  const char* const takes = takes_scale ? "x, residual, out and input_scale" : "x, residual and out";
  const int positional_words = 3, known = takes_scale ? 4 : 3;
  PyObject** const values[] = {&given->x, &given->residual, &given->out, &given->input_scale};
  const Py_ssize_t positional = PyVectorcall_NARGS(nargsf);
  const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  if (positional > positional_words) {
    PyErr_Format(PyExc_TypeError, "%s.__call__ takes %s, got %zd positional arguments", who, takes, positional);
    return false;
  }
  for (Py_ssize_t i = 0; i < positional; ++i) *values[i] = args[i];
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    int at = 0;
    while (at < known && PyUnicode_CompareWithASCIIString(name, words[at]) != 0) ++at;
    if (at == known) {
      PyErr_Format(PyExc_TypeError, "%s.__call__ takes %s, got an unexpected argument %R", who, takes, name);
      return false;
    }
    if (*values[at] != nullptr) {
      PyErr_Format(PyExc_TypeError, "%s.__call__ got two values for %s", who, words[at]);
      return false;
    }
    *values[at] = args[positional + i];
  }
  if (given->x == nullptr) {
    PyErr_Format(PyExc_TypeError, "%s.__call__ needs x", who);
    return false;
  }
  return true;
}

Ref call_source(PyObject* object, const pointwise::Options& options, const char* who) {
  Ref x = source_array(object, "x");
  const DType dtype = options.dtype, given = dtype_of(x.array());
  if (options.dst_dtype) check_result_dtype(*options.dst_dtype, given, who);
  if (given != dtype && layer_dtype(given) != dtype)
    raise(PyExc_TypeError,
          std::string("x must have the ") + who + "'s dtype " + dtype_name(dtype) + ", got " +
              dtype_name(dtype_of(x.array())) + ": pass x.astype(" + dtype_code(dtype) + ")" +
              (std::string(who) == "layer" ? std::string(", or create the layer with dtype=\"") +
                                                 dtype_name(info(given).floating ? given : DType::f32) + "\""
                                           : ""));
  return x;
}

Converted::Converted(PyArrayObject* x, const CallArguments& given, const CallTypes& types)
    : x(x),
      residual(reinterpret_cast<PyArrayObject*>(given_or_null(given.residual))),
      out(reinterpret_cast<PyArrayObject*>(given_or_null(given.out))),
      given_x(given.x),
      given_scale(given.input_scale),
      result(types.result.value_or(types.layer)) {
  const DType dtype = types.layer;
  if (out) {
    std::vector<DType> allowed{result};
    for (int i = 0; !types.result && i < pointwise::type_count; ++i)
      if (const DType other = static_cast<DType>(i); other != result && may_give(dtype, types.source, other))
        allowed.push_back(other);
    result = check_dtype(given.out, allowed, "out");
  }
  if (residual) {
    if (!info(result).floating)
      raise(PyExc_TypeError, std::string("residual must be None for results of dtype ") + dtype_name(result) +
                                 ", got an array: add it to a " + dtype_name(dtype) + " result");
    check_dtype(given.residual, {result}, "residual");
  }
  if (given_or_null(given.input_scale)) input_scale = parameter_array(given.input_scale, dtype, "input_scale");
  check_settled(x, types.x, "x");
  check_settled(residual, result, "residual");
  check_settled(out, result, "out");
  check_settled(input_scale.array(), dtype, "input_scale");
}

PyObject* call(const pointwise::Layer& layer, const Converted& given, PyArrayObject* weight, PyArrayObject* bias) {
  return run(layer, given, weight, bias,
             [&layer](const View& src, const View& dst, const View* residual, const View* scale) {
               layer(src, dst, residual, 0, scale);
             });
}

PyObject* call(const pointwise::Chain& chain, const Converted& given) {
  return run(
      chain, given, nullptr, nullptr,
      [&chain](const View& src, const View& dst, const View* residual, const View*) { chain(src, dst, residual); });
}

}  // namespace pointwise_python
