// Applies PReLU to stored results. PReLU is leaky ReLU with one slope for each output channel.
//
// The driver applies PReLU after a kernel call, while the results of the block are in a cache. So tiles need no slopes
// and no additional code. (He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015.)
#pragma once

#include "kernels/activations.h"

namespace pointwise {
namespace {

// Implements KernelTable::prelu.
template <class V>
void prelu_numbers(char* numbers, ptrdiff_t row, int64_t rows, int64_t count, const char* slopes, bool by_column) {
  constexpr int64_t item = sizeof(typename V::Number), lanes = V::lanes;
  for (int64_t r = 0; r < rows; ++r, numbers += row) {
    V slope = by_column ? V::fill(0) : V::broadcast(slopes + r * item);
    int64_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      if (by_column) slope = V::load(slopes + i * item);
      leaky_relu(V::load(numbers + i * item), slope, slope).store(numbers + i * item);
    }
    if (i == count) continue;
    const auto mask = V::first(static_cast<int>(count - i));
    if (by_column) slope = V::load(slopes + i * item, mask);
    leaky_relu(V::load(numbers + i * item, mask), slope, slope).store(numbers + i * item, mask);
  }
}

}  // namespace
}  // namespace pointwise
