#include "quantized.h"

#include <structmember.h>

#include <memory>

#include "call.h"
#include "gil.h"
#include "measure/internal.h"
#include "options.h"
#include "results.h"

namespace pointwise_python {

using pointwise::Argument;
using pointwise::DType;
using pointwise::QuantizedLayer;
using pointwise::Shape;
using pointwise::View;

namespace {

struct QuantizedObject {
  PyObject_HEAD vectorcallfunc vectorcall;
  QuantizedLayer* layer;
};

// Parses (x, out=None). If the arguments are wrong, sets a TypeError and returns false.
bool parse(PyObject* const* args, size_t nargsf, PyObject* names, PyObject** x, PyObject** out) {
  static const char* const words[] = {"x", "out"};
  PyObject** const values[] = {x, out};
  const Py_ssize_t positional = PyVectorcall_NARGS(nargsf);
  const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  if (positional > 2) {
    PyErr_Format(PyExc_TypeError, "QConv.__call__ takes x and out, got %zd positional arguments", positional);
    return false;
  }
  for (Py_ssize_t i = 0; i < positional; ++i) *values[i] = args[i];
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* const name = PyTuple_GET_ITEM(names, i);
    int at = 0;
    while (at < 2 && PyUnicode_CompareWithASCIIString(name, words[at]) != 0) ++at;
    if (at == 2) {
      PyErr_Format(PyExc_TypeError, "QConv.__call__ takes x and out, got an unexpected argument %R", name);
      return false;
    }
    if (*values[at] != nullptr) {
      PyErr_Format(PyExc_TypeError, "QConv.__call__ got two values for %s", words[at]);
      return false;
    }
    *values[at] = args[positional + i];
  }
  if (*x == nullptr) PyErr_SetString(PyExc_TypeError, "QConv.__call__ needs x");
  return *x != nullptr;
}

// Calls a layer or a chain, whose first and last layers are given.
template <class Operation>
PyObject* run(const Operation& operation, const QuantizedLayer& first, const QuantizedLayer& last, PyObject* x_object,
              PyObject* out_object) {
  const auto& options = first.options();
  const DType x_dtype = first.quantization().src, y_dtype = last.quantization().dst;
  const Ref x = quantized_array(x_object, x_dtype, "x");
  PyArrayObject* const out =
      out_object == nullptr || out_object == Py_None ? nullptr : reinterpret_cast<PyArrayObject*>(out_object);
  if (out) check_dtype(out_object, {y_dtype}, "out");
  check_settled(x.array(), x_dtype, "x");
  check_settled(out, y_dtype, "out");

  const View src = source_view(x.array(), options.layout);
  const Shape shape = operation.output_shape(src.shape);
  Ref result;
  if (out) {
    result = Ref::borrow(out_object);
    pointwise::validate_shape(Argument::dst, view_of(out, "out", options.layout).shape, shape);
    check_out(out, x.array(), nullptr, nullptr, nullptr, nullptr);
  } else {
    result = new_result(shape.rank, shape.size.data(), y_dtype);
  }
  const View dst = view_of(result.array(), "out", options.layout);
  without_gil([&] { operation(src, dst); });
  return result.release();
}

PyObject* quantized_vectorcall(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* names) {
  PyObject *x = nullptr, *out = nullptr;
  if (!parse(args, nargsf, names, &x, &out)) return nullptr;
  try {
    const QuantizedLayer& layer = *reinterpret_cast<QuantizedObject*>(self)->layer;
    return run(layer, layer, layer, x, out);
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

// Returns the dtype with this name, one of `dtypes`.
DType dtype_among(const char* name, std::initializer_list<DType> dtypes) {
  for (const DType dtype : dtypes)
    if (std::string(name) == dtype_name(dtype)) return dtype;
  raise(PyExc_TypeError, std::string("dtype must be one of a quantized layer, got ") + name);
}

// Returns the numbers of an array with one axis.
template <class T>
std::vector<T> numbers_of(PyObject* object, int type, const char* name) {
  if (!PyArray_CheckExact(object) || PyArray_NDIM(reinterpret_cast<PyArrayObject*>(object)) != 1 ||
      PyArray_TYPE(reinterpret_cast<PyArrayObject*>(object)) != type)
    raise(PyExc_TypeError, std::string(name) + " must be an array with one axis, got " + Py_TYPE(object)->tp_name);
  PyArrayObject* const array = reinterpret_cast<PyArrayObject*>(object);
  std::vector<T> numbers;
  for (npy_intp i = 0; i < PyArray_DIM(array, 0); ++i)
    numbers.push_back(*static_cast<const T*>(PyArray_GETPTR1(array, i)));
  return numbers;
}

PyObject* quantized_new(PyTypeObject* type, PyObject* args, PyObject* names) {
  PyObject *weight_object, *bias_object, *layout, *stride, *padding, *groups, *activation, *scales, *zeros;
  const char *x_dtype, *y_dtype;
  pointwise::Quantization quantization;
  if (names != nullptr && PyDict_GET_SIZE(names) > 0) {
    PyErr_SetString(PyExc_TypeError, "_core.QLayer takes no keyword arguments");
    return nullptr;
  }
  if (!PyArg_ParseTuple(args, "OOOOOOOssfiOOfi", &weight_object, &bias_object, &layout, &stride, &padding, &groups,
                        &activation, &x_dtype, &y_dtype, &quantization.src_scale, &quantization.src_zero, &scales,
                        &zeros, &quantization.dst_scale, &quantization.dst_zero))
    return nullptr;
  try {
    const auto options = parse_options(layout, stride, padding, groups, activation);
    quantization.src = dtype_among(x_dtype, {DType::u8, DType::i8});
    quantization.dst = dtype_among(y_dtype, {DType::u8, DType::i8, DType::i32});
    quantization.weight_scales = numbers_of<float>(scales, NPY_FLOAT, "weight scales");
    quantization.weight_zeros = numbers_of<int>(zeros, NPY_INT, "weight zero points");
    const DType weight_dtype = check_dtype(weight_object, {DType::u8, DType::i8}, "weight");
    PyArrayObject *const weight = reinterpret_cast<PyArrayObject*>(weight_object),
                         *const bias = bias_object == Py_None ? nullptr : reinterpret_cast<PyArrayObject*>(bias_object);
    if (bias) check_dtype(bias_object, {DType::i32}, "bias");
    check_settled(weight, weight_dtype, "weight");
    check_settled(bias, DType::i32, "bias");
    const View weight_seen = weight_view(weight), bias_seen = bias ? bias_view(bias) : View();
    auto layer = std::make_unique<QuantizedLayer>(weight_seen, bias ? &bias_seen : nullptr, options, quantization);
    Ref self = Ref(type->tp_alloc(type, 0)).checked();
    QuantizedObject* object = reinterpret_cast<QuantizedObject*>(self.get());
    object->vectorcall = quantized_vectorcall;
    object->layer = layer.release();
    return self.release();
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

void quantized_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  delete reinterpret_cast<QuantizedObject*>(self)->layer;
  type->tp_free(self);
  Py_DECREF(type);
}

// _arguments() -> (layout, stride, padding, groups, activation, input channels)
PyObject* quantized_arguments(PyObject* self, PyObject*) {
  try {
    const QuantizedLayer& layer = *reinterpret_cast<QuantizedObject*>(self)->layer;
    const auto& options = layer.options();
    Ref stride = integers_object(options.stride), padding = integers_object(options.padding),
        activation = activation_object(options.activation);
    return Py_BuildValue("sNNLNL", options.layout.c_str(), stride.release(), padding.release(),
                         static_cast<long long>(options.groups), activation.release(),
                         static_cast<long long>(layer.c_in()));
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

// _explain(x_shape) -> str
PyObject* quantized_explain(PyObject* self, PyObject* shape) {
  try {
    const QuantizedLayer& layer = *reinterpret_cast<QuantizedObject*>(self)->layer;
    const std::string text = layer.explain(shape_argument(shape, "x_shape", layer.options().layout));
    return PyUnicode_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
  } catch (...) {
    translate_exception("x_shape");
    return nullptr;
  }
}

PyMethodDef quantized_methods[] = {{"_arguments", quantized_arguments, METH_NOARGS, nullptr},
                                   {"_explain", quantized_explain, METH_O, nullptr},
                                   {nullptr, nullptr, 0, nullptr}};

PyMemberDef quantized_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(QuantizedObject, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot quantized_slots[] = {{Py_tp_new, reinterpret_cast<void*>(quantized_new)},
                                 {Py_tp_dealloc, reinterpret_cast<void*>(quantized_dealloc)},
                                 {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                                 {Py_tp_methods, quantized_methods},
                                 {Py_tp_members, quantized_members},
                                 {0, nullptr}};

PyType_Spec quantized_spec = {"pointwise._core.QLayer", sizeof(QuantizedObject), 0,
                              Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_VECTORCALL, quantized_slots};

}  // namespace

PyObject* make_quantized_type() { return PyType_FromSpec(&quantized_spec); }

const QuantizedLayer* quantized_layer_of(PyObject* object, PyObject* type) {
  return PyObject_TypeCheck(object, reinterpret_cast<PyTypeObject*>(type))
             ? reinterpret_cast<QuantizedObject*>(object)->layer
             : nullptr;
}

PyObject* call_quantized(const pointwise::QuantizedChain& chain, PyObject* x, PyObject* out) {
  return run(chain, *chain.layers().front(), *chain.layers().back(), x, out);
}

}  // namespace pointwise_python
