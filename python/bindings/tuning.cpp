#include "tuning.h"

#include <vector>

#include "gil.h"
#include "options.h"

namespace pointwise_python {

using pointwise::Choice;
using pointwise::DType;
using pointwise::Layer;
using pointwise::Shape;

std::optional<DType> optional_source_dtype(const char* name) {
  if (name == nullptr) return std::nullopt;
  return source_dtype_named(name);
}

PyObject* tune(const Layer& layer, PyObject* args) {
  PyObject* shape_object;
  const char* dtype;
  double seconds;
  if (!PyArg_ParseTuple(args, "Ozd", &shape_object, &dtype, &seconds)) throw PythonError{};
  const Shape shape = shape_argument(shape_object, "x_shape", layer.options().layout);
  const std::optional<DType> x_dtype = optional_source_dtype(dtype);
  double gain = 1;
  without_gil([&] { gain = layer.tune(shape, x_dtype, seconds); });
  return PyFloat_FromDouble(gain);
}

PyObject* choices(const Layer& layer) {
  const std::vector<Choice> all = layer.choices();
  Ref list = Ref(PyList_New(0)).checked();
  for (const Choice& choice : all) {
    Ref shape = Ref(PyTuple_New(choice.src_shape.rank)).checked();
    for (int i = 0; i < choice.src_shape.rank; ++i)
      PyTuple_SET_ITEM(shape.get(), i, Ref(PyLong_FromLongLong(choice.src_shape[i])).checked().release());
    const Ref item = Ref(Py_BuildValue("NsisisLN", shape.release(), dtype_name(choice.src_dtype), choice.threads,
                                       choice.kernel.c_str(), choice.pixel_axes, choice.packing.c_str(),
                                       static_cast<long long>(choice.tail), PyBool_FromLong(choice.serial)))
                         .checked();
    if (PyList_Append(list.get(), item.get()) < 0) throw PythonError{};
  }
  return list.release();
}

void adopt(const Layer& layer, PyObject* list) {
  const Ref items = Ref(PySequence_Tuple(list)).checked();
  std::vector<Choice> found;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items.get()); ++i) {
    PyObject* const item = PyTuple_GET_ITEM(items.get(), i);
    if (!PyTuple_Check(item)) raise(PyExc_TypeError, "a choice must be a tuple");
    PyObject* shape;
    const char *dtype, *kernel, *packing;
    long long tail;
    int serial;
    Choice choice;
    if (!PyArg_ParseTuple(item, "OsisisLp", &shape, &dtype, &choice.threads, &kernel, &choice.pixel_axes, &packing,
                          &tail, &serial))
      throw PythonError{};
    choice.src_shape = shape_argument(shape, "x_shape", layer.options().layout);
    choice.src_dtype = source_dtype_named(dtype);
    choice.kernel = kernel;
    choice.packing = packing;
    choice.tail = tail;
    choice.serial = serial != 0;
    found.push_back(choice);
  }
  layer.adopt(found);
}

}  // namespace pointwise_python
