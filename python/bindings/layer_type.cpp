#include "layer_type.h"

#include <structmember.h>

#include <algorithm>
#include <memory>

#include "alternative_runs.h"
#include "call.h"
#include "gil.h"
#include "measure/internal.h"
#include "options.h"
#include "tuning.h"

namespace pointwise_python {

using pointwise::DType;
using pointwise::info;
using pointwise::Layer;
using pointwise::Shape;
using pointwise::View;

namespace {

struct LayerObject {
  PyObject_HEAD vectorcallfunc vectorcall;
  Layer* layer;
};

PyObject* layer_vectorcall(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* names) {
  CallArguments given;
  if (!parse_call("Conv", true, args, nargsf, names, &given)) return nullptr;
  try {
    const Layer& layer = *reinterpret_cast<LayerObject*>(self)->layer;
    const auto& options = layer.options();
    const Ref x = call_source(given.x, options, "layer");
    const DType x_dtype = dtype_of(x.array());
    const CallTypes types{options.dtype, options.dst_dtype, x_dtype, x_dtype};
    return call(layer, Converted(x.array(), given, types), nullptr, nullptr);
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

// Checks that a layer of the dtype `layer` may give results of the dtype `result`.
void check_layer_result_dtype(DType result, DType layer) {
  if (pointwise::may_give(layer, DType::u8, result)) return;
  raise(PyExc_TypeError, std::string("out_dtype must be ") +
                             (info(layer).sum == DType::f64 ? "float64" : "float32, float16 or bfloat16") +
                             (layer == DType::f32 ? ", or uint8, int8, uint16 or int16," : "") +
                             " for a layer of dtype " + dtype_name(layer) + ", got " + dtype_name(result) +
                             (layer == DType::f32 || info(result).sum != DType::f32 ? "" : ": pass dtype=\"float32\""));
}

// Returns the numbers of a contiguous float32 array.
std::vector<float> scale_numbers(PyArrayObject* array) {
  const auto* const numbers = static_cast<const float*>(PyArray_DATA(array));
  return std::vector<float>(numbers, numbers + PyArray_SIZE(array));
}

PyObject* layer_new(PyTypeObject* type, PyObject* args, PyObject* names) {
  PyObject *weight_object, *bias_object, *layout, *stride, *padding, *groups, *activation, *flush_subnormals,
      *out_dtype, *weight_scales;
  const char* dtype;
  if (names != nullptr && PyDict_GET_SIZE(names) > 0) {
    PyErr_SetString(PyExc_TypeError, "_core.Layer takes no keyword arguments");
    return nullptr;
  }
  if (!PyArg_ParseTuple(args, "OOOOOOOsOOO", &weight_object, &bias_object, &layout, &stride, &padding, &groups,
                        &activation, &dtype, &flush_subnormals, &out_dtype, &weight_scales))
    return nullptr;
  try {
    auto options = parse_options(layout, stride, padding, groups, activation);
    options.dtype = dtype_named(dtype);
    options.flush_subnormals = boolean(flush_subnormals, "flush_subnormals");
    options.dst_dtype = result_dtype(out_dtype);
    if (options.dst_dtype) check_layer_result_dtype(*options.dst_dtype, options.dtype);
    DType weight_dtype = options.dtype;
    Ref scales;
    if (weight_scales != Py_None) {  // weights are int8
      options.weight_dtype = weight_dtype = DType::i8;
      scales = parameter_array(weight_scales, DType::f32, "weight");
      options.weight_scales = scale_numbers(scales.array());
    }
    const Ref weight = parameter_array(weight_object, weight_dtype, "weight");
    Ref bias;
    if (bias_object != Py_None) bias = parameter_array(bias_object, sum_dtype(options.dtype), "bias");
    check_settled(weight.array(), weight_dtype, "weight");
    check_settled(bias.array(), sum_dtype(options.dtype), "bias");
    const View weight_seen = weight_view(weight.array()), bias_seen = bias ? bias_view(bias.array()) : View();
    auto layer = std::make_unique<Layer>(weight_seen, bias ? &bias_seen : nullptr, options);
    Ref self = Ref(type->tp_alloc(type, 0)).checked();
    LayerObject* object = reinterpret_cast<LayerObject*>(self.get());
    object->vectorcall = layer_vectorcall;
    object->layer = layer.release();
    return self.release();
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

void layer_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  delete reinterpret_cast<LayerObject*>(self)->layer;
  type->tp_free(self);
  Py_DECREF(type);
}

// _parameters() -> (weight, bias or None). Both are new arrays. Int8 weights are not multiplied by their scales.
PyObject* layer_parameters(PyObject* self, PyObject*) {
  try {
    const Layer& layer = *reinterpret_cast<LayerObject*>(self)->layer;
    const int type = type_number(layer.options().weight_dtype.value_or(layer.options().dtype));
    npy_intp sizes[] = {layer.c_out(), layer.c_in() / layer.options().groups};
    Ref weight = Ref(PyArray_SimpleNew(2, sizes, type)).checked();
    layer.copy_weights(PyArray_DATA(weight.array()));
    Ref bias = Ref::borrow(Py_None);
    if (layer.has_bias()) {
      bias = Ref(PyArray_SimpleNew(1, sizes, type_number(sum_dtype(layer.options().dtype)))).checked();
      layer.copy_bias(PyArray_DATA(bias.array()));
    }
    return Py_BuildValue("NN", weight.release(), bias.release());
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

// _weight_scales() -> the scales of int8 weights as a new array, or None
PyObject* layer_weight_scales(PyObject* self, PyObject*) {
  try {
    const auto& options = reinterpret_cast<LayerObject*>(self)->layer->options();
    if (!options.weight_dtype) Py_RETURN_NONE;
    npy_intp size = static_cast<npy_intp>(options.weight_scales.size());
    Ref scales = Ref(PyArray_SimpleNew(1, &size, NPY_FLOAT)).checked();
    std::copy(options.weight_scales.begin(), options.weight_scales.end(),
              static_cast<float*>(PyArray_DATA(scales.array())));
    return scales.release();
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

// _arguments() -> (layout, stride, padding, groups, activation, dtype name, flush_subnormals, out_dtype name or None,
// input channels, output channels)
PyObject* layer_arguments(PyObject* self, PyObject*) {
  try {
    const Layer& layer = *reinterpret_cast<LayerObject*>(self)->layer;
    const auto& options = layer.options();
    Ref stride = integers_object(options.stride), padding = integers_object(options.padding);
    Ref activation = activation_object(options.activation);
    return Py_BuildValue("sNNLNsNzLL", options.layout.c_str(), stride.release(), padding.release(),
                         static_cast<long long>(options.groups), activation.release(), dtype_name(options.dtype),
                         PyBool_FromLong(options.flush_subnormals),
                         options.dst_dtype ? dtype_name(*options.dst_dtype) : nullptr,
                         static_cast<long long>(layer.c_in()), static_cast<long long>(layer.c_out()));
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

// _explain(x_shape, dtype name of x or None) -> str
PyObject* layer_explain(PyObject* self, PyObject* args) {
  try {
    const Layer& layer = *reinterpret_cast<LayerObject*>(self)->layer;
    PyObject* shape;
    const char* dtype;
    if (!PyArg_ParseTuple(args, "Oz", &shape, &dtype)) throw PythonError{};
    const std::string text =
        layer.explain(shape_argument(shape, "x_shape", layer.options().layout), optional_source_dtype(dtype));
    return PyUnicode_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
  } catch (...) {
    translate_exception("x_shape");
    return nullptr;
  }
}

// _tune(x_shape, dtype name of x or None, seconds) -> float
PyObject* layer_tune(PyObject* self, PyObject* args) {
  try {
    return tune(*reinterpret_cast<LayerObject*>(self)->layer, args);
  } catch (...) {
    translate_exception("x_shape");
    return nullptr;
  }
}

// _choices() -> [(x_shape, dtype name of x, threads, kernel, pixel axes, packing, tail, serial), ...]
PyObject* layer_choices(PyObject* self, PyObject*) {
  try {
    return choices(*reinterpret_cast<LayerObject*>(self)->layer);
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

// _adopt(choices as _choices() returns them) -> None
PyObject* layer_adopt(PyObject* self, PyObject* list) {
  try {
    adopt(*reinterpret_cast<LayerObject*>(self)->layer, list);
    Py_RETURN_NONE;
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

// _alternatives(x_shape) -> [(description, predicted cycles, run), ...]
PyObject* layer_alternatives(PyObject* self, PyObject* shape) {
  try {
    const Layer& layer = *reinterpret_cast<LayerObject*>(self)->layer;
    return alternative_runs(layer, shape_argument(shape, "x_shape", layer.options().layout));
  } catch (...) {
    translate_exception("x_shape");
    return nullptr;
  }
}

// _expectations(x_shape) -> [(description, predicted cycles), ...]: the alternatives, without functions that run them.
PyObject* layer_expectations(PyObject* self, PyObject* shape) {
  try {
    const Layer& layer = *reinterpret_cast<LayerObject*>(self)->layer;
    const auto ways = pointwise::ways_to_run(layer, shape_argument(shape, "x_shape", layer.options().layout));
    Ref list = Ref(PyList_New(static_cast<Py_ssize_t>(ways.size()))).checked();
    for (size_t i = 0; i < ways.size(); ++i)
      PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i),
                      Ref(Py_BuildValue("sd", ways[i].words.c_str(), ways[i].cycles)).checked().release());
    return list.release();
  } catch (...) {
    translate_exception("x_shape");
    return nullptr;
  }
}

PyMethodDef layer_methods[] = {{"_parameters", layer_parameters, METH_NOARGS, nullptr},
                               {"_weight_scales", layer_weight_scales, METH_NOARGS, nullptr},
                               {"_arguments", layer_arguments, METH_NOARGS, nullptr},
                               {"_explain", layer_explain, METH_VARARGS, nullptr},
                               {"_tune", layer_tune, METH_VARARGS, nullptr},
                               {"_choices", layer_choices, METH_NOARGS, nullptr},
                               {"_adopt", layer_adopt, METH_O, nullptr},
                               {"_alternatives", layer_alternatives, METH_O, nullptr},
                               {"_expectations", layer_expectations, METH_O, nullptr},
                               {nullptr, nullptr, 0, nullptr}};

PyMemberDef layer_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(LayerObject, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot layer_slots[] = {{Py_tp_new, reinterpret_cast<void*>(layer_new)},
                             {Py_tp_dealloc, reinterpret_cast<void*>(layer_dealloc)},
                             {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                             {Py_tp_methods, layer_methods},
                             {Py_tp_members, layer_members},
                             {0, nullptr}};

PyType_Spec layer_spec = {"pointwise._core.Layer", sizeof(LayerObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_VECTORCALL, layer_slots};

}  // namespace

PyObject* make_layer_type() { return PyType_FromSpec(&layer_spec); }

PyObject* inherit_vectorcall(PyObject*, PyObject* args) {
  PyTypeObject* type;
  int at_once;
  if (!PyArg_ParseTuple(args, "O!p", &PyType_Type, &type, &at_once)) return nullptr;
  if (type->tp_vectorcall_offset > 0 && PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE)) {
    type->tp_call = PyVectorcall_Call;
    if (at_once) type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
  }
  Py_RETURN_NONE;
}

const Layer* layer_of(PyObject* object, PyObject* type) {
  return PyObject_TypeCheck(object, reinterpret_cast<PyTypeObject*>(type))
             ? reinterpret_cast<LayerObject*>(object)->layer
             : nullptr;
}

PyObject* conv(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (count != 12) {
    PyErr_Format(PyExc_TypeError, "_core.conv takes 12 arguments, got %zd", count);
    return nullptr;
  }
  try {
    auto options = parse_options(args[3], args[4], args[5], args[6], args[7]);
    options.dst_dtype = result_dtype(args[11]);
    const Ref x = source_array(args[0], "x");
    const DType x_dtype = dtype_of(x.array());
    options.dtype = layer_dtype(x_dtype);
    if (options.dst_dtype) check_result_dtype(*options.dst_dtype, x_dtype, "call");
    const Ref weight = parameter_array(args[1], options.dtype, "weight");
    Ref bias;
    if (args[2] != Py_None) bias = parameter_array(args[2], sum_dtype(options.dtype), "bias");
    const Converted given(x.array(), {args[0], args[8], args[9], args[10]},
                          {options.dtype, options.dst_dtype, x_dtype, x_dtype});
    check_settled(weight.array(), options.dtype, "weight");
    check_settled(bias.array(), sum_dtype(options.dtype), "bias");
    const View weight_seen = weight_view(weight.array()), bias_seen = bias ? bias_view(bias.array()) : View();
    const Layer layer = Layer::borrowing(weight_seen, bias ? &bias_seen : nullptr, options);
    return call(layer, given, given_array(args[1], weight.array()), given_array(args[2], bias.array()));
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

}  // namespace pointwise_python
