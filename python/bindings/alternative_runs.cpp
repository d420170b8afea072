#include "alternative_runs.h"

#include <memory>

#include "gil.h"
#include "measure/internal.h"

namespace pointwise_python {

using pointwise::Alternatives;
using pointwise::DType;
using pointwise::Shape;

namespace {

constexpr const char* capsule_name = "pointwise._core.alternative";

// One alternative. All alternatives of a layer share `alternatives`, which holds the weights.
struct Run {
  std::shared_ptr<const Alternatives> alternatives;
  size_t index;
  DType dtype;
  Shape x, out;
};

char* data_of(PyObject* object, const char* name, DType dtype, const Shape& shape, bool written) {
  PyArrayObject* array = reinterpret_cast<PyArrayObject*>(object);
  bool fits = PyArray_Check(object) && PyArray_TYPE(array) == type_number(dtype) && PyArray_ISNOTSWAPPED(array) &&
              PyArray_IS_C_CONTIGUOUS(array) && (!written || PyArray_ISWRITEABLE(array)) &&
              PyArray_NDIM(array) == shape.rank;
  for (int i = 0; fits && i < shape.rank; ++i) fits = PyArray_DIM(array, i) == shape[i];
  if (fits) return PyArray_BYTES(array);
  const std::string wanted = std::string(name) + " must be a C-contiguous" + (written ? ", writable " : " ") +
                             dtype_name(dtype) + " array of shape " + pointwise::to_string(shape) + ", got ";
  if (!PyArray_Check(object)) raise(PyExc_TypeError, wanted + Py_TYPE(object)->tp_name);
  const Ref sizes = Ref(PyArray_IntTupleFromIntp(PyArray_NDIM(array), PyArray_DIMS(array))).checked();
  PyErr_Format(PyExc_ValueError, "%s%S of shape %S%s%s", wanted.c_str(), PyArray_DESCR(array), sizes.get(),
               PyArray_IS_C_CONTIGUOUS(array) ? "" : ", not C-contiguous",
               PyArray_ISWRITEABLE(array) ? "" : ", read-only");
  throw PythonError{};
}

PyObject* run(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  if (count != 2) {
    PyErr_Format(PyExc_TypeError, "an alternative takes x and out, got %zd arguments", count);
    return nullptr;
  }
  try {
    const Run* given = static_cast<const Run*>(PyCapsule_GetPointer(self, capsule_name));
    if (given == nullptr) throw PythonError{};
    const char* x = data_of(args[0], "x", given->dtype, given->x, false);
    char* out = data_of(args[1], "out", given->dtype, given->out, true);
    without_gil([&] { given->alternatives->run(given->index, x, out); });
    Py_RETURN_NONE;
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

void end(PyObject* capsule) { delete static_cast<Run*>(PyCapsule_GetPointer(capsule, capsule_name)); }

PyMethodDef run_method = {"alternative", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(run)),
                          METH_FASTCALL, nullptr};

}  // namespace

PyObject* alternative_runs(const pointwise::Layer& layer, const Shape& x_shape) {
  const auto all = std::make_shared<const Alternatives>(layer, x_shape);
  const Py_ssize_t count = static_cast<Py_ssize_t>(all->all().size());
  Ref list = Ref(PyList_New(count)).checked();
  for (Py_ssize_t i = 0; i < count; ++i) {
    const pointwise::Alternative& alternative = all->all()[i];
    auto given =
        std::make_unique<Run>(Run{all, static_cast<size_t>(i), layer.options().dtype, x_shape, all->dst_shape()});
    const Ref capsule = Ref(PyCapsule_New(given.get(), capsule_name, end)).checked();
    given.release();
    Ref function = Ref(PyCFunction_NewEx(&run_method, capsule.get(), nullptr)).checked();
    PyObject* item = Py_BuildValue("sdN", alternative.words.c_str(), alternative.cycles, function.release());
    PyList_SET_ITEM(list.get(), i, Ref(item).checked().release());
  }
  return list.release();
}

}  // namespace pointwise_python
