// The extension module pointwise._core.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#define POINTWISE_IMPORTS_NUMPY
#include "chain_type.h"
#include "gil.h"
#include "gradients.h"
#include "layer_type.h"
#include "measure/internal.h"
#include "mix.h"
#include "options.h"
#include "quantized.h"
#include "results.h"
#include "testing.h"

namespace py = pybind11;
using namespace pointwise_python;

namespace {

PyMethodDef conv_method = {"conv", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(conv)), METH_FASTCALL,
                           nullptr};

PyMethodDef mix_method = {"mix", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(mix)), METH_FASTCALL,
                          nullptr};

template <class Function>
PyMethodDef fast_method(const char* name, Function* function) {
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)), METH_FASTCALL, nullptr};
}

PyMethodDef gradient_methods[] = {fast_method("conv_grad_input", conv_grad_input),
                                  fast_method("conv_grad_weight", conv_grad_weight),
                                  fast_method("conv_grad_bias", conv_grad_bias), fast_method("gram", gram)};

PyMethodDef use_functions_method = {"use_functions", use_functions, METH_O, nullptr};

PyMethodDef inherit_vectorcall_method = {"inherit_vectorcall", inherit_vectorcall, METH_VARARGS, nullptr};

// Imports NumPy's C API. Returns false with an ImportError set if that fails.
bool import_numpy() {
  import_array1(false);
  return true;
}

py::tuple cost(const std::vector<int64_t>& x_shape, int64_t c_out, const py::object& layout, const py::object& stride,
               const py::object& padding, const py::object& groups, bool bias, const std::string& dtype) {
  try {
    auto options = parse_options(layout.ptr(), stride.ptr(), padding.ptr(), groups.ptr(), Py_None);
    options.dtype = source_dtype_named(dtype);
    pointwise::spatial_axes(options.layout);  // reports an unknown layout before its axes are counted
    if (x_shape.size() != options.layout.size())
      raise(PyExc_ValueError, "x_shape must have the " + std::to_string(options.layout.size()) + " axes of layout " +
                                  options.layout + ", got " + std::to_string(x_shape.size()));
    pointwise::Shape shape;
    shape.rank = static_cast<int>(x_shape.size());
    std::copy(x_shape.begin(), x_shape.end(), shape.size.begin());
    const pointwise::Cost cost = pointwise::cost(shape, c_out, options, bias);
    py::tuple output(cost.output_shape.rank);
    for (int i = 0; i < cost.output_shape.rank; ++i) output[i] = cost.output_shape[i];
    return py::make_tuple(cost.params, cost.macs, cost.bytes, output);
  } catch (...) {
    translate_exception("x_shape");
    throw py::error_already_set();
  }
}

// Returns ("workers" or "openmp", the reason).
py::tuple threading() {
  const pointwise::ThreadingChoice choice = pointwise::threading(pointwise::monotonic_nanoseconds());
  const bool openmp = choice.threading == pointwise::Threading::openmp;
  std::string reason;
  if (choice.forced)
    reason = "POINTWISE_THREADING is set";
  else if (!pointwise::has_openmp)
    reason = "this build of pointwise has no OpenMP";
  else if (!openmp)
    reason = "no other library of this process uses OpenMP";
  else if (choice.runtime->user.empty())
    reason = "the OpenMP runtime of this process was loaded by name";
  else
    reason = choice.runtime->user + " uses OpenMP in this process";
  if (openmp)
    reason += choice.runtime == nullptr ? "; the runtime is pointwise's" : "; the runtime is " + choice.runtime->path;
  return py::make_tuple(openmp ? "openmp" : "workers", reason);
}

}  // namespace

// threadpoolctl recognizes the extension by this symbol (_threadpoolctl.py), because other packages have extensions of
// the same file name.
extern "C" __attribute__((visibility("default"), used)) const char* pointwise_extension() {
  return pointwise::version();
}

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  m.doc() = "The core of pointwise. Private: use the names of the package pointwise.";
  if (!import_numpy()) throw py::error_already_set();
  std::string isa;
  try {
    isa = pointwise::isa();
    pointwise::threading(pointwise::monotonic_nanoseconds());  // throws for an unknown POINTWISE_THREADING
  } catch (const std::runtime_error& error) {
    throw py::import_error(error.what());
  }
  m.attr("isa") = isa;
  m.attr("version") = pointwise::version();
  m.attr("compiler") = __VERSION__;
  m.attr("openmp") = pointwise::has_openmp;
  PyObject *const layer_type = make_layer_type(), *const quantized_type = make_quantized_type();
  if (layer_type == nullptr || quantized_type == nullptr) throw py::error_already_set();
  for (const auto& [name, object] :
       {std::pair("Layer", layer_type), std::pair("Chain", make_chain_type(layer_type, quantized_type)),
        std::pair("QLayer", quantized_type), std::pair("ResultMemory", make_result_memory_type()),
        std::pair("conv", PyCFunction_NewEx(&conv_method, nullptr, nullptr)),
        std::pair("mix", PyCFunction_NewEx(&mix_method, nullptr, nullptr)),
        std::pair("use_functions", PyCFunction_NewEx(&use_functions_method, nullptr, nullptr)),
        std::pair("inherit_vectorcall", PyCFunction_NewEx(&inherit_vectorcall_method, nullptr, nullptr))}) {
    if (object == nullptr) throw py::error_already_set();
    m.add_object(name, py::reinterpret_steal<py::object>(object));
  }
  for (PyMethodDef& method : gradient_methods) {
    PyObject* const object = PyCFunction_NewEx(&method, nullptr, nullptr);
    if (object == nullptr) throw py::error_already_set();
    m.add_object(method.ml_name, py::reinterpret_steal<py::object>(object));
  }
  m.def("supported_isas", &pointwise::supported_isas);
  m.def("cost", &cost);
  m.def("release_idle_buffers", &pointwise::release_idle_buffers);
  m.def("set_idle_limit", &pointwise::set_idle_limit);
  // Calls a Python function in the default floating-point state, so that its results do not depend on the caller's
  // state.
  m.def("in_default_environment", [](const py::object& function) {
    const pointwise::FloatEnvironment environment;
    return function();
  });
  register_testing(m);
  m.def("threading", &threading);
  m.def("omp_num_threads_is_valid", &pointwise::omp_num_threads_is_valid);
  m.def("thread_limit", &pointwise::thread_limit);
  m.def("set_thread_limit", &pointwise::set_thread_limit);
  m.def("thread_count", &pointwise::thread_count);
  m.def("set_thread_count", &pointwise::set_thread_count);
  m.def("set_calling_thread_count", &pointwise::set_calling_thread_count);
}
