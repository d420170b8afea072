// The registry of instruction sets, and the choice of the one that calls use.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel.h"

namespace pointwise {

// One instruction set of this build.
struct Isa {
  const char* name;
  bool (*supported)();
  const KernelTable* tables[2];  // by the type of sums, float32 and float64, in the order of DType

  const KernelTable& kernels(DType sum) const { return *tables[static_cast<int>(sum)]; }
};

// Returns all instruction sets of this build, the best first.
const std::vector<Isa>& all_isas();

// Returns the instruction set in use: the one that POINTWISE_ISA names, else the best that the CPU supports. Throws
// std::runtime_error if the variable names an unknown instruction set, or one that the CPU does not support.
const Isa& selected_isa();

// Returns the kernels in use for sums of a type.
inline const KernelTable& kernels(DType sum) { return selected_isa().kernels(sum); }

}  // namespace pointwise
