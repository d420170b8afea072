// The instruction sets of this build, and the choice of one of them for all calls.
#pragma once

#include <string>
#include <vector>

#include "kernels/integers.h"
#include "kernels/kernel.h"

namespace pointwise {

// One instruction set of this build.
struct Isa {
  const char* name;
  const char* floating;  // the instruction set with the same kernels for floating-point sums and no others
  bool (*supported)();
  const KernelTable* tables[2];  // for sums in float32 and in float64
  const IntegerKernels* integers;

  const KernelTable& kernels(DType sum) const { return *tables[static_cast<int>(sum)]; }
};

// Returns all instruction sets of this build, the best first.
const std::vector<Isa>& all_isas();

// Returns the instruction set in use. The environment variable POINTWISE_ISA selects it. Without the variable, the best
// instruction set of the CPU is in use. Throws std::runtime_error if POINTWISE_ISA has an unknown value, or if the CPU
// does not support the instruction set.
const Isa& selected_isa();

// Returns the kernels in use for sums of a type.
inline const KernelTable& kernels(DType sum) { return selected_isa().kernels(sum); }

}  // namespace pointwise
