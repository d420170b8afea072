// ndarray <-> View: what may be passed without a copy, and what is refused.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL pointwise_numpy_api
#ifndef POINTWISE_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include <string>

#include "pointwise/pointwise.h"

namespace pointwise_python {

// A Python exception is set: thrown through C++ code, caught at the edge.
struct PythonError {};

// Sets `type` with this message, and throws.
[[noreturn]] void raise(PyObject* type, const std::string& message);
// Sets the Python exception that belongs to the C++ exception being handled. Call it in a catch block. `src`: what the
// user calls the core's src.
void translate_exception(const char* src = "x");

// An owned reference.
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
  // The reference itself, or PythonError where it is null.
  Ref&& checked() && {
    if (p_ == nullptr) throw PythonError{};
    return static_cast<Ref&&>(*this);
  }

 private:
  PyObject* p_ = nullptr;
};

// Keeps a dictionary of the Python functions that call_function calls. The package passes it when it is imported: code
// that is not on the hot path is written in Python.
PyObject* use_functions(PyObject* module, PyObject* functions);

// Calls one of them, with arguments in Py_BuildValue's format.
Ref call_function(const char* name, const char* format, ...);

int type_number(pointwise::DType dtype);
pointwise::DType dtype_of(PyArrayObject* array);
const char* dtype_name(pointwise::DType dtype);
pointwise::DType dtype_named(const std::string& name);  // one that is built

// The dtype of a layer for x of this dtype: that of the sums.
pointwise::DType layer_dtype(pointwise::DType x);

// An ndarray of a dtype that is built, in native byte order, from whatever numpy.asarray takes.
Ref source_array(PyObject* object, const char* name);
// weight or bias as an ndarray of this dtype: cast where numpy.can_cast(..., "same_kind").
Ref parameter_array(PyObject* object, pointwise::DType dtype, const char* name);

// That an array (or null) is still what it was when it was converted. Converting an argument can run the user's code,
// which can do anything to the arguments before it: shapes and addresses are looked at behind the last conversion, and
// behind this.
void check_settled(PyArrayObject* array, pointwise::DType dtype, const char* name);

// The array's shape and strides, in the axes of `layout`.
pointwise::View view_of(PyArrayObject* array, const char* name, const std::string& layout);
// weight with its trailing axes of length 1 taken off, and bias.
pointwise::View weight_view(PyArrayObject* array);
pointwise::View bias_view(PyArrayObject* array);
// input_scale, with its spatial axes of length 1, where it has them, taken off.
pointwise::View scale_view(PyArrayObject* array, const std::string& layout);

// That `object` is an ndarray of this dtype, as `name` must be.
void check_same_dtype(PyObject* object, pointwise::DType dtype, const char* name);
// That `out` can take a result, sharing no element with the others (null where there are none), `residual` excepted
// when it is the same memory, shape and strides.
void check_out(PyArrayObject* out, PyArrayObject* x, PyArrayObject* residual, PyArrayObject* weight,
               PyArrayObject* bias, PyArrayObject* input_scale);

}  // namespace pointwise_python
