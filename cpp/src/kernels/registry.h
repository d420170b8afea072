// The instruction sets of this build, and the choice of the instruction set that calls use.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel.h"

namespace pointwise {

// One instruction set of this build.
struct Isa {
  const char* name;
  bool (*supported)();
  const KernelTable* tables[2];  // for sums in float32 and in float64

  const KernelTable& kernels(DType sum) const { return *tables[static_cast<int>(sum)]; }
};

// Returns all instruction sets of this build, the best first.
const std::vector<Isa>& all_isas();

// Returns the instruction set in use. The environment variable POINTWISE_ISA selects it. Without the variable, it is
// the best instruction set that the CPU supports. Throws std::runtime_error if the named instruction set is unknown or
// not supported.
const Isa& selected_isa();

// Returns the kernels in use for sums of a type.
inline const KernelTable& kernels(DType sum) { return selected_isa().kernels(sum); }

}  // namespace pointwise
