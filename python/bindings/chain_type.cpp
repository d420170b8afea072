#include "chain_type.h"

#include <structmember.h>

#include <memory>
#include <vector>

#include "call.h"
#include "layer_type.h"
#include "options.h"
#include "quantized.h"

namespace pointwise_python {

using pointwise::Chain;
using pointwise::Layer;
using pointwise::QuantizedChain;
using pointwise::QuantizedLayer;

namespace {

struct ChainObject {
  PyObject_HEAD vectorcallfunc vectorcall;
  Chain* chain;               // null for quantized layers
  QuantizedChain* quantized;  // null for other layers
  PyObject* layers;           // a tuple, which keeps the layers of the chain alive
};

// Set once, by make_chain_type.
PyObject *layer_type_object = nullptr, *quantized_type_object = nullptr;

PyObject* chain_vectorcall(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* names) {
  CallArguments given;
  if (!parse_call("Chain", false, args, nargsf, names, &given)) return nullptr;
  try {
    const ChainObject* const object = reinterpret_cast<ChainObject*>(self);
    if (object->quantized != nullptr) {
      if (given.residual != nullptr && given.residual != Py_None)
        raise(PyExc_TypeError,
              "residual must be None for a chain of QConv, got " + std::string(Py_TYPE(given.residual)->tp_name));
      return call_quantized(*object->quantized, given.x, given.out);
    }
    const Chain& chain = *object->chain;
    const auto &first = chain.options(), &last = chain.last_options();
    const Ref x = call_source(given.x, first, "chain");
    const auto x_dtype = dtype_of(x.array());
    const CallTypes types{last.dtype, last.dst_dtype, chain.last_src_dtype(x_dtype), x_dtype};
    return call(chain, Converted(x.array(), given, types));
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

PyObject* chain_new(PyTypeObject* type, PyObject* args, PyObject* names) {
  PyObject* layers;
  if (names != nullptr && PyDict_GET_SIZE(names) > 0) {
    PyErr_SetString(PyExc_TypeError, "_core.Chain takes no keyword arguments");
    return nullptr;
  }
  if (!PyArg_ParseTuple(args, "O!", &PyTuple_Type, &layers)) return nullptr;
  try {
    std::vector<const Layer*> parts;
    std::vector<const QuantizedLayer*> quantized;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(layers); ++i) {
      PyObject* item = PyTuple_GET_ITEM(layers, i);
      const Layer* layer = layer_of(item, layer_type_object);
      const QuantizedLayer* integers = quantized_layer_of(item, quantized_type_object);
      if ((layer == nullptr && integers == nullptr) || (integers == nullptr ? quantized.size() : parts.size()) > 0)
        raise(PyExc_TypeError, "layers must all be Conv, or all be QConv, got " + std::string(Py_TYPE(item)->tp_name) +
                                   " as layer " + std::to_string(i));
      if (layer != nullptr)
        parts.push_back(layer);
      else
        quantized.push_back(integers);
    }
    std::unique_ptr<Chain> chain;
    std::unique_ptr<QuantizedChain> integers;
    if (quantized.empty())
      chain = std::make_unique<Chain>(std::move(parts));
    else
      integers = std::make_unique<QuantizedChain>(std::move(quantized));
    Ref self = Ref(type->tp_alloc(type, 0)).checked();
    ChainObject* object = reinterpret_cast<ChainObject*>(self.get());
    object->vectorcall = chain_vectorcall;
    object->chain = chain.release();
    object->quantized = integers.release();
    object->layers = Ref::borrow(layers).release();
    return self.release();
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

// Shows reference cycles to the garbage collector: a layer of a subclass may have a dictionary, which may contain the
// chain. There is no tp_clear, because a chain without its layers could still be called. The collector clears another,
// mutable object of the cycle, such as the dictionary. Tuples rely on this, too.
int chain_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(reinterpret_cast<ChainObject*>(self)->layers);
  return 0;
}

void chain_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  ChainObject* object = reinterpret_cast<ChainObject*>(self);
  delete object->chain;
  delete object->quantized;
  Py_XDECREF(object->layers);
  type->tp_free(self);
  Py_DECREF(type);
}

// _explain(x_shape) -> str
PyObject* chain_explain(PyObject* self, PyObject* shape) {
  try {
    const ChainObject* const object = reinterpret_cast<ChainObject*>(self);
    const auto explain = [&](const auto& chain, const pointwise::Options& options) {
      return chain.explain(shape_argument(shape, "x_shape", options.layout));
    };
    const std::string text = object->chain != nullptr
                                 ? explain(*object->chain, object->chain->options())
                                 : explain(*object->quantized, object->quantized->layers().front()->options());
    return PyUnicode_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
  } catch (...) {
    translate_exception("x_shape");
    return nullptr;
  }
}

PyMethodDef chain_methods[] = {{"_explain", chain_explain, METH_O, nullptr}, {nullptr, nullptr, 0, nullptr}};

PyMemberDef chain_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(ChainObject, vectorcall), READONLY, nullptr},
    {"_layers", T_OBJECT_EX, offsetof(ChainObject, layers), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot chain_slots[] = {{Py_tp_new, reinterpret_cast<void*>(chain_new)},
                             {Py_tp_dealloc, reinterpret_cast<void*>(chain_dealloc)},
                             {Py_tp_traverse, reinterpret_cast<void*>(chain_traverse)},
                             {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                             {Py_tp_methods, chain_methods},
                             {Py_tp_members, chain_members},
                             {0, nullptr}};

PyType_Spec chain_spec = {"pointwise._core.Chain", sizeof(ChainObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
                          chain_slots};

}  // namespace

PyObject* make_chain_type(PyObject* layer_type, PyObject* quantized_type) {
  layer_type_object = layer_type;
  quantized_type_object = quantized_type;
  Py_INCREF(layer_type);
  Py_INCREF(quantized_type);
  return PyType_FromSpec(&chain_spec);
}

}  // namespace pointwise_python
