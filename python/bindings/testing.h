// pointwise._core._testing: functions that only tests and benchmarks use.
#pragma once

#include <pybind11/pybind11.h>

namespace pointwise_python {

void register_testing(pybind11::module_& core);

}  // namespace pointwise_python
