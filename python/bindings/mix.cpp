// Checks the arguments of pointwise.mix, and calls layers of layout NDHWC on views of x and out.
//
// A layer takes four axes of pixels (N, D, H and W), and its strides are arbitrary. So all axes of x except the axis of
// channels become axes of pixels. Neighbouring axes are merged if their elements are evenly spaced in x and in out. If
// more than four axes remain, the outermost ones become a loop over calls.
#include "mix.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "call.h"
#include "gil.h"
#include "measure/internal.h"
#include "options.h"
#include "results.h"

namespace pointwise_python {

using pointwise::DType;
using pointwise::Layer;
using pointwise::Shape;
using pointwise::View;

namespace {

// An axis of x and of out: its size, and its strides in bytes.
struct Axis {
  npy_intp size, src, dst;
};

constexpr size_t most_axes = 64;  // of an array of NumPy

// A list of axes, without an allocation.
class Axes {
 public:
  size_t size() const { return size_; }
  const Axis& operator[](size_t i) const { return axes_[i]; }
  Axis* last() { return size_ == 0 ? nullptr : &axes_[size_ - 1]; }
  void add(const Axis& axis) { axes_[size_++] = axis; }

 private:
  size_t size_ = 0;
  std::array<Axis, most_axes> axes_;
};

Axis axis_of(PyArrayObject* x, PyArrayObject* out, int i) {
  return {PyArray_DIM(x, i), PyArray_STRIDE(x, i), PyArray_STRIDE(out, i)};
}

std::string text(npy_intp number) { return std::to_string(number); }

// Returns the axis of channels, counted from the front.
int channel_axis(int64_t axis, PyArrayObject* x) {
  const int rank = PyArray_NDIM(x);
  if (rank == 0) raise(PyExc_ValueError, "x must have at least one axis, got shape ()");
  if (axis < -rank || axis >= rank)
    raise(PyExc_ValueError, "axis must be at least " + text(-rank) + " and less than " + text(rank) +
                                " for x of shape " + shape_text(x) + ", got " + text(axis));
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

// Returns the end of the message for x whose number of channels does not fit the matrix. If the shapes suggest a
// mistake, the text names the mistake.
std::string channels_remedy(npy_intp channels, npy_intp outputs, npy_intp inputs) {
  if (outputs == channels && channels == inputs - 1)
    return "; the matrix seems to be affine: pass matrix[..., :" + text(channels) + "] and bias=matrix[..., " +
           text(channels) + "]";
  if (outputs == channels) return "; the matrix seems to be transposed: pass matrix.swapaxes(-1, -2)";
  return "";
}

// Checks the shapes of x, matrix and bias (or null). Returns true if there is a matrix for each index of the first
// axis.
bool check_shapes(PyArrayObject* x, PyArrayObject* matrix, PyArrayObject* bias, int axis) {
  const int rank = PyArray_NDIM(matrix);
  if (rank != 2 && rank != 3)
    raise(PyExc_ValueError,
          "matrix must have shape (K, C), or (N, K, C) for one matrix for each index of x's first "
          "axis, got " +
              shape_text(matrix));
  const npy_intp outputs = PyArray_DIM(matrix, rank - 2), inputs = PyArray_DIM(matrix, rank - 1);
  const auto shapes = [x] { return " for x of shape " + shape_text(x); };
  if (rank == 3 && axis == 0)
    raise(PyExc_ValueError, "axis must not be the first axis if matrix has shape (N, K, C), got " + text(axis) +
                                " with matrix of shape " + shape_text(matrix));
  if (rank == 3 && PyArray_DIM(matrix, 0) != PyArray_DIM(x, 0))
    raise(PyExc_ValueError, "matrix must have " + text(PyArray_DIM(x, 0)) +
                                " matrices, one for each index of x's first axis, got shape " + shape_text(matrix) +
                                shapes());
  const npy_intp channels = PyArray_DIM(x, axis);
  if (channels != inputs)
    raise(PyExc_ValueError, "x must have " + text(inputs) + " channels (axis " + text(axis) + "), got shape " +
                                shape_text(x) + " for matrix of shape " + shape_text(matrix) +
                                channels_remedy(channels, outputs, inputs));
  if (bias != nullptr && (PyArray_NDIM(bias) != 1 || PyArray_DIM(bias, 0) != outputs))
    raise(PyExc_ValueError, "bias must have shape (" + text(outputs) + ",), got " + shape_text(bias) +
                                " for matrix of shape " + shape_text(matrix));
  return rank == 3;
}

// Returns `out` after a check of its shape, or a new array if `out` is null.
Ref result(PyArrayObject* out, PyArrayObject* x, PyArrayObject* matrix, int axis, DType dtype) {
  const int rank = PyArray_NDIM(x);
  std::array<int64_t, most_axes> sizes;
  std::copy(PyArray_DIMS(x), PyArray_DIMS(x) + rank, sizes.begin());
  sizes[static_cast<size_t>(axis)] = PyArray_DIM(matrix, PyArray_NDIM(matrix) - 2);
  if (out == nullptr) return new_result(rank, sizes.data(), dtype);
  bool same = PyArray_NDIM(out) == rank;
  for (int i = 0; same && i < rank; ++i) same = PyArray_DIM(out, i) == sizes[static_cast<size_t>(i)];
  if (!same)
    raise(PyExc_ValueError, "out must have shape " + shape_text(rank, sizes.data()) + ", got " + shape_text(out));
  return Ref::borrow(reinterpret_cast<PyObject*>(out));
}

// Returns the axes of pixels from `first` on, merged. Axes of size 1 are dropped.
Axes pixel_axes(PyArrayObject* x, PyArrayObject* out, int channels, int first) {
  Axes axes;
  for (int i = first; i < PyArray_NDIM(x); ++i) {
    const Axis axis = axis_of(x, out, i);
    if (i == channels || axis.size == 1) continue;
    Axis* const last = axes.last();
    if (last != nullptr && last->src == axis.size * axis.src && last->dst == axis.size * axis.dst)
      *last = {last->size * axis.size, axis.src, axis.dst};
    else
      axes.add(axis);
  }
  return axes;
}

// Computes out = matrix * x for one matrix.
class Product {
 public:
  // `axes` are the axes of pixels. The product keeps references to `bias` (or null) and `axes`, and a view of `matrix`.
  Product(const View& matrix, const View* bias, pointwise::Options options, const Axes& axes)
      : matrix_(matrix), bias_(bias), options_(std::move(options)), axes_(axes) {
    if (loop_axes() > 0) packed_.emplace(matrix_, bias_, options_);
  }

  // Computes the product once. `src` and `dst` are views of layout NDHWC. Only the pointer, the dtype and the channels
  // of these views are used.
  void operator()(View src, View dst) && {
    const size_t outer = loop_axes(), inner = axes_.size() - outer;
    for (size_t i = 0; i < pixel_axes_of_a_layer; ++i) {
      const int to = static_cast<int>(pixel_axes_of_a_layer - 1 - i);
      const Axis axis = i < inner ? axes_[axes_.size() - 1 - i] : Axis{1, 0, 0};
      src.shape[to] = dst.shape[to] = axis.size;
      src.strides[to] = axis.src;
      dst.strides[to] = axis.dst;
    }
    if (outer == 0) {
      Layer::borrowing(matrix_, bias_, std::move(options_))(src, dst);
      return;
    }
    std::vector<npy_intp> at(outer);
    for (;;) {
      (*packed_)(src, dst);
      size_t i = outer;
      for (; i > 0; --i) {
        const Axis& axis = axes_[i - 1];
        const bool last = ++at[i - 1] == axis.size;
        const npy_intp steps = last ? 1 - axis.size : 1;
        src.data = static_cast<char*>(src.data) + steps * axis.src;
        dst.data = static_cast<char*>(dst.data) + steps * axis.dst;
        if (!last) break;
        at[i - 1] = 0;
      }
      if (i == 0) return;
    }
  }

 private:
  static constexpr size_t pixel_axes_of_a_layer = 4;

  // Returns the number of axes over which the product loops.
  size_t loop_axes() const { return axes_.size() > pixel_axes_of_a_layer ? axes_.size() - pixel_axes_of_a_layer : 0; }

  const View matrix_;
  const View* const bias_;
  pointwise::Options options_;
  const Axes& axes_;
  std::optional<Layer> packed_;
};

View view_of_channels(PyArrayObject* array, DType dtype, int axis) {
  View view;
  view.data = PyArray_DATA(array);
  view.dtype = dtype;
  view.shape = {1, 1, 1, 1, PyArray_DIM(array, axis)};
  view.strides[4] = PyArray_STRIDE(array, axis);
  return view;
}

View matrix_view(PyArrayObject* matrix, DType dtype) {
  const int rank = PyArray_NDIM(matrix);
  View view;
  view.data = PyArray_DATA(matrix);
  view.dtype = dtype;
  view.shape = {PyArray_DIM(matrix, rank - 2), PyArray_DIM(matrix, rank - 1)};
  view.strides = {PyArray_STRIDE(matrix, rank - 2), PyArray_STRIDE(matrix, rank - 1)};
  return view;
}

}  // namespace

PyObject* mix(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (count != 7) {
    PyErr_Format(PyExc_TypeError, "_core.mix takes 7 arguments, got %zd", count);
    return nullptr;
  }
  try {
    pointwise::Options options;
    options.layout = "NDHWC";
    options.activation = parse_activation(args[4]);
    options.dst_dtype = result_dtype(args[6]);
    const int64_t given_axis = integer(args[3], "axis");
    const Ref x = source_array(args[0], "x");
    const DType x_dtype = dtype_of(x.array());
    options.dtype = layer_dtype(x_dtype);
    if (options.dst_dtype) check_result_dtype(*options.dst_dtype, x_dtype, "call");
    const Ref matrix = parameter_array(args[1], options.dtype, "matrix");
    Ref bias;
    if (args[2] != Py_None) bias = parameter_array(args[2], sum_dtype(options.dtype), "bias");
    const Converted given(x.array(), {args[0], nullptr, args[5], nullptr},
                          {options.dtype, options.dst_dtype, x_dtype, x_dtype});
    check_settled(matrix.array(), options.dtype, "matrix");
    check_settled(bias.array(), sum_dtype(options.dtype), "bias");

    const int axis = channel_axis(given_axis, x.array());
    const bool many = check_shapes(x.array(), matrix.array(), bias.array(), axis);
    pointwise::validate_activation(options.activation, sum_dtype(options.dtype),
                                   PyArray_DIM(matrix.array(), PyArray_NDIM(matrix.array()) - 2));
    const Ref out = result(given.out, x.array(), matrix.array(), axis, given.result);
    if (given.out)
      check_out(given.out, given_array(args[0], x.array()), nullptr, given_array(args[1], matrix.array()),
                given_array(args[2], bias.array()), nullptr, "matrix");
    const View bias_seen = bias ? bias_view(bias.array()) : View();
    const Axes axes = pixel_axes(x.array(), out.array(), axis, many ? 1 : 0);
    View src = view_of_channels(x.array(), x_dtype, axis), dst = view_of_channels(out.array(), given.result, axis);
    View weights = matrix_view(matrix.array(), options.dtype);
    const Axis images = many ? axis_of(x.array(), out.array(), 0) : Axis{1, 0, 0};
    const npy_intp next_matrix = many ? PyArray_STRIDE(matrix.array(), 0) : 0;
    if (PyArray_SIZE(out.array()) > 0)
      without_gil([&] {
        for (npy_intp n = 0; n < images.size; ++n) {
          Product(weights, bias ? &bias_seen : nullptr, many ? pointwise::Options(options) : std::move(options), axes)(
              src, dst);
          src.data = static_cast<char*>(src.data) + images.src;
          dst.data = static_cast<char*>(dst.data) + images.dst;
          weights.data = static_cast<char*>(weights.data) + next_matrix;
        }
      });
    return Ref::borrow(out.get()).release();
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

}  // namespace pointwise_python
