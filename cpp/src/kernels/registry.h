// Which kernels run: the registry of instruction sets, and the choice among them.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel.h"

namespace pointwise {

struct Isa {
  const char* name;
  bool (*supported)();
  const KernelTable<float>* f32;
  const KernelTable<double>* f64;
};

// Every instruction set of this build, the best first.
const std::vector<Isa>& all_isas();

// The one in use: what POINTWISE_ISA forces, else the best that the CPU has. Throws std::runtime_error where the
// variable names none, or one that the CPU has not.
const Isa& selected_isa();

template <class T>
const KernelTable<T>& kernels();
template <>
inline const KernelTable<float>& kernels<float>() {
  return *selected_isa().f32;
}
template <>
inline const KernelTable<double>& kernels<double>() {
  return *selected_isa().f64;
}

}  // namespace pointwise
