// A single pixel times weights that nobody packed: each weight is read once, so that packing it first would cost more
// than the sum.
#pragma once

#include "kernels/common.h"

namespace pointwise {
namespace {

// How many weights of a row come before the first that a whole vector in memory begins with, where all rows are alike:
// a square from there on takes whole lines, and those of rows a power of two apart need not stay in L1 for the next one
// (1000 rows of 1024 weights, 16 bytes behind such a place as NumPy puts them, Zen 4: 180 us and 110).
template <class V>
int64_t weights_before_whole_vectors(const char* weights, ptrdiff_t step) {
  constexpr ptrdiff_t item = sizeof(typename V::Number), vector = sizeof(V);
  const ptrdiff_t bytes = static_cast<ptrdiff_t>(-reinterpret_cast<uintptr_t>(weights) % vector);
  return step % vector == 0 && bytes % item == 0 ? bytes / item : 0;
}

// `Squares` squares of weights at a time, of which each is as many output channels as a vector has lanes.
template <class V, int Squares>
void unpacked_sums(const char* weights, ptrdiff_t step, int64_t channels, int64_t input_channels, const char* x,
                   ptrdiff_t x_channel, const char* bias, char* sums) {
  constexpr int lanes = V::lanes;
  constexpr ptrdiff_t item = sizeof(typename V::Number);
  V sum[Squares];
  POINTWISE_UNROLL
  for (int s = 0; s < Squares; ++s) sum[s] = V::load(bias + s * lanes * item);
  int64_t i = 0;
  const auto part_of_squares = [&](int64_t inputs) {
    const auto mask = V::first(static_cast<int>(inputs));
    for (int s = 0; s < Squares; ++s) {
      V v[lanes];
      for (int k = 0; k < lanes; ++k)
        v[k] = s * lanes + k < channels ? V::load(weights + (s * lanes + k) * step + i * item, mask) : V::fill(0);
      V::transpose(v);
      for (int k = 0; k < inputs; ++k) sum[s] = V::fma(V::broadcast(x + (i + k) * x_channel), v[k], sum[s]);
    }
    i += inputs;
  };
  if (channels == Squares * lanes) {
    const int64_t before = weights_before_whole_vectors<V>(weights, step);
    if (before > 0) part_of_squares(smaller(before, input_channels));
    for (; i + lanes <= input_channels; i += lanes) {
      POINTWISE_UNROLL
      for (int s = 0; s < Squares; ++s) {
        V v[lanes];
        V::load_square(weights + s * lanes * step + i * item, step, v);
        POINTWISE_UNROLL
        for (int k = 0; k < lanes; ++k) sum[s] = V::fma(V::broadcast(x + (i + k) * x_channel), v[k], sum[s]);
      }
    }
  }
  while (i < input_channels) part_of_squares(smaller(lanes, input_channels - i));
  POINTWISE_UNROLL
  for (int s = 0; s < Squares; ++s) sum[s].store(sums + s * lanes * item);
}

// See KernelTable::multiply_unpacked. Two squares at a time hide the latency of each other's sums, but the lines of so
// many rows, a power of two apart, throw each other out of L1: 1024 weights each of 1024 channels, 76 us and 65.
// Why not prefetch the next rows: slower at any distance and into any cache.
template <class V>
void multiply_unpacked(const char* weights, ptrdiff_t step, int64_t channels, int64_t input_channels, const char* x,
                       ptrdiff_t x_channel, const char* bias, char* sums) {
  constexpr int lanes = V::lanes;
  constexpr ptrdiff_t item = sizeof(typename V::Number);
  const bool one_by_one = step % 2048 == 0;
  for (int64_t o = 0, count; o < channels; o += count) {
    const bool both = !one_by_one && channels - o >= 2 * lanes;
    count = smaller(both ? 2 * lanes : lanes, channels - o);
    (both ? unpacked_sums<V, 2> : unpacked_sums<V, 1>)(weights + o * step, step, count, input_channels, x, x_channel,
                                                       bias + o * item, sums + o * item);
  }
}

}  // namespace
}  // namespace pointwise
