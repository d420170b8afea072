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
  const char* floating;  // the instruction set that names the kernels of float32 and float64
  bool (*supported)();
  bool (*preferred)();  // false if the instruction set is in use only if POINTWISE_ISA names it
  const KernelTable* f32;
  const KernelTable* f64;
  const KernelTable* bf16;  // null if weights of bfloat16 are converted to float32
  const IntegerKernels* integers;

  // Returns the dtype of the packed weights of a layer with k input channels in each group. If k = 1, there are no
  // pairs of channels, so the kernels of the sums compute the layer.
  DType packed_dtype(DType layer, int64_t k) const {
    return layer == DType::bf16 && bf16 != nullptr && k > 1 ? layer : info(layer).sum;
  }
  // Returns the kernels for a dtype of packed weights.
  const KernelTable& kernels(DType weights) const {
    return weights == DType::bf16 ? *bf16 : weights == DType::f64 ? *f64 : *f32;
  }
};

// Returns all instruction sets of this build, the best first.
const std::vector<Isa>& all_isas();

// Returns the instruction set in use. The environment variable POINTWISE_ISA selects it. Without the variable, the best
// instruction set of the CPU is in use. Throws std::runtime_error if POINTWISE_ISA has an unknown value, or if the CPU
// does not support the instruction set.
const Isa& selected_isa();

// Returns the kernels in use for a dtype of packed weights.
inline const KernelTable& kernels(DType weights) { return selected_isa().kernels(weights); }

}  // namespace pointwise
