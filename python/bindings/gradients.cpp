// Checks the arguments of gradients, and calls the core on views of the arrays.
#include "gradients.h"

#include <vector>

#include "gil.h"
#include "measure/internal.h"
#include "options.h"
#include "results.h"

namespace pointwise_python {

using pointwise::Argument;
using pointwise::DType;
using pointwise::Options;
using pointwise::Shape;
using pointwise::View;

namespace {

// Calls compute() and turns exceptions of the core into exceptions of Python. `src` is the name that the Python
// function gives to the C++ argument src.
template <class Compute>
PyObject* in_function(const char* name, Py_ssize_t takes, Py_ssize_t count, const char* src, const Compute& compute) {
  if (count != takes) {
    PyErr_Format(PyExc_TypeError, "_core.%s takes %zd arguments, got %zd", name, takes, count);
    return nullptr;
  }
  try {
    return compute().release();
  } catch (...) {
    translate_exception(src);
    return nullptr;
  }
}

// Returns grad as an array of a floating dtype.
Ref grad_array(PyObject* object) {
  Ref grad = source_array(object, "grad");
  if (const DType dtype = dtype_of(grad.array()); !pointwise::info(dtype).floating)
    raise(PyExc_TypeError, std::string("grad must be float32, float64, float16 or bfloat16, got ") + dtype_name(dtype) +
                               ": pass grad.astype(numpy.float32)");
  return grad;
}

Options options_of(PyObject* const* args) {
  Options options = parse_options(args[0], args[1], args[2], args[3], Py_None);
  pointwise::spatial_axes(options.layout);  // reports an unknown layout before axes are counted
  return options;
}

// The arguments `out` and `accumulate`.
struct Out {
  PyArrayObject* array;  // null if `out` is None
  bool accumulate;

  Out(PyObject* out, PyObject* add, DType dtype)
      : array(out == Py_None ? nullptr : reinterpret_cast<PyArrayObject*>(out)),
        accumulate(boolean(add, "accumulate")) {
    if (array) check_dtype(out, {dtype}, "out");
    if (accumulate && !array)
      raise(PyExc_ValueError, "accumulate must be False if out is None, got True: pass out=numpy.zeros(shape, dtype)");
  }

