// Computes the sums of a single pixel from weights that are not packed. Each weight is used only once, so packing would
// cost more than the sums.
#pragma once

#include "kernels/common.h"

namespace pointwise {
namespace {

// Returns the number of weights before the first address that is a multiple of the vector size. If this number differs
// between output channels, returns 0. With 64-byte vectors, squares that begin at such an address read whole cache
// lines. So L1 does not have to keep a line for the next square. If output channels are a power of two bytes apart, L1
// cannot keep such lines. (Zen 4, 1024 -> 1000 channels, weights 16 bytes behind a multiple of 64, as NumPy may
// allocate them: 110 us with this function, 180 us without.)
template <class V>
int64_t weights_before_whole_vectors(const char* weights, ptrdiff_t step) {
  constexpr ptrdiff_t item = sizeof(typename V::Number), vector = sizeof(V);
  const ptrdiff_t bytes = static_cast<ptrdiff_t>(-reinterpret_cast<uintptr_t>(weights) % vector);
  return step % vector == 0 && bytes % item == 0 ? bytes / item : 0;
}

// Computes the sums of at most Squares * lanes output channels. A square holds the weights of `lanes` output channels
// and `lanes` input channels. Each square is transposed in registers.
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
  V total[Squares];
  for (int64_t end = smaller(chunk_channels, input_channels);; end = smaller(end + chunk_channels, input_channels)) {
    const bool first = i == 0;
    if (channels == Squares * lanes) {
      const int64_t before = weights_before_whole_vectors<V>(weights + i * item, step);
      if (before > 0) part_of_squares(smaller(before, end - i));
      for (; i + lanes <= end; i += lanes) {
        POINTWISE_UNROLL
        for (int s = 0; s < Squares; ++s) {
          V v[lanes];
          V::load_square(weights + s * lanes * step + i * item, step, v);
          POINTWISE_UNROLL
          for (int k = 0; k < lanes; ++k) sum[s] = V::fma(V::broadcast(x + (i + k) * x_channel), v[k], sum[s]);
        }
      }
    }
    while (i < end) part_of_squares(smaller(lanes, end - i));
    POINTWISE_UNROLL
    for (int s = 0; s < Squares; ++s) {
      total[s] = first ? sum[s] : V::add(total[s], sum[s]);
      sum[s] = V::fill(0);
    }
    if (i == input_channels) break;
  }
  POINTWISE_UNROLL
  for (int s = 0; s < Squares; ++s) total[s].store(sums + s * lanes * item);
}

// Implements KernelTable::multiply_unpacked. Computes two squares at a time, which hides the latency of the
// multiply-adds. If output channels are a multiple of 2 KiB apart, their lines evict each other from L1. Then one
// square at a time is faster. (Zen 5, 1024 -> 1024 channels: 65 us with one square, 76 us with two.)
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
