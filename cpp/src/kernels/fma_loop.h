// The loop that measures the FMA peak of the CPU, with the vector type of the kernels.
#pragma once

#include "kernels/common.h"

namespace pointwise {
namespace {

// Implements KernelTable::fma_loop.
//
// A CPU with two FMA units and a latency of 4 to 6 cycles needs 8 to 12 independent accumulators to keep both units
// busy. The loop has twelve. The accumulators and the two operands `factor` and `term` fit 16 registers. Each
// multiplication needs the previous result, so the compiler cannot move multiplications out of the loop. The compiler
// does not know the numbers, so it can neither merge accumulators nor compute their final values.
template <class V>
double fma_loop(int64_t steps) {
  using T = typename V::Number;
  constexpr int chains = 12;
  volatile T half = T(0.5);
  const V factor = V::fill(half), term = V::fill(1 - half);
  V acc[chains];
  POINTWISE_UNROLL
  for (int i = 0; i < chains; ++i) acc[i] = V::fill(half * static_cast<T>(i));
  for (int64_t step = 0; step < steps; ++step) {
    POINTWISE_UNROLL
    for (int i = 0; i < chains; ++i) acc[i] = V::fma(acc[i], factor, term);
  }
  alignas(64) char ends[chains * sizeof(V)];
  for (int i = 0; i < chains; ++i) acc[i].store(ends + i * sizeof(V));
  asm volatile("" : : "r"(ends) : "memory");
  return 2.0 * V::lanes * chains * static_cast<double>(steps);
}

}  // namespace
}  // namespace pointwise