  // Returns `out` after the checks of its shape and of its overlap with two arguments, which may be null. If `out` is
  // None, returns a new array.
  Ref result(const Shape& shape, DType dtype, PyArrayObject* first, const char* first_name, PyArrayObject* second,
             const char* second_name) const {
    if (!array) return new_result(shape.rank, shape.size.data(), dtype);
    bool same = PyArray_NDIM(array) == shape.rank;
    for (int i = 0; same && i < shape.rank; ++i) same = PyArray_DIM(array, i) == shape[i];
    if (!same) raise(PyExc_ValueError, "out must have shape " + to_string(shape) + ", got " + shape_text(array));
    check_out(array, nullptr, nullptr, first, nullptr, nullptr, first_name);
    if (second) check_out(array, nullptr, nullptr, second, nullptr, nullptr, second_name);
    return Ref::borrow(reinterpret_cast<PyObject*>(array));
  }
};

// Returns a view of an array with at most max_rank axes.
View plain_view(PyArrayObject* array, DType dtype) {
  View view;
  view.data = PyArray_DATA(array);
  view.dtype = dtype;
  view.shape.rank = PyArray_NDIM(array);
  for (int i = 0; i < view.shape.rank; ++i) {
    view.shape[i] = PyArray_DIM(array, i);
    view.strides[i] = PyArray_STRIDE(array, i);
  }
  return view;
}

}  // namespace

PyObject* conv_grad_input(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return in_function("conv_grad_input", 9, count, "x_shape", [&] {
    const Options options = options_of(args + 3);
    const Shape shape = shape_argument(args[2], "x_shape", options.layout);
    const Ref grad = grad_array(args[0]);
    const DType dtype = dtype_of(grad.array());
    const Ref weight = parameter_array(args[1], dtype, "weight");
    const Out out(args[7], args[8], dtype);
    check_settled(grad.array(), dtype, "grad");
    check_settled(weight.array(), dtype, "weight");
    check_settled(out.array, dtype, "out");

    const View grad_seen = view_of(grad.array(), "grad", options.layout), weight_seen = weight_view(weight.array());
    pointwise::validate_src_gradient(grad_seen, weight_seen, shape, options);
    const Ref result = out.result(shape, dtype, given_array(args[0], grad.array()), "grad",
                                  given_array(args[1], weight.array()), "weight");
    const View dst = plain_view(result.array(), dtype);
    without_gil([&] { pointwise::gradient_of_src(grad_seen, weight_seen, dst, options, out.accumulate); });
    return Ref::borrow(result.get());
  });
}

PyObject* conv_grad_weight(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return in_function("conv_grad_weight", 8, count, "x", [&] {
    const Options options = options_of(args + 2);
    const Ref grad = grad_array(args[0]), x = source_array(args[1], "x");
    const DType dtype = dtype_of(grad.array()), x_dtype = dtype_of(x.array());
    const DType sum = sum_dtype(dtype);
    if (x_dtype != dtype && sum_dtype(x_dtype) != dtype)
      raise(PyExc_TypeError, std::string("x must have the dtype of grad, ") + dtype_name(dtype) + ", got " +
                                 dtype_name(x_dtype) + ": pass x.astype(" + dtype_code(dtype) + ")");
    const Out out(args[6], args[7], sum);
    check_settled(grad.array(), dtype, "grad");
    check_settled(x.array(), x_dtype, "x");
    check_settled(out.array, sum, "out");

    const View grad_seen = view_of(grad.array(), "grad", options.layout),
               x_seen = view_of(x.array(), "x", options.layout);
    const Shape shape = pointwise::weights_gradient_shape(grad_seen, x_seen, options);
    const Ref result =
        out.result(shape, sum, given_array(args[0], grad.array()), "grad", given_array(args[1], x.array()), "x");
    const View dst = plain_view(result.array(), sum);
    without_gil([&] { pointwise::gradient_of_weights(grad_seen, x_seen, dst, options, out.accumulate); });
    return Ref::borrow(result.get());
  });
}

PyObject* conv_grad_bias(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return in_function("conv_grad_bias", 4, count, "x", [&] {
    const Ref zero = Ref(PyLong_FromLong(0)).checked(), one = Ref(PyLong_FromLong(1)).checked();
    PyObject* const window[] = {args[1], one.get(), zero.get(), one.get()};
    const Options options = options_of(window);
    const Ref grad = grad_array(args[0]);
    const DType dtype = dtype_of(grad.array());
    const Out out(args[2], args[3], dtype);
    check_settled(grad.array(), dtype, "grad");
    check_settled(out.array, dtype, "out");

    const View grad_seen = view_of(grad.array(), "grad", options.layout);
    const Shape shape{grad_seen.shape[static_cast<int>(options.layout.find('C'))]};
    const Ref result = out.result(shape, dtype, given_array(args[0], grad.array()), "grad", nullptr, nullptr);
    const View dst = plain_view(result.array(), dtype);
    without_gil([&] { pointwise::gradient_of_bias(grad_seen, dst, options.layout, out.accumulate); });
    return Ref::borrow(result.get());
  });
}

PyObject* gram(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return in_function("gram", 3, count, "x", [&] {
    const int axis = static_cast<int>(integer(args[2], "axis"));
    const bool symmetric = args[1] == Py_None;
    const Ref x = source_array(args[0], "x"), y = symmetric ? Ref::borrow(x.get()) : source_array(args[1], "y");
    const DType x_dtype = dtype_of(x.array()), y_dtype = dtype_of(y.array()), dtype = sum_dtype(x_dtype);
    if (sum_dtype(y_dtype) != dtype)
      raise(PyExc_TypeError, std::string("y must have the dtype of x, ") + dtype_name(x_dtype) + ", got " +
                                 dtype_name(y_dtype) + ": pass y.astype(" + dtype_code(dtype) + ")");
    check_settled(x.array(), x_dtype, "x");
    check_settled(y.array(), y_dtype, "y");
    const int rank = PyArray_NDIM(x.array());
    if (rank > pointwise::max_rank || axis < 0 || axis >= rank)
      raise(PyExc_ValueError, "x must have at most 5 axes, and axis must be one of them, got shape " +
                                  shape_text(x.array()) + " and axis " + std::to_string(axis));
    bool same = PyArray_NDIM(y.array()) == rank;
    for (int i = 0; same && i < rank; ++i) same = i == axis || PyArray_DIM(x.array(), i) == PyArray_DIM(y.array(), i);
    if (!same)
      raise(PyExc_ValueError, "y must have the shape of x, except for the length of the axis of channels, got shape " +
                                  shape_text(y.array()) + " for x of shape " + shape_text(x.array()));
    const View left = plain_view(x.array(), x_dtype), right = plain_view(y.array(), y_dtype);
    pointwise::validate_bytes(Argument::src, left.shape, x_dtype);
    pointwise::validate_bytes(Argument::src, right.shape, y_dtype);
    const Shape shape{left.shape[axis], right.shape[axis]};
    Ref result = new_result(shape.rank, shape.size.data(), dtype);
    const View dst = plain_view(result.array(), dtype);
    without_gil([&] { pointwise::gram_matrix(left, right, dst, axis, symmetric); });
    return result;
  });
}

}  // namespace pointwise_python
