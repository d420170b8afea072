// Which kernels run: the registry of instruction sets, and the choice among them.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel.h"

namespace pointwise {

struct Isa {
  const char* name;
  bool (*supported)();
  const KernelTable* tables[2];  // for sums in float32 and in float64, in the order of DType

  const KernelTable& kernels(DType sum) const { return *tables[static_cast<int>(sum)]; }
};

// Every instruction set of this build, the best first.
const std::vector<Isa>& all_isas();

// The one in use: what POINTWISE_ISA forces, else the best that the CPU has. Throws std::runtime_error where the
// variable names none, or one that the CPU has not.
const Isa& selected_isa();

// The kernels in use for sums of a type.
inline const KernelTable& kernels(DType sum) { return selected_isa().kernels(sum); }

}  // namespace pointwise
