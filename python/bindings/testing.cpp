#include "testing.h"

#include <pybind11/stl.h>

#include "arrays.h"
#include "gil.h"
#include "measure/internal.h"
#include "options.h"

namespace py = pybind11;

namespace pointwise_python {
namespace {

double fma_peak(int threads, const std::string& dtype, int blocks, double block) {
  pointwise::DType known;
  try {
    known = dtype_named(dtype);
  } catch (...) {
    translate_exception();
    throw py::error_already_set();
  }
  double peak = 0;
  without_gil([&] { peak = pointwise::fma_peak(known, threads, blocks, block); });
  return peak;
}

void streaming_copy(const py::buffer& to, const py::buffer& from, int threads) {
  const py::buffer_info target = to.request(true), source = from.request();
  const py::ssize_t bytes = target.size * target.itemsize;
  if (bytes != source.size * source.itemsize || !PyBuffer_IsContiguous(target.view(), 'C') ||
      !PyBuffer_IsContiguous(source.view(), 'C'))
    throw py::value_error("to and from must be C-contiguous arrays of the same number of bytes");
  without_gil([&] { pointwise::streaming_copy(target.ptr, source.ptr, bytes, threads); });
}

py::dict machine_constants() {
  const pointwise::Machine& machine = pointwise::machine();
  py::dict constants;
  for (const pointwise::MachineConstant& constant : pointwise::machine_constants)
    constants[constant.name] = machine.*constant.value;
  return constants;
}

void replace_machine_constants(const std::map<std::string, double>& values) {
  pointwise::Machine machine = pointwise::machine();
  size_t known = 0;
  for (const pointwise::MachineConstant& constant : pointwise::machine_constants) {
    const auto value = values.find(constant.name);
    if (value == values.end()) continue;
    machine.*constant.value = value->second;
    ++known;
  }
  if (known != values.size())
    throw py::value_error("values must have names of machine_constants() as keys, got an unknown name");
  pointwise::replace_machine(machine);
}

}  // namespace

void register_testing(py::module_& core) {
  py::module_ m = core.def_submodule("_testing", "For tests and benchmarks of pointwise alone.");
  m.def("fma_peak", &fma_peak);
  m.def("streaming_copy", &streaming_copy);
  m.def("idle_bytes", &pointwise::idle_bytes);
  m.def("ignore_neighbours", [](bool ignored) { pointwise::neighbour.ignore(ignored); });
  m.def("machine", [] { return pointwise::machine().name; });
  m.def("half_width", [] { return pointwise::machine().half_width; });
  m.def("machine_constants", &machine_constants);
  m.def("replace_machine_constants", &replace_machine_constants);
  m.def("assume_l3_cache_size", &pointwise::assume_l3_cache_size);
  m.def("force_teams", &pointwise::force_teams);
}

}  // namespace pointwise_python
