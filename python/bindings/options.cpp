#include "options.h"

#include <cstring>
#include <vector>

#include "gil.h"

namespace pointwise_python {

using pointwise::Activation;
using pointwise::Options;
using pointwise::Shape;

namespace {

std::string type_name(PyObject* object) { return Py_TYPE(object)->tp_name; }

std::string repr(PyObject* object) {
  const Ref text = call_function("shown", "O", object);
  const char* utf8 = PyUnicode_AsUTF8(text.get());
  if (utf8 == nullptr) throw PythonError{};
  return utf8;
}

// Returns the layout in upper case, and with W in place of L (length). If there is no such layout, returns `name`.
std::string known_layout(const std::string& name) {
  std::string changed = name;
  for (char& c : changed) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (c == 'L') c = 'W';
  }
  if (changed == name) return name;
  try {
    pointwise::spatial_axes(changed);
    return changed;
  } catch (const pointwise::Error&) {
    return name;
  }
}

std::string layout_name(PyObject* object) {
  if (!PyUnicode_Check(object)) raise(PyExc_TypeError, "layout must be a string, got " + type_name(object));
  Py_ssize_t size;
  const char* utf8 = PyUnicode_AsUTF8AndSize(object, &size);
  if (utf8 == nullptr) {  // the string has a lone surrogate
    PyErr_Clear();
    raise(PyExc_ValueError, "layout must be a name such as \"NCHW\", got " + repr(object));
  }
  if (size > 100) raise(PyExc_ValueError, "layout must be a name such as \"NCHW\", got " + repr(object));
  return known_layout(std::string(utf8, static_cast<size_t>(size)));
}

// Returns one integer, or one for each spatial axis.
std::vector<int64_t> per_axis(PyObject* object, const char* name, const std::string& layout) {
  // An array with one axis has an __index__, too, but this always fails.
  const bool array = PyArray_Check(object) && PyArray_NDIM(reinterpret_cast<PyArrayObject*>(object)) == 1;
  const bool text = PyUnicode_Check(object) || PyBytes_Check(object);
  if (!array && (PyIndex_Check(object) || text || !PySequence_Check(object))) return {integer(object, name)};
  Ref items = Ref(in_python([&] { return PySequence_Tuple(object); })).checked();
  const Py_ssize_t count = PyTuple_GET_SIZE(items.get());
  const int spatial = pointwise::spatial_axes(layout);
  if (count != spatial)
    raise(PyExc_ValueError, std::string(name) + " must be one integer, or one for each of the " +
                                std::to_string(spatial) + " spatial axes of " + layout + ", got " + repr(object));
  std::vector<int64_t> values;
  for (Py_ssize_t i = 0; i < count; ++i) values.push_back(integer(PyTuple_GET_ITEM(items.get(), i), name));
  return values;
}

// Names in the order of Activation::Kind.
constexpr const char* activation_names[] = {"none",      "relu",     "relu6", "clip",        "leaky_relu", "elu",
                                            "sigmoid",   "tanh",     "silu",  "hardsigmoid", "hardswish",  "gelu",
                                            "gelu_tanh", "softplus", "mish",  "prelu"};
static_assert(sizeof(activation_names) / sizeof(activation_names[0]) == Activation::kinds, "every kind has a name");

}  // namespace

int64_t integer(PyObject* object, const char* name) {
  Ref index(in_python([&] { return PyNumber_Index(object); }));
  if (!index) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw PythonError{};
    PyErr_Clear();
    raise(PyExc_TypeError, std::string(name) + " must be an integer, got " + type_name(object));
  }
  int overflow;
  const long long value = PyLong_AsLongLongAndOverflow(index.get(), &overflow);
  if (overflow)
    raise(PyExc_ValueError, std::string(name) + " must be within the range of int64, got " +
                                (overflow > 0 ? "a larger integer" : "a smaller integer"));
  if (value == -1 && PyErr_Occurred()) throw PythonError{};
  return value;
}

bool boolean(PyObject* object, const char* name) {
  if (!PyBool_Check(object) && !PyArray_IsScalar(object, Bool))
    raise(PyExc_TypeError, std::string(name) + " must be a bool, got " + type_name(object));
  return PyObject_IsTrue(object) == 1;
}

