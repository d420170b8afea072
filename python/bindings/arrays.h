// Converts and checks array arguments, and makes Views of NumPy arrays.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL pointwise_numpy_api
#ifndef POINTWISE_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "pointwise/pointwise.h"

namespace pointwise_python {

// Thrown after a Python exception was set. Caught where control returns to Python.
struct PythonError {};

// Sets a Python exception of this type with this message, and throws PythonError.
[[noreturn]] void raise(PyObject* type, const std::string& message);
// Sets the Python exception for the C++ exception that is being handled. Must be called in a catch block. `src` is the
// name that the Python function gives to the C++ argument src.
void translate_exception(const char* src = "x");

// An owned reference, or null.
class Ref {
 public:
  Ref() = default;
  explicit Ref(PyObject* owned) : p_(owned) {}
  Ref(Ref&& o) noexcept : p_(o.release()) {}
  Ref& operator=(Ref&& o) noexcept {
    PyObject* old = p_;
    p_ = o.release();
    Py_XDECREF(old);
    return *this;
  }
  Ref(const Ref&) = delete;
  Ref& operator=(const Ref&) = delete;
  ~Ref() { Py_XDECREF(p_); }
  // Takes a new reference.
  static Ref borrow(PyObject* p) {
    Py_XINCREF(p);
    return Ref(p);
  }
  PyObject* get() const { return p_; }
  PyArrayObject* array() const { return reinterpret_cast<PyArrayObject*>(p_); }
  PyObject* release() {
    PyObject* p = p_;
    p_ = nullptr;
    return p;
  }
  explicit operator bool() const { return p_ != nullptr; }
  // Returns the reference. Throws PythonError if it is null.
  Ref&& checked() && {
    if (p_ == nullptr) throw PythonError{};
    return static_cast<Ref&&>(*this);
  }

 private:
  PyObject* p_ = nullptr;
};

// Keeps a dictionary of the Python functions that call_function may call. The package passes this dictionary at import.
// Python functions do the work that does not have to be fast.
PyObject* use_functions(PyObject* module, PyObject* functions);

// Calls the function `name` of that dictionary, with arguments in the format of Py_BuildValue.
Ref call_function(const char* name, const char* format, ...);

int type_number(pointwise::DType dtype);
pointwise::DType dtype_of(PyArrayObject* array);
const char* dtype_name(pointwise::DType dtype);
pointwise::DType dtype_named(const std::string& name);         // any dtype of a layer
pointwise::DType source_dtype_named(const std::string& name);  // any dtype of x

// Returns the dtype of a layer for x of dtype `x`.
pointwise::DType layer_dtype(pointwise::DType x);
// Returns the dtype of the sums and of the bias.
pointwise::DType sum_dtype(pointwise::DType dtype);
// Returns the dtype as Python code.
std::string dtype_code(pointwise::DType dtype);

// Returns `object` as an ndarray in native byte order, of a dtype that x may have. Accepts everything that
// numpy.asarray accepts.
Ref source_array(PyObject* object, const char* name);
// Returns weight, bias or input_scale as an ndarray of this dtype. Casts if numpy.can_cast allows it as "same_kind".
Ref parameter_array(PyObject* object, pointwise::DType dtype, const char* name);

// Returns the array that a check for overlaps must use. This is `object` if it is an ndarray, because `converted` may
// be a copy of it. Otherwise it is `converted`. Returns null if `converted` is null.
PyArrayObject* given_array(PyObject* object, PyArrayObject* converted);

// Returns `object` as an ndarray of this 8-bit dtype.
Ref quantized_array(PyObject* object, pointwise::DType dtype, const char* name);

// Checks that an array (or null) still has the dtype that it had after its conversion. The conversion of a later
// argument may run code of the user, and that code may change arrays. So shapes and addresses are read only after the
// last conversion and this check.
void check_settled(PyArrayObject* array, pointwise::DType dtype, const char* name);

// Returns a shape as NumPy writes it: (1, 32, 10, 10).
std::string shape_text(PyArrayObject* array);
std::string shape_text(int rank, const int64_t* sizes);

// Returns a view of the array. Checks that it has the axes of `layout`.
pointwise::View view_of(PyArrayObject* array, const char* name, const std::string& layout);
// Returns a view of x, which may have any number of axes up to max_rank.
pointwise::View source_view(PyArrayObject* array, const std::string& layout);
// Returns a view of weight without its trailing axes of length 1.
pointwise::View weight_view(PyArrayObject* array);
pointwise::View bias_view(PyArrayObject* array);
// Returns a view of input_scale without its spatial axes, which must have length 1.
pointwise::View scale_view(PyArrayObject* array, const std::string& layout);

// Checks that `object`, the argument `name`, is an ndarray of one of these dtypes, and returns its dtype.
pointwise::DType check_dtype(PyObject* object, const std::vector<pointwise::DType>& dtypes, const char* name);
// Returns the dtype that an argument out_dtype names, or nothing for None.
std::optional<pointwise::DType> result_dtype(PyObject* out_dtype);
// Checks that results may have the dtype `result` if x has the dtype `x`. `who` names the caller for the message:
// "call" for conv and mix, otherwise "layer" or "chain".
void check_result_dtype(pointwise::DType result, pointwise::DType x, const char* who);
// Checks that `out` is writable, and that it shares no element with the other arrays, which may be null. Pass the
// arrays of the user, not copies (see given_array). `residual` may be the same memory with the same shape and strides.
// `weight_name` is the name that the Python function gives to `weight`.
void check_out(PyArrayObject* out, PyArrayObject* x, PyArrayObject* residual, PyArrayObject* weight,
               PyArrayObject* bias, PyArrayObject* input_scale, const char* weight_name = "weight");

}  // namespace pointwise_python
