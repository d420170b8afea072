// The loop that measures the FMA peak of the CPU, with the vector type of the kernels.
#pragma once

#include "kernels/common.h"

namespace pointwise {
namespace {

// Implements KernelTable::fma_loop.
//
// Twelve chains hide the latency of a multiply-add (two units x 4 to 6 cycles), and 16 registers hold them and the
// factors. A chain runs through its multiplications. So the compiler cannot move them out of the loop, even if they are
// separate operations as in portable kernels. The compiler does not know the numbers, so it can neither merge chains
// nor compute their ends.
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