Activation parse_activation(PyObject* object) {
  if (object == Py_None) return Activation::none();
  if (PyUnicode_Check(object) && PyUnicode_CompareWithASCIIString(object, "relu") == 0) return Activation::relu();
  const Ref parsed = call_function("parse_activation", "O", object);
  const char* name;
  Activation activation;
  const char* slopes;
  Py_ssize_t bytes;
  if (!PyArg_ParseTuple(parsed.get(), "sddy#", &name, &activation.a, &activation.b, &slopes, &bytes))
    throw PythonError{};
  int kind = 0;
  while (kind < Activation::kinds && std::strcmp(name, activation_names[kind]) != 0) ++kind;
  if (kind == Activation::kinds) raise(PyExc_ValueError, "activation must be a name, got " + repr(object));
  activation.kind = static_cast<Activation::Kind>(kind);
  activation.slopes.resize(static_cast<size_t>(bytes) / sizeof(double));
  if (bytes > 0) std::memcpy(activation.slopes.data(), slopes, activation.slopes.size() * sizeof(double));
  return activation;
}

Shape shape_argument(PyObject* object, const char* name, const std::string& layout) {
  const Ref iterator(in_python([&] { return PyObject_GetIter(object); }));
  if (!iterator) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw PythonError{};
    PyErr_Clear();
    raise(PyExc_TypeError, std::string(name) + " must be a tuple of integers, got " + Py_TYPE(object)->tp_name);
  }
  const Ref items = Ref(in_python([&] { return PySequence_Tuple(iterator.get()); })).checked();
  const Py_ssize_t rank = PyTuple_GET_SIZE(items.get());
  if (rank != static_cast<Py_ssize_t>(layout.size()))
    raise(PyExc_ValueError, std::string(name) + " must have the " + std::to_string(layout.size()) + " axes of layout " +
                                layout + ", got " + std::to_string(rank));
  Shape shape;
  shape.rank = static_cast<int>(rank);
  for (int i = 0; i < shape.rank; ++i) shape[i] = integer(PyTuple_GET_ITEM(items.get(), i), name);
  return shape;
}

Options parse_options(PyObject* layout, PyObject* stride, PyObject* padding, PyObject* groups, PyObject* activation) {
  Options options;
  options.layout = layout_name(layout);
  options.stride = per_axis(stride, "stride", options.layout);
  options.padding = per_axis(padding, "padding", options.layout);
  options.groups = integer(groups, "groups");
  options.activation = parse_activation(activation);
  return options;
}

Ref integers_object(const std::vector<int64_t>& values) {
  if (values.size() == 1) return Ref(PyLong_FromLongLong(values[0])).checked();
  Ref tuple = Ref(PyTuple_New(static_cast<Py_ssize_t>(values.size()))).checked();
  for (size_t i = 0; i < values.size(); ++i)
    PyTuple_SET_ITEM(tuple.get(), static_cast<Py_ssize_t>(i), Ref(PyLong_FromLongLong(values[i])).checked().release());
  return tuple;
}

Ref activation_object(const Activation& activation) {
  const char* name = activation_names[static_cast<int>(activation.kind)];
  const auto with_parameters = [&](const char* format) {
    return Ref(Py_BuildValue(format, name, activation.a, activation.b)).checked();
  };
  switch (activation.kind) {
    case Activation::Kind::none: return Ref::borrow(Py_None);
    case Activation::Kind::clip: return with_parameters("(sdd)");
    case Activation::Kind::leaky_relu:
    case Activation::Kind::elu: return with_parameters("(sd)");
    case Activation::Kind::prelu: {
      Ref slopes = Ref(PyTuple_New(static_cast<Py_ssize_t>(activation.slopes.size()))).checked();
      for (size_t i = 0; i < activation.slopes.size(); ++i)
        PyTuple_SET_ITEM(slopes.get(), static_cast<Py_ssize_t>(i),
                         Ref(PyFloat_FromDouble(activation.slopes[i])).checked().release());
      return Ref(Py_BuildValue("(sN)", name, slopes.release())).checked();
    }
    default: return Ref(PyUnicode_FromString(name)).checked();
  }
}

}  // namespace pointwise_python
